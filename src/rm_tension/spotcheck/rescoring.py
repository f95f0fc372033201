"""A sample of one reward model's rewards, scored again by the evaluate stage's own functions and compared.

How far two scorings of the same texts may be apart, and why: docs/METHOD.md section 9.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from rm_tension.activations.sums import load_activations
from rm_tension.analyse.outcomes import answer_layout, outcomes, score
from rm_tension.base.config import HH, EvaluateConfig, Grid, Precision, Profile, TestFiles
from rm_tension.base.errors import UserError
from rm_tension.base.files import read_json
from rm_tension.base.grid import Model, Paths, Split
from rm_tension.base.runs import environment, machine_of
from rm_tension.base.tables import TEXTS, TOKENS, read_table
from rm_tension.evaluate.conditions import COLUMNS, NONE, Condition, hh_conditions, task_conditions
from rm_tension.evaluate.evaluation import NeuronSets, Texts, benchmarks, evaluate
from rm_tension.model.device import Budget, Place
from rm_tension.score.loading import TOKENS_PER_BATCH, load_reward_model

# in standard deviations of the rewards, by precision; TF32 is compared with float32 elsewhere
ROUNDING: dict[Precision, float] = {"float32": 1e-3, "tf32": 3e-2, "bfloat16": 1e-1}
LIBRARIES = ("torch", "transformers", "accelerate")  # of which versions may round differently
KEYS = ["objective", "kind", "percent", "dataset", "item_id", "answer_index"]


@dataclass(frozen=True)
class Environment:
    """Of `base.runs.environment`, what may change a reward's last bits."""

    machine: str
    host: str
    cpus: int | None
    accelerator: str | None
    libraries: dict[str, str]


@dataclass(frozen=True)
class Metrics:
    """Of the evaluate stage; None for a record of before there was such a number."""

    tokens_per_batch: int | None = None


@dataclass(frozen=True)
class Record:
    """Of runs/<P>/evaluate-<trio>.json, what is read here."""

    metrics: Metrics


@dataclass(frozen=True)
class MachineRecord:
    """Of runs/<P>/machine/evaluate-<trio>.json, what is read here."""

    environment: Environment


@dataclass(frozen=True)
class Sample:
    """Some items of one kind: rows of tokens/ and of data/, whether they are all, and conditions; drawn at random."""

    name: str
    tokens: pd.DataFrame
    texts: pd.DataFrame
    complete: bool
    conditions: tuple[Condition, ...]  # the first without ablation


@dataclass(frozen=True)
class Comparison:
    """Of a sample under one condition: `rows` has KEYS, and the rewards `cached` and `again`.

    `tolerance` is how far these may be apart, `changed` how many of so many `outcomes` differ.
    """

    file: Path
    name: str
    rows: pd.DataFrame
    tolerance: float
    outcomes: int
    changed: int

    @property
    def fault(self) -> str | None:
        """Why the cached rewards are not this RM's, if they are not."""
        apart = self._apart
        wrong = ~(apart <= self.tolerance)  # NaN is wrong, too
        if not wrong.any():
            return None
        worst = self.rows.iloc[int(apart.fillna(np.inf).argmax())]
        why = (
            "rounding explains"
            if self.tolerance
            else "the same batches, machine and versions explain"
        )
        return (
            f"{self.file}: {self.name}: {wrong.sum()} of {len(wrong)} rewards differ by more than the "
            f"{self.tolerance:.1g} that {why} from what checkpoint and neurons give; the farthest, {worst['dataset']} "
            f"{worst['item_id']}, answer {worst['answer_index']}: {worst['cached']:.6g} cached, {worst['again']:.6g} "
            "scored again"
        )

    def __str__(self) -> str:
        equal = (self._apart == 0).mean()
        return (
            f"{self.name}: largest difference {self._apart.max():.1g} (allowed: {self.tolerance:.1g}), "
            f"{equal:.0%} equal to the bit, {self.changed} of {self.outcomes} outcomes differ"
        )

    @property
    def items(self) -> int:
        """How many were drawn; one of RM-Bench has three outcomes."""
        return len(self.rows[["dataset", "item_id"]].drop_duplicates())

    @property
    def is_whole(self) -> bool:
        """Whether nothing was ablated."""
        return bool((self.rows["kind"] == NONE.kind).all())

    @property
    def _apart(self) -> pd.Series:
        return (self.rows["again"] - self.rows["cached"]).abs()


