"""A table of the paper as data: what its rows and columns are, ours and the published value of each cell."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple

import pandas as pd

from rm_tension.analysis.averages import is_partial

CELL = ["mean", "spread", "partial", "paper", "paper_spread"]


class Row(NamedTuple):
    """`key` are the index values of the row's cells, without the column's; `change` marks points, shaded by sign.

    `paper` labels the line of published values below the row.
    """

    key: tuple[str, ...]
    label: str
    change: bool = False
    paper: str = "paper"


class Section(NamedTuple):
    """Rows under a common heading."""

    label: str
    rows: list[Row]


@dataclass(frozen=True)
class Table:
    """`cells` is indexed by the rows' keys and then the column's, with the columns CELL (see `beside`).

    `columns` maps keys to labels. The published values stand in a line below each row, or in a column after each one.
    """

    number: int
    title: str
    cells: pd.DataFrame
    sections: list[Section]
    columns: dict[str, str]
    published: Literal["row", "column"] = "row"
    digits: int = 1

    @property
    def name(self) -> str:
        return f"table_{self.number:02}"


class Cell(NamedTuple):
    """One number as it is shown; `value` is NaN where it is missing."""

    value: float
    spread: float
    kind: Literal["ours", "paper"]
    change: bool = False
    partial: bool = False


class Line(NamedTuple):
    """One printed line."""

    label: str
    kind: Literal["ours", "paper"]
    cells: list[Cell]


def beside(ours: pd.DataFrame, published: pd.DataFrame | None, levels: list[str]) -> pd.DataFrame:
    """Cells from two frames of `averages` (mean, spread, tasks), indexed by `levels`, of which one is `task` or none.

    The one mechanism by which a published value gets to stand beside ours; either may be missing.
    """
    cells = ours.reset_index().set_index(levels)
    tasks = cells.index.get_level_values("task") if "task" in levels else [""] * len(cells)
    cells["partial"] = [bool(task) and is_partial(task, n) for task, n in zip(tasks, cells["tasks"], strict=True)]
    if published is None:
        return cells.assign(paper=math.nan, paper_spread=math.nan)[CELL]
    theirs = published.reset_index().set_index(levels)[["mean", "spread"]].set_axis(["paper", "paper_spread"], axis=1)
    return cells.join(theirs, how="outer")[CELL].fillna({"partial": False})


def has_paper(table: Table) -> bool:
    """Whether any cell has a published value."""
    return bool(table.cells["paper"].notna().any())


def has_partial(table: Table) -> bool:
    """Whether any cell averages fewer tasks than its group has."""
    return bool(table.cells["partial"].any())


def header(table: Table) -> list[tuple[str, int]]:
    """The columns' labels and how many printed columns each spans: two where the published one stands beside ours."""
    span = 2 if table.published == "column" and has_paper(table) else 1
    return [(label, span) for label in table.columns.values()]


def sections(table: Table) -> list[tuple[str, list[Line]]]:
    """The printed lines of each section."""
    cells = {key: dict(zip(CELL, values, strict=True)) for key, *values in table.cells.itertuples(name=None)}
    return [
        (part.label, list(chain.from_iterable(_lines(table, row, cells) for row in part.rows)))
        for part in table.sections
    ]


def _lines(table: Table, row: Row, cells: dict[tuple[str, ...], dict[str, float]]) -> Iterator[Line]:
    found = [cells.get((*row.key, column), dict.fromkeys(CELL, math.nan)) for column in table.columns]
    ours = [Cell(cell["mean"], cell["spread"], "ours", row.change, cell["partial"] is True) for cell in found]
    paper = [Cell(cell["paper"], cell["paper_spread"], "paper", row.change) for cell in found]
    if table.published == "column" and has_paper(table):
        yield Line(row.label, "ours", list(chain.from_iterable(zip(ours, paper, strict=True))))
        return
    yield Line(row.label, "ours", ours)
    if not all(math.isnan(cell.value) for cell in paper):
        yield Line(row.paper, "paper", paper)
