"""Numbers as the released code makes them, beside the corrected ones (METHOD.md section 8)."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_tension.analyse.averages import over_backbones, over_seeds
from rm_tension.analyse.metrics import PART, Part, counts
from rm_tension.analyse.outcomes import CONDITION, outcomes
from rm_tension.evaluate.conditions import NONE, SETS
from rm_tension.evaluate.scores import Scores
from rm_tension.evaluate.selection import Mask
from rm_tension.paper.tasks import BY_KEY, SUITES

THIRDS = ("early", "middle", "late")  # of the depth (METHOD.md section 4)
# Table 19's columns in the order in which the released notebook fills its lists.
COLUMNS = ("baseline", "helpful_only", "harmless_only", "shared")


def retention_after_ablation(retention: pd.DataFrame, percent: int) -> pd.DataFrame:
    """Return columns task, column, corrected, as_published: Table 19 from all trios' retention.

    Corrected is the mean over backbones of their means over seeds. As published, the lists are
    never reset between the columns, so that each is the mean of itself and all columns before it
    (erratum 1), and a retention that is not defined, because neither single-objective RM gets any
    item right, counts as 0 instead of being left out.
    """
    columns = {NONE.kind: "baseline", **{kind: kind.replace("-", "_") for kind in SETS}}
    rows = retention[retention["percent"].isin([NONE.percent, percent])]
    rows = rows.assign(column=rows["kind"].map(columns), tasks=1).dropna(subset=["column"])
    means = {}
    for measure in ("retention", "retention_as_published"):
        seeds = over_seeds(rows[["backbone", "seed", "task", "column", measure, "tasks"]], measure)
        table = over_backbones(seeds)["mean"].unstack("column")
        means[measure] = table.reindex(columns=list(COLUMNS))
    running = means["retention_as_published"].cumsum(axis=1, skipna=False)
    running = running.div(np.arange(1, len(COLUMNS) + 1), axis=1)
    table = means["retention"].melt(ignore_index=False, value_name="corrected")
    return table.assign(as_published=running.melt()["value"].array).reset_index()


def undo_running_means(printed: pd.DataFrame) -> pd.DataFrame:
    """Return what was averaged in COLUMNS as printed, each the mean of the first k (Table 19)."""
    sums = printed[list(COLUMNS)] * np.arange(1, len(COLUMNS) + 1)
    return sums.diff(axis=1).fillna({"baseline": sums["baseline"]})


def math_components(parts: Mapping[Part, pd.DataFrame], sizes: pd.DataFrame) -> pd.DataFrame:
    """Return columns CONDITION, suite, items, accuracy, chance (%): the two subsets of Math apart.

    Their mean, which the paper calls Math, averages a best-of-4 task with a pairwise one (erratum
    4). From `metrics.suite_metrics` and `metrics.counts`.
    """
    keys = [*CONDITION, "suite"]
    tables = []
    for subset in BY_KEY["math"].subsets:
        if (subset.suite, subset.name) in parts:
            accuracy = parts[subset.suite, subset.name]["accuracy"].iloc[0].rename("accuracy")
            suite = {"suite": subset.suite, "chance": subset.chance}
            tables.append(accuracy.reset_index().assign(**suite))
    if not tables:
        return pd.DataFrame(columns=[*keys, "items", "accuracy", "chance"])
    items = sizes[sizes["subset"] == "math"].rename(columns={"dataset": "suite"})
    table = pd.concat(tables).join(items.set_index(keys)["items"], on=keys).sort_values(keys)
    return pd.DataFrame(table[[*keys, "items", "accuracy", "chance"]])


def ties(scored: pd.DataFrame, sizes: pd.DataFrame) -> pd.DataFrame:
    """Return columns objective, dataset, subset, items, and the share (%) of right and tied items.

    These are accuracy and ties of unablated rewards as they are, and accuracy_bfloat16 and
    ties_bfloat16 of those rounded as the released code stores them (erratum 9). `sizes` is of
    `metrics.counts`.
    """
    keys = ["objective", *PART]
    unablated = scored[(scored["kind"] == NONE.kind) & scored["dataset"].isin(SUITES)]
    rounded = to_bfloat16(unablated["reward"].to_numpy(dtype=np.float32))
    own = sizes[(sizes["kind"] == NONE.kind) & sizes["dataset"].isin(SUITES)]
    table = own.set_index(keys)[["items"]]
    for suffix, counted in (
        ("", own),
        ("_bfloat16", counts(outcomes(unablated.assign(reward=rounded)))),
    ):
        right = counted.set_index(keys)
        table[f"accuracy{suffix}"] = 100 * right["correct"] / right["items"]
        table[f"ties{suffix}"] = 100 * right["ties"] / right["items"]
    return table.sort_index().reset_index()


def to_bfloat16(rewards: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to bfloat16, ties to even: its 16 bits are the upper half of a float32's."""
    bits = rewards.view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32)


def score(chosen: NDArray[np.float64], rejected: NDArray[np.float64]) -> Scores:
    """Return the released code's magnitude score [layers, neurons] from [seeds, layers, neurons].

    Of each side the mean over seeds first, which is then clamped at 0, and then the mean of the two
    sides (erratum 2).
    """
    sides = [np.maximum(side.mean(axis=0), 0) for side in (chosen, rejected)]
    return np.asarray((sides[0] + sides[1]) / 2)


def clamped_top(scores: Scores, percent: float) -> Mask:
    """Select every neuron at or above the percentile of scores clamped at 0 (erratum 2).

    Where fewer than `percent` of the scores are positive, the threshold is 0 and all neurons are
    selected.
    """
    return np.asarray(scores >= np.percentile(scores, 100 - percent))


def thirds(layers: int) -> NDArray[np.intp]:
    """Return each block's third as numpy.array_split deals them out: of 32 blocks 11, 11, 10."""
    sizes = [len(part) for part in np.array_split(np.arange(layers), len(THIRDS))]
    return np.repeat(np.arange(len(THIRDS)), sizes)
