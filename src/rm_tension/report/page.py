"""What the page says of each number so that its script can filter and switch."""

import math
from collections.abc import Sequence

from rm_tension.paper.tasks import GROUPS
from rm_tension.report.item import Item
from rm_tension.report.table import Cell, Table
from rm_tension.report.tables import GROUP_LABELS, OBJECTIVES, task_columns

AXES = ("backbone", "objective", "task")


def axes(table: Table, key: Sequence[str], first: int = 0) -> dict[str, str]:
    """Return `data-backbone` and the like of a row's key, or with `first` = -1 of a column's."""
    names = table.cells.index.names[first:]
    return {f"data-{name}": value for name, value in zip(names, key, strict=False) if name in AXES}


def choices(items: Sequence[Item]) -> dict[str, dict[str, dict[str, str]]]:
    """Return what each axis can be filtered by: labels by key, under the heading of their group."""
    backbones: dict[str, str] = {}
    for table in items:
        if isinstance(table, Table) and table.cells.index.names[-1] == "backbone":
            backbones |= table.columns
    return {
        "backbone": {"": backbones},
        "objective": {"": OBJECTIVES},
        "task": {GROUP_LABELS[group]: task_columns(group) for group in GROUPS},
    }


def plain(cell: Cell, digits: int) -> str:
    """Return a number as plain text, e.g. `81.0* ± 1.2`."""
    if math.isnan(cell.value):
        return "–"
    spread = "" if math.isnan(cell.spread) else f" ± {cell.spread:.{digits}f}"
    return f"{cell.text(digits)}{'*' if cell.partial else ''}{spread}"
