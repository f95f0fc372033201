"""The statistics that claims are decided on, ours and the paper's, as frames of `bootstrap` rows.

Columns are (measure, objective, condition, part). A condition is a kind of ablation, without its percent; a part is a
task or a backbone. Measures of trios: accuracy (percent), delta and hh_delta (points), retention, and the logarithms
log_mean_abs and log_std of ratios of rewards; of neurons: rmsd (in mean |score| of the top neurons), jaccard,
neuron_retention and late_excess.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pandas as pd

from rm_tension.analysis.bootstrap import Counts, Draws, resample_items
from rm_tension.analysis.neurons import Neurons, depth_table, jaccard, mean_top_score, neuron_retention, rmsd
from rm_tension.analysis.outcomes import STYLES
from rm_tension.analysis.score_shift import Side
from rm_tension.conditions import NONE, SETS, Condition, Kind
from rm_tension.data.tasks import SUITES, TASKS
from rm_tension.objectives import TEST_SOURCES
from rm_tension.selection import top

Column = tuple[str, str, str, str]
Parts = dict[tuple[Hashable, ...], pd.DataFrame]  # by dataset and subset
SCORES: tuple[Kind, ...] = ("random", "change", "magnitude", "absolute")
MOMENTS = ("count", "abs", "sum", "square")
SHIFTS = (
    ("retained", ("single", "mixed"), "helpful"),
    ("retained", ("single", "mixed"), "harmless"),
    ("ablation", ("before", "after"), "helpful"),
    ("ablation", ("before", "after"), "harmless"),
)
POOLED = "pooled"
PRINTED_NEURON_RETENTION = 0.549  # section 5 of the paper; no table holds what it is the mean of


def trio_evidence(
    items: pd.DataFrame, sides: Iterable[Side], percent: int, rng: np.random.Generator, resamples: int
) -> pd.DataFrame:
    """The measures of one trio over resamples of its items, from `outcomes.outcomes` and `score_shift.sides`.

    Drawn are whole prompts within each subset, so that the three styles of an RM-Bench prompt stay together. The
    objectives and conditions of a trio share the draws.
    """
    sums = _prompt_sums(items, sides, percent)
    parts = {
        key: resample_items(part.dropna(axis=1, how="all"), rng, resamples)
        for key, part in sums.groupby(level=["dataset", "subset"], sort=False)
    }
    columns = dict([*_of_tasks(parts), *_of_hh(parts), *_of_sides(parts)])
    return pd.DataFrame(columns)


def neuron_evidence(neurons: Mapping[str, Neurons], percent: int, draws: Draws) -> pd.DataFrame:
    """The measures of neurons, by backbone, over the draws of backbones and seeds."""

    def of_backbone(backbone: str, counts: Counts) -> pd.Series:
        found = neurons[backbone]
        tops = {o: top(np.average(scores, axis=0, weights=counts), percent) for o, scores in found.magnitude.items()}
        values: dict[Column, float] = {
            ("rmsd", objective, "", ""): rmsd(found.difference[objective], counts)
            / mean_top_score(found.magnitude[objective], percent, counts)
            for objective in tops
        }
        values["jaccard", "helpful-harmless", "", ""] = jaccard(tops["helpful"], tops["harmless"])
        values["neuron_retention", "mixed", "", ""] = neuron_retention(tops)
        return pd.Series(values)

    depth = pd.concat([depth_table(found, percent).assign(backbone=backbone) for backbone, found in neurons.items()])
    return draws.of_backbones(of_backbone).join(_late_excess(depth, draws))


def published_evidence(reference: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What reference/*.csv, by stem, say of the same measures: one row."""
    magnitude = reference["ablation_magnitude_p10_average"]
    sets = reference["ablation_shared_sets"].query("ablated_set != 'baseline' and task != 'average'")
    retention = reference["retention"].assign(objective="mixed", condition="none")
    overlap = reference["neuron_overlap_p10"].query("objective_a == 'helpful' and objective_b == 'harmless'")
    retained = pd.DataFrame({"objective": ["mixed"], "value": [PRINTED_NEURON_RETENTION]})
    found = (
        ("accuracy", magnitude.assign(condition="none"), "baseline_accuracy"),
        ("delta", magnitude.assign(condition="magnitude"), "delta"),
        ("delta", sets.assign(objective="mixed", condition=sets["ablated_set"]), "value"),
        ("retention", retention, "retention"),
        ("jaccard", overlap.assign(objective="helpful-harmless", condition="", task=""), "jaccard"),
        ("neuron_retention", retained.assign(condition="", task=""), "value"),
    )
    means = [
        frame.assign(measure=measure).groupby(["measure", "objective", "condition", "task"])[value].mean()
        for measure, frame, value in found
    ]
    return pd.DataFrame([pd.concat(means)])


