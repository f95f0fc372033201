"""Numbers as the released code makes them, beside the corrected ones (METHOD.md section 8)."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_tension.analyse.accuracy import CHANCE
from rm_tension.analyse.averages import over_backbones, over_seeds
from rm_tension.analyse.outcomes import CONDITION, outcomes
from rm_tension.evaluate.conditions import NONE, SETS
from rm_tension.paper.tasks import BY_KEY

# Table 19's columns in the order in which the released notebook fills its lists.
COLUMNS = ("baseline", "helpful_only", "harmless_only", "shared")


def retention_after_ablation(retention: pd.DataFrame, percent: int) -> pd.DataFrame:
    """Columns task, column, corrected, as_published: Table 19 from all trios' retention.

    Corrected is the mean over backbones of their means over seeds. As published, the lists are never reset between
    the columns, so that each is the mean of itself and all columns before it (erratum 1), and a retention that is not
    defined, because neither single-objective RM gets any item right, counts as 0 instead of being left out.
    """
    columns = {NONE.kind: "baseline", **{kind: kind.replace("-", "_") for kind in SETS}}
    shown = retention[retention["percent"].isin([NONE.percent, percent])]
    rows = shown.assign(column=shown["kind"].map(columns), tasks=1).dropna(subset=["column"])
    corrected, listed = (
        _columns(rows, measure) for measure in ("retention", "retention_as_published")
    )
    running = listed.cumsum(axis=1, skipna=False).div(np.arange(1, len(COLUMNS) + 1), axis=1)
    return (
        corrected.melt(ignore_index=False, value_name="corrected")
        .assign(as_published=running.melt()["value"].array)
        .reset_index()
    )


def _columns(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Means of `measure` over seeds, then backbones: a row per task, and COLUMNS."""
    means = over_backbones(
        over_seeds(rows[["backbone", "seed", "task", "column", measure, "tasks"]], measure)
    )
    return means["mean"].unstack("column").reindex(columns=list(COLUMNS))


def undo_running_means(printed: pd.DataFrame) -> pd.DataFrame:
    """Table 19 corrected: printed columns COLUMNS, each the mean of the first k, to the values that were averaged."""
    sums = printed[list(COLUMNS)] * np.arange(1, len(COLUMNS) + 1)
    return sums.diff(axis=1).fillna({"baseline": sums["baseline"]})


def math_components(items: pd.DataFrame) -> pd.DataFrame:
    """Columns objective, kind, percent, suite, items, accuracy, chance (percent): the two subsets of Math apart.

    Their mean, which the paper calls Math, averages a best-of-4 task with a pairwise one (erratum 4).
    """
    parts = [part.suite for part in BY_KEY["math"].subsets]
    maths = items[(items["subset"] == "math") & items["dataset"].isin(parts)].astype(
        {"dataset": "str"}
    )
    keys = [*CONDITION, "dataset"]
    found = (
        maths.groupby(keys, observed=True)["correct"]
        .agg(items="size", accuracy="mean")
        .reset_index()
    )
    return found.assign(
        accuracy=100 * found["accuracy"], chance=found["dataset"].map(CHANCE)
    ).rename(columns={"dataset": "suite"})


def ties(scored: pd.DataFrame) -> pd.DataFrame:
    """Columns objective, dataset, subset, items, accuracy, ties, accuracy_bfloat16, ties_bfloat16 (all in percent).

    Of unablated rewards as they are, and rounded to bfloat16 as the released code stores them (erratum 9).
    """
    rounded = scored.assign(reward=to_bfloat16(scored["reward"].to_numpy(dtype=np.float32)))
    keys = ["objective", "dataset", "subset"]
    tables = []
    for suffix, rewards in {"": scored, "_bfloat16": rounded}.items():
        parts = outcomes(rewards).groupby(keys, observed=True)
        shares = (100 * parts[["correct", "tie"]].mean()).set_axis(
            [f"accuracy{suffix}", f"ties{suffix}"], axis=1
        )
        tables.append(shares)
    size = parts.size().rename("items")
    return pd.concat([size, *tables], axis=1).reset_index()


def to_bfloat16(rewards: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to the nearest bfloat16, ties to even: its 16 bits are the upper half of a float32's."""
    bits = rewards.view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32)
