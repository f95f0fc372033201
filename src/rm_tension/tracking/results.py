"""The numbers that results/<P>/*.csv has on each reward model and each trio, as metrics."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from rm_tension.analyse.averages import with_groups

MODEL = ["backbone", "objective", "seed"]


class Point(NamedTuple):
    """One value of a metric. `step` is the training step, or the share of neurons ablated (%), else 0."""

    key: str
    value: float
    step: int = 0


Points = Iterator[tuple[str, Point]]


def read_results(folder: Path, problems: list[str]) -> dict[str, list[Point]]:
    """By model, train-gpt2-small-helpful-0, and by trio, trio-gpt2-small-0; nothing before `analyse` has run.

    What cannot be read is named in `problems` and left out.
    """
    found: dict[str, list[Point]] = defaultdict(list)
    for name, points in TABLES.items() if folder.is_dir() else ():
        path = folder / f"{name}.csv"
        try:
            for run, point in points(pd.read_csv(path)):
                found[run].append(point)
        except (OSError, ValueError, KeyError, TypeError) as error:  # no column, no numbers
            problems.append(
                f"{path}: cannot be read: {error}; `dvc checkout {folder}` or run `analyse` again"
            )
    return found


def _accuracy(table: pd.DataFrame) -> Points:
    yield from _points("accuracy/{task}", _whole(table), "accuracy")


def _group_accuracy(table: pd.DataFrame) -> Points:
    whole = _whole(table)
    yield from _points("group/{group}", whole, "accuracy")
    changes = _ablated(table).merge(whole, on=[*MODEL, "group"], suffixes=("", "_whole"))
    changes["change"] = changes["accuracy"] - changes["accuracy_whole"]
    yield from _points("ablation_change/{kind}-{percent}/{group}", changes, "change")


def _hh_accuracy(table: pd.DataFrame) -> Points:
    yield from _points("hh/{subset}", _whole(table), "accuracy")
    own = table[table["subset"] == "own"]
    for score, curve in own[~own["kind"].isin(["none", "all"])].groupby("kind", sort=False):
        yield from _points(
            f"ablation/{score}", pd.concat([_whole(own), curve]), "accuracy", step="percent"
        )


def _retention(table: pd.DataFrame) -> Points:
    table = with_groups(
        table[["backbone", "seed", "kind", "percent", "task", "retention"]], "retention"
    )
    yield from _points("retention/{task}", _whole(table), "retention")
    groups = table[table["task"].isin(["helpfulness", "harmlessness"])]
    yield from _points("retention_after/{kind}-{percent}/{task}", _ablated(groups), "retention")


TABLES = {
    "accuracy": _accuracy,
    "group_accuracy": _group_accuracy,
    "hh_accuracy": _hh_accuracy,
    "retention": _retention,
}


def _whole(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["kind"] == "none"]


def _ablated(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["kind"] != "none"]


def _points(metric: str, table: pd.DataFrame, value: str, step: str | None = None) -> Points:
    """Of each row that has a value; the metric's name takes the row's cells."""
    run = (
        "train-{backbone}-{objective}-{seed}" if "objective" in table else "trio-{backbone}-{seed}"
    )
    for row in table.dropna(subset=[value]).to_dict("records"):
        cells = {str(column): cell for column, cell in row.items()}
        yield (
            run.format(**cells),
            Point(metric.format(**cells), float(cells[value]), int(cells[step]) if step else 0),
        )
