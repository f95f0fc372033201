"""The report's averages as `dvc metrics` and `dvc plots` read them: metrics.json and wide CSVs, one column a line."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from rm_tension.analyse.means import CURVES
from rm_tension.analyse.tally import tally
from rm_tension.analyse.verdicts import DecidedClaim
from rm_tension.base.files import write_json
from rm_tension.paper.tasks import GROUPS
from rm_tension.report.source import Source
from rm_tension.report.tables import OBJECTIVES


def write_dvc_views(source: Source, folder: Path) -> None:
    """metrics.json and plots/{loss,ablation,accuracy}.csv below `folder`."""
    write_json(folder / "metrics.json", metrics(source))
    (folder / "plots").mkdir()
    for name, table in {
        "loss": loss(source),
        "ablation": ablation(source),
        "accuracy": accuracy(source),
    }.items():
        table.to_csv(folder / "plots" / f"{name}.csv", index=False, float_format="%.4f")


def metrics(source: Source) -> dict[str, Any]:
    """Averages over backbones and seeds, the verdicts, and how many parts of claims hold."""
    # astype: where all numbers of a CSV are whole, they are read as integers of numpy's, which JSON does not know
    retained = source.means("retention", measure="retention", backbone="average")["mean"].astype(
        float
    )
    hh = source.means("hh_accuracy", backbone="average", kind="none", percent=0, subset="own")[
        "mean"
    ].astype(float)
    groups = _group_accuracy(source)
    claims = source.record("claims", list[DecidedClaim])
    return {
        "accuracy": {
            group: {
                objective: round(value, 2)
                for objective, value in groups.xs(group, level="task").items()
            }
            for group in GROUPS
            if group in groups.index.get_level_values("task")
        },
        "retention": {
            group: round(retained[group], 4) for group in GROUPS if group in retained.index
        },
        "hh_accuracy": {
            objective: round(hh[objective], 2) for objective in OBJECTIVES if objective in hh.index
        },
        "claims": {claim.id: claim.verdict for claim in claims},
        "parts": asdict(tally(claims)),
    }


def loss(source: Source) -> pd.DataFrame:
    """Mean training loss of all RMs of an objective: columns progress (%), helpful, harmless, mixed."""
    curves = source.table("means/training_curves", *CURVES).query("backbone == 'average'")
    wide = curves.pivot(index="progress", columns="objective", values="loss")
    return wide.reindex(columns=list(OBJECTIVES)).reset_index()


def ablation(source: Source) -> pd.DataFrame:
    """HH-RLHF accuracy of an objective's RMs (%) by share of neurons ablated by magnitude (%), columns as in `loss`."""
    own = source.means("hh_accuracy", backbone="average", subset="own")["mean"].unstack("objective")
    curve = own[own.index.isin(["none", "magnitude"], level="kind")].droplevel("kind").sort_index()
    return curve.reset_index()


def accuracy(source: Source) -> pd.DataFrame:
    """A bar for each group of tasks and objective: columns models, accuracy (%)."""
    groups = _group_accuracy(source)
    names = [f"{group}, {OBJECTIVES[objective]}" for objective, group in groups.index]
    return pd.DataFrame({"models": names, "accuracy": groups.to_numpy()}).sort_values("models")


def _group_accuracy(source: Source) -> pd.Series:
    means = source.means("accuracy", backbone="average")["mean"].astype(float)
    return means[means.index.get_level_values("task").isin(GROUPS)]
