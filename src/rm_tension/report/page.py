"""What the page says of each number so that a script can filter by it and switch what is shown."""

import math
from collections.abc import Sequence

from rm_tension.paper.tasks import GROUPS
from rm_tension.report.item import Item
from rm_tension.report.table import Cell, Table
from rm_tension.report.tables import GROUP_LABELS, OBJECTIVES, task_columns

AXES = ("backbone", "objective", "task")


def axes(table: Table, key: Sequence[str], first: int = 0) -> dict[str, str]:
    """`data-backbone` and the like for a row's key, or with `first` = -1 for a column's."""
    names = table.cells.index.names[first:]
    return {f"data-{name}": value for name, value in zip(names, key, strict=False) if name in AXES}


def choices(tables: Sequence[Item]) -> dict[str, dict[str, dict[str, str]]]:
    """What each axis can be filtered by: labels by key, under the heading of their group."""
    numbers = [table for table in tables if isinstance(table, Table)]
    backbones = [table.columns for table in numbers if table.cells.index.names[-1] == "backbone"]
    return {
        "backbone": {"": {key: label for columns in backbones for key, label in columns.items()}},
        "objective": {"": OBJECTIVES},
        "task": {GROUP_LABELS[group]: task_columns(group) for group in GROUPS},
    }


def words(cell: Cell, digits: int) -> str:
    """A number as plain text, e.g. `81.0* ± 1.2`."""
    if math.isnan(cell.value):
        return "–"
    spread = "" if math.isnan(cell.spread) else f" ± {cell.spread:.{digits}f}"
    return f"{cell.text(digits)}{'*' if cell.partial else ''}{spread}"