def _late_excess(depth: pd.DataFrame, draws: Draws) -> pd.DataFrame:
    """The late third's share of the top neurons, less its share of all: per objective pooled, and per backbone."""
    corrected = depth[depth["variant"] == "corrected"]
    late = corrected[corrected["third"] == "late"]

    def count(rows: pd.DataFrame, column: str) -> pd.DataFrame:
        return rows.pivot_table(column, index=["backbone", "seed"], columns="objective", aggfunc="sum")

    parts, wholes = ([count(rows, name) for name in ("neurons", "all_neurons")] for rows in (late, corrected))

    def shares(drawn: Draws) -> pd.DataFrame:
        weights = drawn.weights()
        top, every = (
            weights.dot(part.loc[weights.columns]) / weights.dot(whole.loc[weights.columns])
            for part, whole in zip(parts, wholes, strict=True)
        )
        return drawn.without_spread(top - every)

    columns: dict[Column, pd.Series] = {
        ("late_excess", str(objective), "", POOLED): values for objective, values in shares(draws).items()
    }
    for backbone in draws.seeds:
        columns["late_excess", "", "", backbone] = shares(draws.of_seeds(backbone)).mean(axis=1)
    return pd.DataFrame(columns)


def _prompt_sums(items: pd.DataFrame, sides: Iterable[Side], percent: int) -> pd.DataFrame:
    """Sums of a prompt, indexed by dataset, subset, prompt; columns (what, objective, kind or side)."""
    kinds = {str(NONE): "none"} | {str(Condition(kind, percent)): kind for kind in (*SCORES, *SETS)}
    rows = items[items["condition"].isin(kinds)].astype({"dataset": "str", "subset": "str", "objective": "str"})
    rows = rows.assign(kind=rows["condition"].astype("str").map(kinds), prompt=rows["item"] // STYLES)
    right = rows.pivot(index=["dataset", "subset", "prompt", "item"], columns=["objective", "kind"], values="correct")
    right = right.astype(np.float64)
    either = np.maximum(right["helpful", "none"], right["harmless", "none"])
    rest = {("items", "", ""): 1.0, ("either", "", ""): either, ("kept", "", ""): either * right["mixed", "none"]}
    wide = pd.concat({"correct": right}, axis=1).join(pd.DataFrame(rest, index=right.index))
    sums = wide.groupby(level=["dataset", "subset", "prompt"]).sum(min_count=1)
    prompt = sums.index.get_level_values("prompt")
    moments = {
        (f"{side.comparison} {name}", side.objective, side.side): column.reindex(prompt, fill_value=0.0).to_numpy()
        for side in sides
        for name, column in _moments(side).items()
    }
    return sums.join(pd.DataFrame(moments, index=sums.index))


def _moments(side: Side) -> pd.DataFrame:
    """Indexed by prompt: count, sum of |reward|, reward and its square."""
    rewards = side.rewards.astype(np.float64)
    moments = pd.DataFrame({"count": 1.0, "abs": np.abs(rewards), "sum": rewards, "square": rewards**2})
    return moments.groupby(side.items // STYLES).sum()


def _of_tasks(parts: Parts) -> Iterator[tuple[Column, pd.Series]]:
    for task in TASKS:
        subsets = [parts[key] for part in task.subsets if (key := (part.suite, part.name)) in parts]
        if len(subsets) < len(task.subsets):
            continue
        accuracy = _sum(100 * one["correct"].div(one["items", "", ""], axis=0) for one in subsets) / len(subsets)
        for objective, kind in accuracy.columns:
            if kind == "none":
                yield ("accuracy", objective, kind, task.key), accuracy[objective, kind]
            else:
                yield ("delta", objective, kind, task.key), accuracy[objective, kind] - accuracy[objective, "none"]
        kept = _sum(one["kept", "", ""] / one["either", "", ""] for one in subsets)
        yield ("retention", "mixed", "none", task.key), kept / len(subsets)


def _of_hh(parts: Parts) -> Iterator[tuple[Column, pd.Series]]:
    for objective, files in TEST_SOURCES.items():
        found = [parts[file, file] for file in files if (file, file) in parts]
        if len(found) < len(files):
            continue
        items = _sum(one["items", "", ""] for one in found)
        accuracy = 100 * _sum(one["correct"][objective] for one in found).div(items, axis=0)
        for kind in accuracy.columns.drop("none"):
            yield ("hh_delta", objective, kind, ""), accuracy[kind] - accuracy["none"]


def _of_sides(parts: Parts) -> Iterator[tuple[Column, pd.Series]]:
    """Logarithms of the second side's mean |reward| and standard deviation relative to the first's."""
    tasks = _sum(part for (dataset, _), part in parts.items() if dataset in SUITES).sort_index(axis=1)
    for comparison, (first, second), objective in SHIFTS:
        count, size, total, square = (tasks[f"{comparison} {name}", objective] for name in MOMENTS)
        mean_abs, std = size / count, np.sqrt(square / count - (total / count) ** 2)
        yield ("log_mean_abs", objective, comparison, ""), np.log(mean_abs[second] / mean_abs[first])
        yield ("log_std", objective, comparison, ""), np.log(std[second] / std[first])


def _sum(parts: Iterable[Any]) -> Any:
    """Of frames or of series; unlike `sum`, without the 0 to begin with."""
    return reduce(add, parts)
