"""The numbers that results/<P>/*.csv has on each reward model and each trio, as metrics."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from rm_tension.analyse.averages import with_groups
from rm_tension.base.errors import UserError

MODEL = ("backbone", "objective", "seed")
COLUMNS = {
    "accuracy": (*MODEL, "kind", "percent", "task", "accuracy"),
    "group_accuracy": (*MODEL, "kind", "percent", "group", "accuracy"),
    "hh_accuracy": (*MODEL, "kind", "percent", "subset", "accuracy"),
    "retention": ("backbone", "seed", "kind", "percent", "task", "retention"),
}


PLAIN = {"accuracy": "accuracy/{task}", "group_accuracy": "group/{group}", "hh_accuracy": "hh/{subset}"}


class Point(NamedTuple):
    """One value of a metric. `step` is the training step, or the share of neurons ablated (%), else 0."""

    key: str
    value: float
    step: int = 0


class Results:
    """The tables of one profile that have a row for every model or trio; empty before `analyse` has run.

    Raises UserError, which names the file, if a table is damaged.
    """

    def __init__(self, folder: Path) -> None:
        names = COLUMNS if folder.is_dir() else {}
        self._tables = {name: _read(folder / f"{name}.csv", list(COLUMNS[name])) for name in names}

    def of_model(self, backbone: str, objective: str, seed: int) -> list[Point]:
        """accuracy/<task>, group/<group>, hh/<file>, ablation/<score> over %, ablation_change/<kind>-<%>/<group>."""
        keys: dict[str, str | int] = {"backbone": backbone, "objective": objective, "seed": seed}
        points: list[Point] = []
        for name, key in PLAIN.items():
            points += _points(key, self._rows(name, **keys, kind="none"), "accuracy")
        groups = self._rows("group_accuracy", **keys)
        whole = groups[groups["kind"] == "none"].set_index("group")["accuracy"]
        ablated = groups[groups["kind"] != "none"]
        changes = ablated.assign(delta=ablated["accuracy"] - ablated["group"].map(whole))
        points += _points("ablation_change/{kind}-{percent}/{group}", changes, "delta")
        own = self._rows("hh_accuracy", **keys, subset="own")
        start = own[own["kind"] == "none"]
        for score, curve in own[~own["kind"].isin(["none", "all"])].groupby("kind", sort=False):
            from_start = pd.concat([start, curve]).sort_values("percent")
            percents, values = from_start["percent"].astype(int), from_start["accuracy"].astype(float)
            points += [Point(f"ablation/{score}", *point) for point in zip(values, percents, strict=True)]
        return points

    def of_trio(self, backbone: str, seed: int) -> list[Point]:
        """retention/<task or group>, and retention_after/<kind>-<%>/<group> with neurons ablated."""
        table = with_groups(self._rows("retention", backbone=backbone, seed=seed), "retention")
        whole = table["kind"] == "none"
        groups = table["task"].isin(["helpfulness", "harmlessness"])
        return [
            *_points("retention/{task}", table[whole], "retention"),
            *_points("retention_after/{kind}-{percent}/{task}", table[groups & ~whole], "retention"),
        ]

    def _rows(self, name: str, **values: str | int) -> pd.DataFrame:
        table = self._tables.get(name, pd.DataFrame(columns=list(COLUMNS[name])))
        for column, value in values.items():
            table = table[table[column] == value]
        return table


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    try:
        return pd.read_csv(path)[columns]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: {error}; `dvc checkout {path.parent}` or run `analyse` again") from error


def _points(key: str, table: pd.DataFrame, column: str) -> list[Point]:
    rows = table.dropna(subset=[column]).to_dict("records")
    return [Point(key.format(**{str(name): cell for name, cell in row.items()}), float(row[column])) for row in rows]
