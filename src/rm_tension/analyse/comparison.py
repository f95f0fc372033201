"""Our means beside the paper's: their difference, and how many cells of a table agree."""

import math

import numpy as np
import pandas as pd

from rm_tension.analyse.averages import Tables
from rm_tension.analyse.published import published_means
from rm_tension.paper.tasks import GROUPS, TASKS

ERRORS = 3  # standard errors, up to which a difference counts as agreement
FRACTION = 0.03  # three points of a quantity between 0 and 1
# Up to which a difference counts as agreement whatever the errors, by the file name of the means;
# None judges none.
POINTS: dict[str, float | None] = {
    "accuracy": 3.0,
    "hh_accuracy": 3.0,
    "retention": FRACTION,
    "retention_after_ablation": FRACTION,
    "ablation_magnitude": 3.0,
    "ablation_shared_sets": 3.0,
    "rmsd": None,
    "neuron_overlap": FRACTION,
}
PUBLISHED_CELL = ["paper", "paper_spread", "paper_error"]  # a published value beside ours
# Which of the means a table prints: their file name, and a query, in which `group` is that of a
# task or an average.
PRINTED = {
    "1": ("retention", "measure == 'retention' and backbone == 'average'"),
    "2": ("ablation_magnitude", "backbone == 'average' and group == 'helpfulness'"),
    "3": ("ablation_magnitude", "backbone == 'average' and group == 'harmlessness'"),
    "4": ("ablation_shared_sets", "task in @GROUPS"),
    "10": ("hh_accuracy", "subset == 'own'"),
    "11": ("retention", "measure == 'mixed_vs_harmless'"),
    "12": ("retention", "measure == 'mixed_vs_helpful'"),
    "13": ("accuracy", "group == 'helpfulness'"),
    "14": ("accuracy", "group == 'harmlessness'"),
    "15": ("retention", "measure == 'retention' and backbone != 'average'"),
    "16": ("rmsd", "backbone != 'average'"),
    "17": ("ablation_shared_sets", "group == 'harmlessness'"),
    "18": ("ablation_shared_sets", "group == 'helpfulness'"),
    "19": ("retention_after_ablation", "variant == 'corrected'"),
    "19b": ("retention_after_ablation", "variant == 'as_published'"),
    "20": ("ablation_magnitude", "backbone != 'average' and group == 'harmlessness'"),
    "21": ("ablation_magnitude", "backbone != 'average' and group == 'helpfulness'"),
    "S3": ("neuron_overlap", "variant == 'as_published'"),
}


def compared(means: Tables, published: pd.DataFrame) -> Tables:
    """Return `means_tables` with the published value beside each mean, and the table `agreement`.

    `published` is of `read_published`.
    """
    both = {
        name: beside(means[name], paper, POINTS[name])
        for name, paper in published_means(published).items()
    }
    return means | both | {"agreement": agreement(both)}


def beside(ours: pd.DataFrame, published: pd.DataFrame, points: float | None) -> pd.DataFrame:
    """Return `ours` with PUBLISHED_CELL, difference (ours - published) and beyond.

    Behind its rows stand those that only `published` has, which is indexed by the keys of `ours`,
    in any order. `beyond`: |difference| > max(points, 3 sqrt(error² + paper_error²)); an unknown
    error counts as 0. The one mechanism by which a published value gets to stand beside ours.
    """
    keys = [str(name) for name in ours if name in published.index.names]
    paper = published.reorder_levels(keys)[["mean", "spread", "error"]]
    paper = paper.set_axis(PUBLISHED_CELL, axis=1)
    ours = ours.set_index(keys)
    index = ours.index.union(paper.index, sort=False)
    cells = pd.concat([ours.reindex(index), paper.reindex(index)], axis=1)
    difference = cells["mean"] - cells["paper"]
    error = np.sqrt((cells[["error", "paper_error"]].astype(float).fillna(0) ** 2).sum(axis=1))
    tolerance = (ERRORS * error).clip(lower=math.inf if points is None else points)
    rounding = 1e-7  # of ten digits, and 53.0 - 50.0 agrees within 3 however the two came about
    beyond = difference.abs() > tolerance + rounding
    return cells.assign(difference=difference, beyond=beyond).reset_index()


def agreement(both: Tables) -> pd.DataFrame:
    """Return how many cells agree, of those that have a value on both sides, by published table.

    Columns table, cells, agreeing, share (%), difference (mean size), from `beside` by file name.
    `agreeing` and `share` are NaN where a table's scale has no three points.
    """
    group_of = {task.key: task.group for task in TASKS} | {group: group for group in GROUPS}
    rows = []
    for number, (name, which) in PRINTED.items():
        frame = both[name]
        if "task" in frame:
            frame = frame.assign(group=frame["task"].map(group_of))
        cells = frame.query(which).dropna(subset=["difference"])
        if len(cells):
            agreeing = math.nan if POINTS[name] is None else len(cells) - cells["beyond"].sum()
            share = 100 * agreeing / len(cells)
            rows.append((number, len(cells), agreeing, share, cells["difference"].abs().mean()))
    return pd.DataFrame(rows, columns=["table", "cells", "agreeing", "share", "difference"])
