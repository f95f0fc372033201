"""The tidy tables of results/<profile>/ (docs/DATA.md): what they are made of."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from rm_tension.analyse import as_published, metrics
from rm_tension.analyse.averages import Tables, with_groups
from rm_tension.analyse.neurons import POOLED, pooled_depth
from rm_tension.analyse.suites import suite_table
from rm_tension.evaluate.conditions import NONE, SETS
from rm_tension.evaluate.scores import SCORES
from rm_tension.paper.tasks import GROUPS

DIGITS = "%.10g"  # of every number of results/
POINTS = 50  # of a training curve
MEASURES = ["loss", "accuracy", "margin"]  # of a training curve


def trio_tables(scored: pd.DataFrame, items: pd.DataFrame, found: metrics.TrioMetrics) -> Tables:
    """Return what one trio contributes, by file name, without its backbone and seed.

    From `outcomes.score`, `outcomes.outcomes` and `metrics.trio_metrics`.
    """
    sizes = metrics.counts(items)
    return {
        "accuracy": metrics.accuracy_table(found.tasks, sizes),
        "hh_accuracy": metrics.hh_table(found.hh, sizes),
        "retention": metrics.retention_table(found.tasks),
        "suites": suite_table(scored[scored["kind"] == NONE.kind], found.parts),
        "math_components": as_published.math_components(found.parts, sizes),
        "ties": as_published.ties(scored, sizes),
    }


def grid_tables(tables: Mapping[str, pd.DataFrame], percent: int) -> Tables:
    """Return what follows from the tables of all trios and backbones, by file name."""
    tasks = tables["accuracy"].drop(columns=["items", "correct", "ties"])
    groups = with_groups(tasks, "accuracy")
    groups = groups[groups["task"].isin(GROUPS)].rename(columns={"task": "group"})
    ablated = _changes(tasks)
    magnitude = ablated[ablated["kind"] == "magnitude"]
    sets = ablated[ablated["kind"].isin(SETS)].rename(columns={"kind": "ablated_set"})
    keys = ["backbone", "seed", "percent", "task"]
    values = ["baseline_accuracy", "ablated_accuracy", "delta"]
    depth, retention = tables["neuron_depth"], tables["retention"]
    return {
        "group_accuracy": groups,
        "ablation_magnitude": magnitude[["objective", *keys, *values]],
        "ablation_shared_sets": sets[["ablated_set", *keys, *values]],
        "neuron_depth": pd.concat([depth, pooled_depth(depth).assign(backbone=POOLED)]),
        "ablation_by_score": _by_score(ablated),
        "retention_after_ablation": as_published.retention_after_ablation(retention, percent),
    }


def _changes(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Return the ablated rows with baseline_accuracy, ablated_accuracy and delta (points)."""
    keys = ["backbone", "objective", "seed", "task"]
    unablated = accuracy["kind"] == NONE.kind
    baseline = accuracy[unablated].set_index(keys)["accuracy"].rename("baseline_accuracy")
    ablated = accuracy[~unablated].rename(columns={"accuracy": "ablated_accuracy"})
    ablated = ablated.join(baseline, on=keys)
    return ablated.assign(delta=ablated["ablated_accuracy"] - ablated["baseline_accuracy"])


def _by_score(ablated: pd.DataFrame) -> pd.DataFrame:
    """Return the group averages of `_changes` by the score whose top neurons are ablated."""
    by_score = ablated[ablated["kind"].isin(SCORES)].rename(columns={"kind": "score"})
    keys = ["objective", "backbone", "seed", "score", "percent", "task", "delta"]
    groups = with_groups(by_score[keys], "delta")
    return groups[groups["task"].isin(GROUPS)].rename(columns={"task": "group"})


def training_curve(history: pd.DataFrame) -> pd.DataFrame:
    """Return at most POINTS rows of a training, from one row for each step.

    Columns progress (%, where a point's steps end) and the means of MEASURES.
    """
    steps = pd.RangeIndex(1, len(history) + 1)
    points = min(POINTS, len(history))
    part = ((steps * points - 1) // len(history) + 1).rename("progress")
    means = history[MEASURES].groupby(part).mean().reset_index()
    return means.assign(progress=100 * means["progress"] / points)


def write_tables(tables: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Write a CSV file each, into a new folder."""
    folder.mkdir()
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, float_format=DIGITS)
