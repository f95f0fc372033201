"""A training step of 16 pairs, beside TRL's RewardTrainer with its own collator, loop and optimiser."""

import tempfile
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from datasets import Dataset, disable_progress_bars
from numpy.typing import NDArray
from transformers import PreTrainedModel, PrinterCallback, TrainerCallback
from trl import RewardConfig, RewardTrainer

from benchmarks.measure import Clock, Numbers, Side, Target, Task
from benchmarks.shared import Material
from rm_tension.model.device import make_accelerator
from rm_tension.model.rows import Item, token_count
from rm_tension.train.training import backward, bradley_terry

LEARNING_RATE = 1e-5
MAX_GRAD_NORM = 1.0  # the default of both
DEFAULT = 8  # pairs at a time; TRL's default, with gradient checkpointing
TRIED = (1, 2, DEFAULT)  # pairs at a time, without checkpointing
COMPARED = 2000  # entries of each parameter's gradient


def task(pairs: Sequence[Item]) -> Task:
    """Of (chosen, rejected)."""
    defaults: Side = partial(trl, pairs=pairs, at_a_time=DEFAULT, checkpointing=True)
    faster: dict[str, Side] = {
        f"TRL, no checkpointing, {size} at a time": partial(
            trl, pairs=pairs, at_a_time=size, checkpointing=False
        )
        for size in TRIED
    }
    others = {"TRL, defaults": defaults, **faster}
    targets = [
        Target("TRL's defaults", ["TRL, defaults"], 5.0),
        Target("TRL's best", list(others), 1.3),
    ]
    what = f"a training step of {len(pairs)} HH pairs"
    return Task(
        "step",
        what,
        token_count(pairs),
        partial(ours, pairs=pairs),
        others,
        targets,
        most_tokens=0.70,
    )


def ours(material: Material, clock: Clock, pairs: Sequence[Item]) -> Numbers:
    """As `train` takes it."""
    accelerator = make_accelerator(material.setting.precision)
    optimizer = torch.optim.AdamW(
        material.model.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=True
    )
    model, optimizer = accelerator.prepare(material.model.train(), optimizer)
    with clock:
        margins = backward(model, pairs, accelerator, material.setting.budget)
        accelerator.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
    gradients = _sample(model)
    with clock:
        optimizer.step()
    return {"loss": bradley_terry(margins).mean().cpu().numpy(), "gradients": gradients}


def trl(
    material: Material, clock: Clock, pairs: Sequence[Item], at_a_time: int, checkpointing: bool
) -> Numbers:
    """The first step of `RewardTrainer.train`; what comes before and after it is not counted."""
    disable_progress_bars()
    model, _ = material.plain()
    sides = {
        name: [pair[side].tolist() for pair in pairs]
        for side, name in enumerate(("chosen_ids", "rejected_ids"))
    }
    with tempfile.TemporaryDirectory() as folder:
        arguments = RewardConfig(
            output_dir=folder,
            per_device_train_batch_size=at_a_time,
            gradient_accumulation_steps=len(pairs) // at_a_time,
            gradient_checkpointing=checkpointing,
            learning_rate=LEARNING_RATE,
            max_grad_norm=MAX_GRAD_NORM,
            max_steps=1,
            bf16=material.setting.precision == "bfloat16",
            use_cpu=material.setting.place.device.type == "cpu",
            disable_tqdm=True,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
        )
        timed = _TimedStep(clock)
        trainer = RewardTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_dict(sides),
            processing_class=material.tokenizer,
            callbacks=[timed],
        )
        trainer.remove_callback(PrinterCallback)
        loss = trainer.train().training_loss
    return {"loss": np.array(loss), "gradients": timed.gradients}


class _TimedStep(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """From the first micro-batch to the end of the step; the gradients are those that the optimiser takes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._clock.start()

    def on_pre_optimizer_step(self, *_: Any, model: PreTrainedModel, **__: Any) -> None:
        self._clock.stop()
        self.gradients = _sample(model)
        self._clock.start()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._clock.stop()


def _sample(model: PreTrainedModel) -> NDArray[np.float32]:
    """Evenly spaced entries of every parameter's gradient."""
    parts = []
    for parameter in model.parameters():
        gradient = parameter.grad.flatten()
        parts.append(gradient[:: max(1, len(gradient) // COMPARED)].float().cpu().numpy())
    return np.concatenate(parts)
