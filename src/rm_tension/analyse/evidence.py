"""The statistics that claims are decided on, as frames of bootstrap replicates.

Columns are (measure, objective, kind, part, percent), of which those that a measure has not are
empty or 0. Measures of rewards:

- accuracy (%), delta (its change in points), retention, mixed_vs_helpful and mixed_vs_harmless
  (fractions); the part is a task, and what is ablated is at the percent of the tasks;
- hh_delta (points of accuracy on the HH-RLHF test set), the one measure with a percent; the
  objective "" is the mean of the paper's three, and its part a backbone, or "" for the mean of all;
- log_mean_abs, log_mean_abs_chosen, log_mean_abs_rejected, log_std, log_margin: logarithms of
  ratios of rewards (`score_shift.log_ratios`).

Beside each draw of a control (`backbone/1`), its name has the mean of the draws.

`neurons.neuron_evidence` has those of neurons, `published.published_evidence` the paper's numbers.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from rm_tension.analyse.bootstrap import Replicates
from rm_tension.analyse.metrics import OWN, RETENTION, changes
from rm_tension.base.config import ROLES
from rm_tension.base.grid import Trio
from rm_tension.evaluate.conditions import NONE
from rm_tension.evaluate.controls import control_of

Column = tuple[str, str, str, str, int]


def trio_evidence(tasks: pd.DataFrame, hh: pd.DataFrame, percent: int) -> pd.DataFrame:
    """Return the measures of one trio that are made of right items, [1 + resamples, columns].

    From `metrics.over_tasks` and `metrics.hh_metrics`; what is ablated on the tasks is at
    `percent`.
    """
    columns: dict[Column, pd.Series] = {}
    for (task, measure, objective, kind, _), values in _columns(tasks):
        if measure in ("accuracy", *RETENTION) and kind == NONE.kind:
            columns[measure, objective, kind, task, 0] = values
    accuracies = pd.DataFrame(tasks.xs("accuracy", axis=1, level="measure"))
    for (task, objective, kind, at), values in _columns(changes(accuracies)):
        if at == percent:
            columns["delta", objective, kind, task, 0] = values
    drops = changes(pd.DataFrame(hh[OWN]))
    for (objective, kind, at), values in _columns(drops):
        columns["hh_delta", objective, kind, "", at] = values
    objectives = [name for name in drops.columns.unique("objective") if name in ROLES]
    total = sum((drops[name] for name in objectives[1:]), start=pd.DataFrame(drops[objectives[0]]))
    for (kind, at), values in _columns(pd.DataFrame(total / len(objectives))):
        columns["hh_delta", "", kind, "", at] = values
    return pd.DataFrame(columns | _means_of_draws(columns))


def _means_of_draws(columns: Mapping[Column, pd.Series]) -> dict[Column, pd.Series]:
    """Return the mean over the draws of each control, under its name."""
    draws: dict[Column, list[pd.Series]] = {}
    for (measure, objective, kind, part, at), values in columns.items():
        name, draw = control_of(kind)
        if draw:
            draws.setdefault((measure, objective, name, part, at), []).append(values)
    return {column: pd.concat(own, axis=1).mean(axis=1) for column, own in draws.items()}


def _columns(frame: pd.DataFrame) -> Iterator[tuple[tuple[Any, ...], pd.Series]]:
    return (
        (tuple(frame.columns[place]), column) for place, (_, column) in enumerate(frame.items())
    )


def grid_evidence(frames: Mapping[Trio, pd.DataFrame], replicates: Replicates) -> pd.DataFrame:
    """Return the means of `trio_evidence` over the grid, and hh_delta of each backbone alone."""
    evidence = replicates.mean_of_trios(frames)
    of_all = [column for column in map(tuple, evidence.columns) if column[:2] == ("hh_delta", "")]
    columns: dict[Column, pd.Series] = {}
    for backbone in replicates.seeds:
        own = {trio: frame[of_all] for trio, frame in frames.items() if trio.backbone == backbone}
        means = replicates.of_backbone(backbone).mean_of_trios(own)
        for (measure, objective, kind, _, at), values in _columns(means):
            columns[measure, objective, kind, backbone, at] = values
    return evidence.join(pd.DataFrame(columns))
