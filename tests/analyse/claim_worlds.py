"""Evidence made by hand: a world in which every claim holds, and worlds in which one part fails.

failures.csv has a row for each part of each claim: which columns of the evidence are changed, `*`
for any, and what is added to them (`by`) or what their estimate becomes (`to`). `parts` names
tasks, sets of tasks of `task_sets`, with " - " one without another, or backbones.
"""

import csv
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from rm_tension.analyse import task_sets
from rm_tension.analyse.bootstrap import DRAWN, ESTIMATE
from rm_tension.analyse.published import published_evidence, read_published

HERE = Path(__file__).parent
PUBLISHED = published_evidence(read_published(HERE.parents[1] / "reference/published.csv"))
OBJECTIVES = ("helpful", "harmless", "mixed")
ACTIVE = ("gpt2-small", "smollm2-135m")  # the backbones beside gpt2-large
DROPS = {"magnitude": 8, "change": 3, "random": 0}
TASKS = vars(task_sets) | task_sets.KEYS


def claimed():
    """What the paper claims where reference/ has no numbers, by column of the evidence."""
    values = {}
    for objective in ("helpful", "harmless"):
        for name in ("mean_abs", "mean_abs_chosen", "mean_abs_rejected", "std", "margin"):
            values[f"log_{name}", objective, "retained", "", 0] = -0.2
            values[f"log_{name}", objective, "ablation", "", 0] = -0.3
    for objective in OBJECTIVES:
        values["rmsd", objective, "", "", 0] = 0.01
        values["late_excess", objective, "", "pooled", 0] = 0.2
        values["backbone_overlap", objective, "", "", 0] = 0.7
    for (kind, drop), percent in product(DROPS.items(), (10, 30)):
        values |= {("hh_delta", objective, kind, "", percent): -drop for objective in OBJECTIVES}
        values |= {("hh_delta", "", kind, backbone, percent): -drop for backbone in ACTIVE}
        values["hh_delta", "", kind, "gpt2-large", percent] = -drop / 8
    return values | {("late_excess", "", "", backbone, 0): -0.1 for backbone in ACTIVE}


@cache
def world(noise=0.001, rows=101):
    """What the paper says as if it were ours, with a little noise in every resample."""
    values = {**PUBLISHED.iloc[0], **claimed()}
    resamples = np.random.default_rng(0).normal(0, noise, (rows, len(values)))
    resamples[0] = 0
    labels = [(ESTIMATE, "", 0), *((DRAWN, "", number) for number in range(1, rows))]
    return pd.DataFrame(
        resamples + list(values.values()),
        index=pd.MultiIndex.from_tuples(labels),
        columns=pd.MultiIndex.from_tuples(values),
    )


class Failure(NamedTuple):
    claim: str
    part: str
    measure: str
    objective: str
    kind: str
    parts: str
    percent: str
    by: str
    to: str

    def __call__(self, frame):
        """The world in which this part fails."""
        wanted = [{self.measure}, _names(self.objective), _names(self.kind), _tasks(self.parts)]
        wanted.append(_names(self.percent) and {int(self.percent)})
        hit = [
            all(names is None or name in names for name, names in zip(column, wanted, strict=True))
            for column in frame.columns
        ]
        values = frame.to_numpy(copy=True)
        values[:, hit] += float(self.by) if self.by else float(self.to) - values[0, hit]
        return pd.DataFrame(values, frame.index, frame.columns)


def _names(text):
    return None if text == "*" else set(text.split(" "))


def _tasks(text):
    first, _, without = text.partition(" - ")
    if first in TASKS:
        return set(TASKS[first]) - set(TASKS.get(without, [without]))
    return _names(text)


with (HERE / "failures.csv").open(encoding="utf-8") as file:
    FAILURES = [Failure(*row) for row in list(csv.reader(file))[1:]]
# What a profile lacks to which the claim is not applicable.
NEEDS = {
    "accuracy": ("C1", "C2", "C12"),
    "retention": ("C3", "C13"),
    "mixed_vs_helpful": ("C14",),
    "log_margin": ("C4", "C11"),
    "rmsd": ("C5",),
    "hh_delta": ("C6", "C15", "C21"),
    "late_excess": ("C7",),
    "delta": ("C8", "C10", "C16", "C17", "C18", "C19"),
    "jaccard": ("C9",),
    "backbone_overlap": ("C20",),
}
