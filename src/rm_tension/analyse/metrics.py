"""Accuracy and retention of one trio: estimates and bootstrap replicates by the same formulas.

METHOD.md sections 2 and 3. Frames have the rows of `bootstrap.draw_items`: tables are made of
row 0, the point estimate, and claims are decided on all of them.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from rm_tension.analyse.bootstrap import Weights
from rm_tension.analyse.outcomes import CONDITION, STYLES
from rm_tension.analyse.task_sets import SINGLES
from rm_tension.base.config import TestFiles
from rm_tension.evaluate.conditions import NONE
from rm_tension.paper.tasks import BENCHMARKS, TASK_OF, TASKS

Part = tuple[str, str]  # dataset and subset
PART = ["dataset", "subset"]
RETENTION = ["retention", "mixed_vs_helpful", "mixed_vs_harmless"]
OWN = "own"  # all test files of an objective together
COUNTS = {"items": ("correct", "size"), "correct": ("correct", "sum"), "ties": ("tie", "sum")}


def metrics(correct: pd.DataFrame, weights: Weights) -> pd.DataFrame:
    """Return accuracy (%) and retention (fractions) of one subset of a suite.

    `correct` [items, conditions] is 1 where an item is right, else 0; its columns are CONDITION.
    `weights` [rows, items] is how often each item counts. Columns of the result are measure and
    CONDITION. Retention is NaN where no single-objective RM is right on any item; as published, 0.
    """
    kept = retention(correct, weights)
    frames = {"accuracy": accuracy(correct, weights), **kept}
    frames["retention_as_published"] = kept["retention"].fillna(0)
    return pd.concat(frames, axis=1, names=["measure"])


def accuracy(correct: pd.DataFrame, weights: Weights) -> pd.DataFrame:
    """Return the percentage of right items, [rows, conditions]; arguments as of `metrics`."""
    shares = (weights @ correct.to_numpy()) / weights.sum(axis=1, keepdims=True)
    return pd.DataFrame(100 * shares, columns=correct.columns)


def retention(correct: pd.DataFrame, weights: Weights) -> dict[str, pd.DataFrame]:
    """Return the measures of RETENTION, each [rows, conditions of the mixed RM].

    With M, A and B the items that the mixed, helpful and harmless RM get right, retention is
    |M and (A or B)| / |A or B|, and the pairwise measures are the Jaccard indices of M with A and
    with B. M is taken under each condition, A and B without ablation. Arguments as of `metrics`.
    """
    helpful, harmless = (
        correct[single, NONE.kind, NONE.percent].to_numpy()[:, None] for single in SINGLES
    )
    of_mixed = correct.loc[:, ["mixed"]]
    mixed, either = of_mixed.to_numpy(), np.maximum(helpful, harmless)
    ratios = (
        (either * mixed, either),
        (helpful * mixed, np.maximum(helpful, mixed)),
        (harmless * mixed, np.maximum(harmless, mixed)),
    )
    with np.errstate(invalid="ignore"):  # 0/0
        shares = [(weights @ part) / (weights @ total) for part, total in ratios]
    frames = [pd.DataFrame(share, columns=of_mixed.columns) for share in shares]
    return dict(zip(RETENTION, frames, strict=True))


class TrioMetrics(NamedTuple):
    """What one trio gets right, for every row of the weights."""

    parts: dict[Part, pd.DataFrame]  # `suite_metrics`
    tasks: pd.DataFrame  # `over_tasks`
    hh: pd.DataFrame  # `hh_metrics`


def trio_metrics(items: pd.DataFrame, weights: Weights, test_files: TestFiles) -> TrioMetrics:
    """Return the metrics of `outcomes.outcomes`; `weights` is of `bootstrap.draw_items`."""
    parts = suite_metrics(items, weights)
    return TrioMetrics(parts, over_tasks(parts), hh_metrics(items, weights, test_files))


def suite_metrics(items: pd.DataFrame, weights: Weights) -> dict[Part, pd.DataFrame]:
    """Return `metrics` of each subset of the suites, from `outcomes.outcomes` and `draw_items`."""
    correct = _by_condition(items[items["dataset"].isin(BENCHMARKS)])
    return {
        (str(dataset), str(subset)): metrics(*_complete(part, weights))
        for (dataset, subset), part in correct.groupby(level=PART, sort=False)
    }


def hh_metrics(items: pd.DataFrame, weights: Weights, test_files: TestFiles) -> pd.DataFrame:
    """Return the accuracy (%) on test files of preference pairs; columns subset and CONDITION.

    The subset is a file of the objective, or OWN for all of its files, whose pairs are pooled.
    """
    correct = _by_condition(items[~items["dataset"].isin(BENCHMARKS)])
    subset = correct.index.get_level_values("subset")
    frames = []
    for objective, files in test_files.items():
        for name, pooled in [*((file, (file,)) for file in files), (OWN, files)]:
            part = correct.loc[subset.isin(pooled), [objective]]
            frames.append(pd.concat({name: accuracy(*_complete(part, weights))}, axis=1))
    return pd.concat(frames, axis=1).rename_axis(columns=["subset", *CONDITION])


def _by_condition(items: pd.DataFrame) -> pd.DataFrame:
    """Return whether each item is right; index dataset, subset, item, and columns CONDITION."""
    texts = items.astype(dict.fromkeys([*PART, "objective", "kind"], "str"))
    return texts.pivot(index=[*PART, "item"], columns=CONDITION, values="correct")


def _complete(part: pd.DataFrame, weights: Weights) -> tuple[pd.DataFrame, Weights]:
    """Return the conditions that a subset is scored under, 1 or 0, and the weights of its items."""
    prompts = part.index.get_level_values("item") // STYLES
    return part.dropna(axis=1, how="all").astype(np.float64), weights[:, prompts]


def over_tasks(parts: Mapping[Part, pd.DataFrame]) -> pd.DataFrame:
    """Return the mean over the subsets of each task; columns task and those of the parts.

    A task of which a subset is absent is absent; the mean is NaN where a subset's value is.
    """
    frames = {}
    for task in TASKS:
        subsets = [parts.get((subset.suite, subset.name)) for subset in task.subsets]
        known = [frame for frame in subsets if frame is not None]
        if len(known) == len(subsets):
            frames[task.key] = sum(known[1:], start=known[0]) / len(known)
    return pd.concat(frames, axis=1, names=["task"])


def changes(accuracies: pd.DataFrame) -> pd.DataFrame:
    """Return what ablation adds to accuracy, in points, from columns that end with CONDITION."""
    unablated = (NONE.kind, NONE.percent)
    baseline = accuracies.xs(unablated, axis=1, level=("kind", "percent"))
    ablated = accuracies.loc[:, accuracies.columns.get_level_values("kind") != NONE.kind]
    models = pd.MultiIndex.from_tuples(map(tuple, ablated.columns)).droplevel([-2, -1])
    return ablated - baseline[models].to_numpy()


def counts(items: pd.DataFrame) -> pd.DataFrame:
    """Return columns CONDITION, dataset, subset, items, correct, ties, of `outcomes.outcomes`."""
    found = items.groupby([*CONDITION, *PART], observed=True).agg(**COUNTS).reset_index()
    return found.astype(dict.fromkeys([*PART, "objective", "kind"], "str"))


def accuracy_table(tasks: pd.DataFrame, sizes: pd.DataFrame) -> pd.DataFrame:
    """Return columns CONDITION, task, items, correct, ties, accuracy (%).

    `accuracy` is of `over_tasks`; the others are sums of `counts` over the task's subsets.
    """
    subsets = [(task.key, *part) for part, task in TASK_OF.items()]
    of_tasks = pd.DataFrame(subsets, columns=["task", *PART]).merge(sizes, on=PART)
    keys = [*CONDITION, "task"]
    sums = of_tasks.groupby(keys)[list(COUNTS)].sum()
    table = _estimate(pd.DataFrame(tasks.xs("accuracy", axis=1, level="measure")), "accuracy")
    return table.join(sums, on=keys)[[*keys, *COUNTS, "accuracy"]]


def hh_table(hh: pd.DataFrame, sizes: pd.DataFrame) -> pd.DataFrame:
    """Return columns CONDITION, subset, items, correct, ties, accuracy (%), of `hh_metrics`."""
    keys = [*CONDITION, "subset"]
    files = sizes[~sizes["dataset"].isin(BENCHMARKS)]
    own = files.groupby(CONDITION)[list(COUNTS)].sum().reset_index().assign(subset=OWN)
    table = pd.concat([files, own]).sort_values(keys)[[*keys, *COUNTS]]
    return table.join(_estimate(hh, "accuracy").set_index(keys), on=keys)


def retention_table(tasks: pd.DataFrame) -> pd.DataFrame:
    """Return columns kind, percent, task, RETENTION, retention_as_published, of `over_tasks`."""
    measures = [*RETENTION, "retention_as_published"]
    columns = {
        name: tasks.iloc[0].xs((name, "mixed"), level=("measure", "objective")) for name in measures
    }
    return pd.DataFrame(columns).reset_index()[["kind", "percent", "task", *measures]]


def _estimate(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return row 0 as a column of that name, behind the levels of the frame's columns."""
    return frame.iloc[0].rename(name).reset_index()
