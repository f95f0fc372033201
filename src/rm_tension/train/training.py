"""Bradley-Terry training of one reward model (METHOD.md section 1), resumable at any moment."""

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import PreTrainedModel

from rm_tension.base.config import TrainConfig
from rm_tension.base.errors import UserError
from rm_tension.base.progress import Progress
from rm_tension.base.runs import memory_mib
from rm_tension.base.signals import noted_signals
from rm_tension.model.device import TokenBudget
from rm_tension.model.reward_model import rewards
from rm_tension.model.rows import Item, row_batches, token_count
from rm_tension.train import state as training_state

Metrics = dict[str, float | int]
FETCH_SECONDS = 1.0  # between two fetches of the steps' numbers: a GPU stands still at each


@dataclass(frozen=True)
class Pairs:
    """Tokenised preference pairs: items are (chosen, rejected)."""

    ids: Sequence[str]
    items: Sequence[Item]


@dataclass(frozen=True)
class Step:
    """One optimiser step: its number, counted from 0, its epoch and the indices of its pairs."""

    number: int
    epoch: int
    pairs: list[int]


def plan(pairs: int, epochs: int, pairs_per_step: int, seed: int) -> list[Step]:
    """Return all steps.

    Every epoch is a new permutation that depends on seed and epoch alone; its last step may be
    short.
    """
    steps: list[Step] = []
    for epoch in range(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(pairs).tolist()
        for start in range(0, pairs, pairs_per_step):
            steps.append(Step(len(steps), epoch, order[start : start + pairs_per_step]))
    return steps


def backward(
    model: PreTrainedModel, items: Sequence[Item], accelerator: Accelerator, budget: int
) -> Tensor:
    """Set the gradient to that of the mean of -log sigmoid(r(chosen) - r(rejected)) over the items.

    Return the margins r(chosen) - r(rejected), float32 [items]. The items go through the model in
    micro-batches of at most `budget` tokens, which bounds memory and changes no gradient.
    """
    model.zero_grad()
    margins: list[Tensor] = []
    order: list[int] = []
    for indices, rows in row_batches(items, budget):
        with accelerator.autocast():
            reward = rewards(model, rows.to(accelerator.device))
        margin = reward[0::2] - reward[1::2]
        accelerator.backward(bradley_terry(margin).sum() / len(items))
        margins.append(margin.detach())
        order += indices
    inverse = torch.from_numpy(np.argsort(order)).to(accelerator.device, non_blocking=True)
    return torch.cat(margins)[inverse]


def bradley_terry(margin: Tensor) -> Tensor:
    """Return the loss of each pair, -log sigmoid(margin) (METHOD.md section 1)."""
    return -torch.nn.functional.logsigmoid(margin)


def train(
    model: PreTrainedModel,
    pairs: Pairs,
    config: TrainConfig,
    *,
    epochs: int,
    seed: int,
    accelerator: Accelerator,
    budget: TokenBudget,
    state: Path,
    progress: str,
    on_step: Callable[[Metrics], None] = lambda metrics: None,
) -> list[Metrics]:
    """Train `model` in place, in micro-batches of `budget`; return the metrics of every step.

    `state` is the file that an interrupted run resumes from; the caller removes it once the model
    is safe. A run that is killed and started again ends with the same bits as one that was not (on
    the same CPU). SIGINT and SIGTERM end it after the step at hand, with its state. `on_step` hears
    of every step that is taken here, within FETCH_SECONDS. Raise UserError, with the step and the
    ids of its pairs, when a loss or a gradient is not finite.
    """
    steps = plan(len(pairs.ids), epochs, config.pairs_per_step, seed)
    settings = [config.model_dump(), epochs, seed, list(pairs.ids)]
    fingerprint = training_state.fingerprint(model, pairs.items, settings)
    optimizer = _adamw(model, config)
    model, optimizer = accelerator.prepare(model.train(), optimizer)
    take = partial(_Training(model, optimizer, pairs, config, accelerator, budget).take, len(steps))
    history: list[Metrics] = training_state.load(state, fingerprint, model, optimizer)
    fetched = saved = time.perf_counter()
    pending: list[_Taken] = []
    with Progress(progress, len(steps), len(history)) as bar, noted_signals() as signals:
        for step in steps[len(history) :]:
            pending.append(take(step))
            now = time.perf_counter()
            save = now - saved >= 60 * config.save_every_minutes
            if not (signals or save or now - fetched >= FETCH_SECONDS or step is steps[-1]):
                continue
            for metrics in _fetch(pending, pairs, fetched):
                history.append(metrics)
                on_step(metrics)
            seen = [pairs.items[index] for taken in pending for index in taken.step.pairs]
            bar.advance(
                len(pending),
                tokens=token_count(seen),
                loss=history[-1]["loss"],
                accuracy=history[-1]["accuracy"],
            )
            pending, fetched = [], time.perf_counter()
            if signals or save:
                training_state.save(state, fingerprint, model, optimizer, history)
                saved = time.perf_counter()
            if signals:
                print(
                    f"{progress}: {signals[0].name}: saved after step {len(history)} to resume",
                    file=sys.stderr,
                )
                sys.exit(128 + signals[0])
    return history


def _adamw(model: PreTrainedModel, config: TrainConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        model.parameters(),
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
    )


@dataclass(frozen=True)
class _Taken:
    """A step whose numbers may still be on the device, where they wait for nobody."""

    step: Step
    learning_rate: float
    measured: Tensor  # loss, accuracy, margin, gradient norm


@dataclass(frozen=True)
class _Training:
    """What all steps of a training share."""

    model: PreTrainedModel
    optimizer: torch.optim.Optimizer
    pairs: Pairs
    config: TrainConfig
    accelerator: Accelerator
    budget: TokenBudget

    def take(self, steps: int, step: Step) -> _Taken:
        """Take one of so many steps."""
        items = [self.pairs.items[index] for index in step.pairs]
        margins = self.budget.run(
            lambda tokens: backward(self.model, items, self.accelerator, tokens)
        )
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        # linear to 0, no warm-up
        learning_rate = self.config.learning_rate * (1 - step.number / steps)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        means = (bradley_terry(margins).mean(), (margins > 0).float().mean(), margins.mean())
        return _Taken(step, learning_rate, torch.stack([*means, norm.float()]))


def _fetch(taken: Sequence[_Taken], pairs: Pairs, since: float) -> Iterator[Metrics]:
    """Yield the metrics of steps taken since then. Raise UserError if one is not finite."""
    measured = torch.stack([step.measured for step in taken]).tolist()  # waits for the device
    seconds = (time.perf_counter() - since) / len(taken)
    for ended, (loss, accuracy, margin, norm) in zip(taken, measured, strict=True):
        step = ended.step
        if not (math.isfinite(loss) and math.isfinite(norm)):
            ids = ", ".join(pairs.ids[index] for index in step.pairs)
            raise UserError(
                f"step {step.number}: loss {loss}, gradient norm {norm}; the pairs are {ids}; "
                "look at their texts, or lower train.learning_rate in params.yaml"
            )
        tokens = token_count([pairs.items[index] for index in step.pairs])
        yield {
            "step": step.number,
            "epoch": step.epoch,
            "loss": loss,
            "accuracy": accuracy,
            "margin": margin,
            "learning_rate": ended.learning_rate,
            "gradient_norm": norm,
            "seconds": round(seconds, 4),
            "tokens_per_second": round(tokens / seconds, 1),
            "memory_mib": memory_mib(),
        }
