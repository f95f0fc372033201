"""Time training steps, statistics, scoring and dissections beside the plain ways of doing each.

Both sides get the same weights and texts, and must give the same numbers before they are timed.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from time import process_time
from typing import Any

import numpy as np
import torch
from datasets import Dataset, disable_progress_bars
from numpy.typing import NDArray
from tabulate import tabulate
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor
from torch.utils.benchmark import Timer
from torch.utils.benchmark.utils.timer import timer as default_timer
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from trl import RewardConfig, RewardTrainer

from benchmarks.compare import accelerator_for
from benchmarks.material import LIMIT, PAD, Material
from rm_tension.activations.stats import collect
from rm_tension.activations.sums import Activations
from rm_tension.backbone.neurons import ablated, neuron_shape, on_activations
from rm_tension.base.config import load_params
from rm_tension.base.files import atomic_write
from rm_tension.evaluate.scores import SCORES, neuron_scores
from rm_tension.evaluate.scoring import Scorer
from rm_tension.evaluate.selection import top
from rm_tension.model.device import Compute, TokenBudget
from rm_tension.model.rows import Item, Tokens
from rm_tension.train.training import backward

TOLERANCE = {"float32": 1e-4, "tf32": 1e-2, "bfloat16": 1e-1}  # distance of two sides' numbers
BACKBONE = "smollm2-135m"
Side = Callable[[], NDArray[Any]]
Masks = Sequence[NDArray[np.bool_]]  # of the neurons that each condition silences


class Bench:
    """Our side and the others' of each task, on one model, its backbone and one place."""

    def __init__(self, material: Material, compute: Compute, budget: int) -> None:
        """Make the models; `budget` is that of our side, in tokens."""
        self.compute, self.budget = compute, budget
        self.model, self.backbone = (material.model(compute.device, seed=seed) for seed in (1, 0))
        self.plain, self.plain_backbone = deepcopy(self.model), deepcopy(self.backbone)
        for model in (self.plain, self.plain_backbone):
            model.set_attn_implementation("sdpa")

    def step(self, pairs: Sequence[Item]) -> NDArray[Any]:
        """Return gradients of a training step."""
        accelerator = accelerator_for(self.compute)
        backward(self.model.train(), pairs, accelerator, self.budget)
        return _gradients(self.model)

    def trl_step(self, pairs: Sequence[Item], at_a_time: int, checkpointing: bool) -> Side:
        """Return TRL's step, by its own collator and loss; its set-up is not timed."""
        disable_progress_bars()
        model, count = deepcopy(self.plain), len(pairs) // at_a_time
        settings = RewardConfig(
            output_dir=mkdtemp(),
            per_device_train_batch_size=at_a_time,
            gradient_accumulation_steps=count,
            gradient_checkpointing=checkpointing,
            bf16=self.compute.precision == "bfloat16",
            use_cpu=self.compute.device.type == "cpu",
            report_to=[],
        )
        columns = {
            name: [pair[side].tolist() for pair in pairs]
            for side, name in enumerate(("chosen_ids", "rejected_ids"))
        }
        trainer = RewardTrainer(
            model=model,
            args=settings,
            train_dataset=Dataset.from_dict(columns),
            processing_class=_tokenizer(model.config.vocab_size),
        )
        batches = list(trainer.get_train_dataloader())
        trainer.current_gradient_accumulation_steps = count

        def step() -> NDArray[Any]:
            model.zero_grad()
            for batch in batches:
                trainer.training_step(model, batch)
            return _gradients(model)

        return step

    def statistics(self, pairs: Sequence[Item]) -> NDArray[Any]:
        """Return the sums of both sides."""
        sums = self._sums(pairs)
        names = ("sum", "abs_sum", "change_square_sum", "backbone_sum")  # those that were released
        return np.stack([[getattr(side, name) for name in names] for side in sums.sides])

    def _sums(self, pairs: Sequence[Item]) -> Activations:
        models, budget = {"rm": self.model}, TokenBudget(self.budget)
        return collect(models, self.backbone, pairs, self.compute, budget, "")["rm"]

    def padded_statistics(
        self, pairs: Sequence[Item], at_a_time: int, length: int | None
    ) -> NDArray[Any]:
        """Return the sums by hooks on all blocks, of texts padded to a length or their longest."""
        sums = np.zeros((2, 4, *neuron_shape(self.plain)))
        for side in (0, 1):
            texts = [pair[side] for pair in pairs]
            for first in range(0, len(texts), at_a_time):
                batch = texts[first : first + at_a_time]
                inputs = self._padded(batch, length or max(map(len, batch)))
                real = inputs["attention_mask"].bool()
                seen = [
                    self._activations(model, inputs) for model in (self.plain, self.plain_backbone)
                ]
                for layer, (after, before) in enumerate(zip(*seen, strict=True)):
                    a, b = after[real].float(), before[real].float()
                    terms = (a, a.abs(), (a - b).square(), b)
                    sums[side, :, layer] += [term.sum(dim=0).cpu().numpy() for term in terms]
        return sums

    def _activations(self, model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        kept: list[Tensor] = []
        with (
            torch.inference_mode(),
            self.compute.autocast(),
            on_activations(model, lambda _, activations: kept.append(activations)),
        ):
            model(**inputs, use_cache=False)
        return kept

    def scores(self, items: Sequence[Item]) -> NDArray[Any]:
        """Return rewards, in rows of all answers to a prompt."""
        return Scorer(items, TokenBudget(self.budget)).score(self.model, self.compute, "")

    def sorted_scores(self, items: Sequence[Item], at_a_time: int) -> NDArray[Any]:
        """Return rewards of texts sorted by length and padded, as in any good evaluation loop."""
        texts = [text for item in items for text in item]
        order = sorted(range(len(texts)), key=lambda number: -len(texts[number]))
        rewards = np.empty(len(texts), dtype=np.float32)
        with torch.inference_mode(), self.compute.autocast():
            for first in range(0, len(order), at_a_time):
                batch = order[first : first + at_a_time]
                inputs = self._padded([texts[number] for number in batch], len(texts[batch[0]]))
                logits = self.plain(**inputs, use_cache=False).logits
                rewards[batch] = logits[:, 0].float().cpu().numpy()
        return rewards

    def tops(self, pairs: Sequence[Item], percents: Sequence[float]) -> Masks:
        """Return what a dissection silences: nothing, and the top neurons of each score."""
        sums = self._sums(pairs)
        names = [name for name, score in SCORES.items() if score.needs != "attribution"]
        scores = [neuron_scores(name, sums, seed=0) for name in names]
        tops = [top(one, percent) for one in scores for percent in percents]
        return [np.zeros_like(tops[0]), *tops]

    def dissection(self, pairs: Sequence[Item], masks: Masks) -> NDArray[Any]:
        """Return rewards under each mask, by zeroed weights and rows laid out once.

        One pass for statistics, which the masks follow from, goes before.
        """
        self._sums(pairs)
        scorer, rewards = Scorer(pairs, TokenBudget(self.budget)), []
        for mask in masks:
            with ablated(self.model, mask):
                rewards.append(scorer.score(self.model, self.compute, ""))
        return np.stack(rewards)

    def plain_dissection(self, pairs: Sequence[Item], masks: Masks, at_a_time: int) -> NDArray[Any]:
        """Return the same rewards by hooks and padded batches of texts sorted by length."""
        self.padded_statistics(sorted(pairs, key=lambda pair: len(pair[0])), at_a_time, None)
        rewards = []
        for mask in masks:
            kept = torch.from_numpy(~mask).to(self.compute.device)
            with on_activations(self.plain, lambda layer, a, kept=kept: a * kept[layer]):  # type: ignore[misc]
                rewards.append(self.sorted_scores(pairs, at_a_time))
        return np.stack(rewards)

    def _padded(self, texts: Sequence[Tokens], length: int) -> dict[str, Tensor]:
        """Pad texts on the right."""
        ids = np.full((len(texts), length), PAD, dtype=np.int64)
        for row, text in zip(ids, texts, strict=True):
            row[: len(text)] = text
        input_ids = torch.from_numpy(ids).to(self.compute.device)
        return {"input_ids": input_ids, "attention_mask": (input_ids != PAD).long()}

    def tasks(
        self, material: Material, count: int, percents: Sequence[float]
    ) -> dict[str, dict[str, Side]]:
        """Return all tasks by what they do, ours first."""
        pairs, items = material.pairs(count), material.benchmark_items(max(3, count // 3))
        few = pairs[: max(1, count // 4)]
        masks = self.tops(few, percents)
        trl = {
            f"TRL, {size} at a time": self.trl_step(pairs, size, checkpointing=False)
            for size in (1, 2)
        }
        sizes = (1, 4, 16)
        return {
            f"a training step of {len(pairs)} HH pairs": {
                "ours": partial(self.step, pairs),
                "TRL, 8 at a time, checkpointing (its defaults)": self.trl_step(
                    pairs, min(8, len(pairs)), checkpointing=True
                ),
                **trl,
            },
            f"statistics of {len(few)} HH pairs": {
                "ours": partial(self.statistics, few),
                f"padded to {LIMIT}, hooks": partial(self.padded_statistics, few, 4, LIMIT),
            },
            **{
                f"rewards of {len(used)} {what}": {"ours": partial(self.scores, used)}
                | {f"sorted, {n} at a time": partial(self.sorted_scores, used, n) for n in sizes}
                for what, used in (("benchmark items", items), ("HH pairs", pairs))
            },
            f"a dissection of {len(few)} HH pairs under {len(masks)} conditions": {
                "ours": partial(self.dissection, few, masks),
                "hooks, sorted, 4 at a time": partial(self.plain_dissection, few, masks, 4),
            },
        }


def _gradients(model: PreTrainedModel) -> NDArray[Any]:
    gradients = [p.grad.flatten().float() for p in model.parameters() if p.grad is not None]
    return torch.cat(gradients).cpu().numpy()


def _tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer that TRL asks for and never uses."""
    words = Tokenizer(WordLevel({f"w{n}": n for n in range(vocabulary)}, unk_token="w0"))  # noqa: S106
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="w0", eos_token="w0")  # noqa: S106


def measure(
    tasks: Mapping[str, Mapping[str, Side]],
    tolerance: float,
    seconds: float,
    clock: Callable[[], float] = process_time,
) -> str:
    """Return a table of times, each by ours; raise SystemExit where a side computes others.

    CPU time depends little on what else a machine does.
    """
    lines: list[tuple[str, ...]] = []
    for task, sides in tasks.items():
        lines.append((f"**{task}**", "", "", ""))
        ours, expected = 0.0, sides["ours"]()
        for name, run in sides.items():
            numbers = run()
            distance = np.linalg.norm(numbers - expected) / np.linalg.norm(
                expected - expected.mean()
            )
            if not distance <= tolerance:
                raise SystemExit(f"{task}, {name}: not the numbers of ours, {distance:.0e} apart")
            threads = torch.get_num_threads()
            timer = Timer("run()", timer=clock, globals={"run": run}, num_threads=threads)
            times = timer.blocked_autorange(min_run_time=seconds)
            ours = ours or times.median
            ratio, spread = times.median / ours, times.iqr / times.median
            lines.append(
                (name, f"{ratio:.2f}", f"{times.median:.3g} s, {spread:.0%}", f"{distance:.0e}")
            )
            print(*lines[-1], sep=" | ", flush=True)
    headers = ("task, side", "time by ours", "median, interquartile range", "differs by")
    return tabulate(lines, headers, tablefmt="github", disable_numparse=True)


def main() -> None:
    """Print the table and write it to a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a tiny model: shows nothing")
    parser.add_argument("--blocks", type=int, default=30, help="so many of the model's 30 blocks")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=tuple(TOLERANCE), default="float32")
    parser.add_argument("--budget", type=int, default=4096, help="tokens at a time, of ours")
    parser.add_argument("--pairs", type=int, default=16, help="HH pairs")
    parser.add_argument("--percents", type=float, nargs="+", default=[10], help="dissected")
    parser.add_argument("--only", default="", help="tasks that have this in their name")
    parser.add_argument("--seconds", type=float, default=10.0, help="at least, for each side")
    parser.add_argument("--out", type=Path, default=Path("reports/bench/bench.md"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    material = Material.of(load_params().profiles["paper"], BACKBONE, options.tiny)
    material = material.with_layers(options.blocks)
    if options.blocks < 30:  # the embedding keeps its share of the cost
        vocabulary = material.shape.vocabulary * options.blocks // 30
        material = replace(material, shape=replace(material.shape, vocabulary=vocabulary))
    bench = Bench(
        material, Compute(torch.device(options.device), options.precision), options.budget
    )
    tasks = bench.tasks(material, options.pairs, options.percents)
    tasks = {name: sides for name, sides in tasks.items() if options.only in name}
    clock = process_time if options.device == "cpu" else default_timer
    table = measure(tasks, TOLERANCE[options.precision], options.seconds, clock)
    with atomic_write(options.out) as partial_file:
        partial_file.write_text(table + "\n", encoding="utf-8")
    print(f"\n{table}\n\nwritten to {options.out}")


if __name__ == "__main__":
    main()
