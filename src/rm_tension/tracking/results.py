"""The numbers that results/<P>/*.csv has on each reward model and each trio, as metrics."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from rm_tension.analyse.averages import with_groups
from rm_tension.base.errors import UserError


class Point(NamedTuple):
    """One value of a metric. `step` is the training step, or the share of neurons ablated (%), else 0."""

    key: str
    value: float
    step: int = 0


@dataclass(frozen=True)
class Results:
    """The tables of one profile that have a row for every model or trio; empty before `analyse`."""

    accuracy: pd.DataFrame
    group_accuracy: pd.DataFrame
    hh_accuracy: pd.DataFrame
    ablation_magnitude: pd.DataFrame
    retention: pd.DataFrame

    def of_model(self, backbone: str, objective: str, seed: int) -> list[Point]:
        """accuracy/<task>, group/<group>, hh/<data set>, ablation/<score> over %, ablation_change/<kind>-<%>/<...>."""
        keys = {"backbone": backbone, "objective": objective, "seed": seed}
        tasks, groups = _rows(self.accuracy, **keys), _rows(self.group_accuracy, **keys)
        hh = _rows(self.hh_accuracy, **keys)
        points = _points("accuracy/{task}", _rows(tasks, kind="none"), "accuracy")
        points += _points("group/{group}", _rows(groups, kind="none"), "accuracy")
        points += _points("hh/{subset}", _rows(hh, kind="none"), "accuracy")
        points += _curves(_rows(hh, subset="own"))
        changes = _rows(self.ablation_magnitude, **keys)
        points += _points("ablation_change/magnitude-{percent}/{task}", changes, "delta")
        whole = groups[groups["kind"] == "none"].set_index("group")["accuracy"]
        ablated = groups[groups["kind"] != "none"]
        delta = ablated["accuracy"] - ablated["group"].map(whole)
        points += _points("ablation_change/{kind}-{percent}/{group}", ablated.assign(delta=delta), "delta")
        return points

    def of_trio(self, backbone: str, seed: int) -> list[Point]:
        """retention/<task or group>, and retention_after/<kind>-<%>/<group> with neurons ablated."""
        columns = ["kind", "percent", "task", "retention"]
        table = with_groups(_rows(self.retention, backbone=backbone, seed=seed)[columns], "retention")
        whole, groups = _rows(table, kind="none"), table[table["task"].isin(["helpfulness", "harmlessness"])]
        ablated = groups[groups["kind"] != "none"]
        return [
            *_points("retention/{task}", whole, "retention"),
            *_points("retention_after/{kind}-{percent}/{task}", ablated, "retention"),
        ]


def read_results(folder: Path) -> Results | None:
    """None before `analyse` has run; raises UserError, which names the file, if a table is damaged."""
    if not folder.is_dir():
        return None
    return Results(**{name: _read(folder / f"{name}.csv", columns) for name, columns in COLUMNS.items()})


MODEL = ("backbone", "objective", "seed")
COLUMNS = {
    "accuracy": (*MODEL, "kind", "percent", "task", "accuracy"),
    "group_accuracy": (*MODEL, "kind", "percent", "group", "accuracy"),
    "hh_accuracy": (*MODEL, "kind", "percent", "subset", "accuracy"),
    "ablation_magnitude": (*MODEL, "percent", "task", "delta"),
    "retention": ("backbone", "seed", "kind", "percent", "task", "retention"),
}


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        return pd.read_csv(path)[list(columns)]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: {error}; `dvc checkout {path.parent}` or run `analyse` again") from error


def _rows(table: pd.DataFrame, **values: Any) -> pd.DataFrame:
    for column, value in values.items():
        table = table[table[column] == value]
    return table


def _points(key: str, table: pd.DataFrame, column: str) -> list[Point]:
    rows = table.dropna(subset=[column]).to_dict("records")
    return [Point(key.format(**{str(name): cell for name, cell in row.items()}), float(row[column])) for row in rows]


def _curves(hh: pd.DataFrame) -> list[Point]:
    """HH test accuracy by the share of neurons ablated: each score's curve begins with the whole model at 0%."""
    whole, ablated = hh[hh["kind"] == "none"]["accuracy"], hh[~hh["kind"].isin(["none", "all"])]
    rows = zip(ablated["kind"], ablated["accuracy"], ablated["percent"], strict=True)
    curves = [Point(f"ablation/{score}", accuracy, int(percent)) for score, accuracy, percent in rows]
    starts = [Point(key, float(whole.iloc[0])) for key in dict.fromkeys(point.key for point in curves)]
    return sorted([*starts, *curves], key=lambda point: (point.key, point.step))