def rescore(
    paths: Paths,
    model: Model,
    profile: Profile,
    grid: Grid,
    items: int,
    seed: int,
    device: str | None,
) -> Iterator[Comparison]:
    """Compare `items` items, half of either kind, without and with an ablation; UserError if a reward is missing."""
    config = profile.evaluate
    if profile.threads:
        torch.set_num_threads(profile.threads)
    rng = np.random.default_rng([seed, *model.key.encode()])
    samples = list(_samples(rng, paths, model, config, grid, items // 2))
    rm = load_reward_model(paths.reward_model(model), device=device)
    place = Place(rm.place.device, config.precision)
    sets = NeuronSets(load_activations(paths.activations(model.trio)), model.seed)
    same_batches = _same_batches(paths, model, place.device, profile.threads)
    work = [
        (
            Texts.lay_out(one.tokens, Budget((one.complete and same_batches) or TOKENS_PER_BATCH)),
            one.conditions,
        )
        for one in samples
    ]
    again = list(evaluate(rm.model, model.objective, model.key, work, sets, place))
    cached = read_table(paths.rewards(model.trio), COLUMNS).rename(columns={"reward": "cached"})
    cells = [(sample, condition) for sample in samples for condition in sample.conditions]
    whole = [table for table, (_, condition) in zip(again, cells, strict=True) if condition == NONE]
    spread = pd.concat(whole)["reward"].std()
    file = Paths(paths.profile).rewards(model.trio)
    for table, (sample, condition) in zip(again, cells, strict=True):
        name = f"{model.key}, {condition}, {sample.name}"
        rows = table.rename(columns={"reward": "again"}).merge(cached, how="left", on=KEYS)
        if missing := int(rows["cached"].isna().sum()):
            raise UserError(f"{file}: {name}: no reward for {missing} answers")
        rounding = ROUNDING[config.precision] * max(spread, rows["again"].std())
        tolerance = 0.0 if sample.complete and same_batches else rounding
        then, now = (
            _right(rows, column, sample, grid.test_files) for column in ("cached", "again")
        )
        yield Comparison(file, name, rows, tolerance, len(now), int((then != now).sum()))


def _samples(
    rng: np.random.Generator,
    paths: Paths,
    model: Model,
    config: EvaluateConfig,
    grid: Grid,
    size: int,
) -> Iterator[Sample]:
    conditions: dict[Split, Iterator[Condition]] = {
        "test": hh_conditions(config),
        "benchmarks": task_conditions(config, model.objective),
    }
    files = grid.test_files[model.objective]
    for split, run in conditions.items():
        tokens = read_table(paths.tokens(model.backbone, split), TOKENS)
        tokens = tokens[(tokens["dataset"] != HH) | tokens["subset"].isin(files)]
        complete = size >= len(tokens)
        drawn = tokens.iloc[np.sort(rng.choice(len(tokens), min(size, len(tokens)), replace=False))]
        ablations = [condition for condition in run if condition != NONE]
        ablation = ablations[rng.integers(len(ablations))]
        ablated, whole_only = benchmarks(drawn, grid)
        for kind, part, used in (
            (split, ablated, (NONE, ablation)),
            (f"{split} of no table", whole_only, (NONE,)),
        ):
            if len(part):
                texts = read_table(paths.texts(split), TEXTS).merge(
                    part[["dataset", "subset", "item_id"]]
                )
                yield Sample(f"{len(part)} items of {kind}", part, texts, complete, used)


def _right(rows: pd.DataFrame, column: str, sample: Sample, files: TestFiles) -> pd.Series:
    """Whether each item is answered right by the rewards of a column."""
    scored = score(rows.rename(columns={column: "reward"}), answer_layout(sample.texts), files)
    return outcomes(scored).set_index("item")["correct"]


def _same_batches(
    paths: Paths, model: Model, device: torch.device, threads: int | None
) -> int | None:
    """Tokens in a batch of the evaluate stage, if the same batches must give the same bits here; None if they need not.

    Of a CPU the machine's record has no more than the name of its host, and not how many threads there were; what came
    from a cache has none.
    """
    path = Paths(paths.profile).run("evaluate", model.trio.key)
    if not machine_of(path).is_file():
        return None
    there = read_json(machine_of(path), MachineRecord).environment
    record = read_json(paths.run("evaluate", model.trio.key), Record)
    here = environment() | {
        "accelerator": torch.cuda.get_device_name(device) if device.type == "cuda" else None
    }
    kind = (
        ("machine", "accelerator")
        if here["accelerator"]
        else ("machine", "accelerator", "host", "cpus")
    )
    same = all(here[key] == getattr(there, key) for key in kind) and bool(
        here["accelerator"] or threads
    )
    versions = all(here["libraries"][name] == there.libraries.get(name) for name in LIBRARIES)
    return record.metrics.tokens_per_batch if same and versions else None
