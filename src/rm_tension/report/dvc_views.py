"""The report's averages for `dvc metrics` and `dvc plots`: metrics.json and plots/*.csv."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from rm_tension.analyse.means import CURVES
from rm_tension.analyse.tally import tally
from rm_tension.analyse.verdicts import DecidedClaim
from rm_tension.base.config import ROLES
from rm_tension.base.files import write_json
from rm_tension.paper.tasks import GROUPS
from rm_tension.report.source import Source


def write_dvc_views(source: Source, folder: Path) -> None:
    """Write metrics.json and plots/{loss,ablation,accuracy}.csv below `folder`."""
    write_json(folder / "metrics.json", metrics(source))
    plots = {"loss": loss, "ablation": ablation, "accuracy": accuracy}
    (folder / "plots").mkdir()
    for name, make in plots.items():
        path = folder / "plots" / f"{name}.csv"
        make(source).to_csv(path, index=False, float_format="%.4f")


def metrics(source: Source) -> dict[str, Any]:
    """Return averages over backbones and seeds, the verdicts, and how many parts of claims hold."""
    groups, hh = _group_accuracy(source), _hh_accuracy(source)
    retained = source.means("retention", measure="retention", backbone="average")["mean"]
    claims = source.record("claims", list[DecidedClaim])
    return {
        "accuracy": {
            group: _rounded(groups.xs(group, level="task"), 2)
            for group in GROUPS
            if group in groups.index.get_level_values("task")
        },
        "retention": _rounded(retained.reindex(GROUPS), 4),
        "hh_accuracy": _rounded(hh.xs(("none", 0)).reindex(ROLES), 2),
        "claims": {claim.id: claim.verdict for claim in claims},
        "parts": asdict(tally(claims)),
    }


def loss(source: Source) -> pd.DataFrame:
    """Return the mean training loss of all RMs of an objective of the paper.

    Columns progress (%), helpful, harmless, mixed.
    """
    curves = source.table("means/training_curves", *CURVES).query("backbone == 'average'")
    wide = curves.pivot(index="progress", columns="objective", values="loss")
    return wide.reindex(columns=ROLES).reset_index()


def ablation(source: Source) -> pd.DataFrame:
    """Return HH-RLHF accuracy (%) by percent of neurons ablated by magnitude; columns as `loss`."""
    wide = _hh_accuracy(source).unstack("objective")
    curve = wide[wide.index.isin(["none", "magnitude"], level="kind")].droplevel("kind")
    return curve.sort_index().reset_index()


def accuracy(source: Source) -> pd.DataFrame:
    """Return a bar for each group of tasks and objective: columns models, accuracy (%)."""
    groups = _group_accuracy(source)
    names = [f"{group}, {source.papers[objective]}" for objective, group in groups.index]
    return pd.DataFrame({"models": names, "accuracy": groups.to_numpy()}).sort_values("models")


def _rounded(values: pd.Series, digits: int) -> dict[str, float]:
    """Return the known values as Python floats, because JSON does not know numpy's."""
    known = values.dropna().astype(float)
    return {str(key): round(float(value), digits) for key, value in known.items()}


def _hh_accuracy(source: Source) -> pd.Series:
    """Return accuracy (%) on the RMs' own HH-RLHF test sets, mean of backbones."""
    levels = ("kind", "percent", "objective")
    means = source.means("hh_accuracy", *levels, backbone="average", subset="own")
    return _of_paper(means["mean"]).sort_index()


def _group_accuracy(source: Source) -> pd.Series:
    """Return accuracy (%) by objective and group, mean of backbones."""
    means = source.means("accuracy", backbone="average")["mean"]
    return _of_paper(means[means.index.get_level_values("task").isin(GROUPS)])


def _of_paper(means: pd.Series) -> pd.Series:
    return means[means.index.get_level_values("objective").isin(ROLES)]
