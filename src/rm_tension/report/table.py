"""Tables as data: what their rows and columns are, and what stands in each cell."""

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, Literal, NamedTuple

import pandas as pd

from rm_tension.analyse.averages import is_partial
from rm_tension.report.item import Item

PAPER = {"paper": math.nan, "paper_spread": math.nan, "difference": math.nan, "beyond": False}

Kind = Literal["ours", "paper", "difference"]


class Row(NamedTuple):
    """`key` are the index values of the row's cells, without the column's; `change` marks points, shaded by sign.

    `paper` labels the line of published values below the row.
    """

    key: tuple[str | int, ...]
    label: str
    change: bool = False
    paper: str = "paper"


class Section(NamedTuple):
    """Rows under a common heading."""

    label: str
    rows: list[Row]


@dataclass(frozen=True)
class TextTable(Item):
    """A table of words; `align` has a LaTeX column type for each column, where X shares the width that is left."""

    kind: ClassVar[str] = "Table"
    columns: list[str]
    rows: list[list[str]]
    align: str


@dataclass(frozen=True)
class Table(Item):
    """A table of numbers. `cells`, of `Source.means` or `.compared`, is indexed by the rows' keys, then the column's.

    `columns` maps keys to labels. The published values and the differences stand in lines below each row, or in
    columns after each one. `points` is up to where a difference was judged as none; None: it was not.
    """

    kind: ClassVar[str] = "Table"
    cells: pd.DataFrame
    sections: list[Section]
    columns: dict[str, str]
    published: Literal["row", "column"] = "row"
    digits: int = 1
    points: float | None = None


class Cell(NamedTuple):
    """One number as it is shown; `value` is NaN where it is missing, `beyond` marks a difference that is too large."""

    value: float
    spread: float
    kind: Kind
    change: bool = False
    partial: bool = False
    beyond: bool = False

    def text(self, digits: int) -> str:
        """The value without its spread, signed if it is a change; `--` if it is missing."""
        if math.isnan(self.value):
            return "--"
        sign = "+" if self.change or self.kind == "difference" else ""
        return f"{round(self.value, digits) + 0.0:{sign}.{digits}f}"


class Line(NamedTuple):
    """One printed line."""

    label: str
    kind: Kind
    cells: list[Cell]


class Entry(NamedTuple):
    """One place of a table: ours, the published value, and how far apart they are."""

    ours: Cell
    paper: Cell
    difference: Cell


class Block(NamedTuple):
    """A row, an entry for each column, and the lines that they are printed in."""

    row: Row
    entries: list[Entry]
    lines: list[Line]


def shown(table: Table) -> pd.DataFrame:
    """The cells that the table prints, row by row; those of an average that lacks some of its tasks are `partial`."""
    keys = [
        (*row.key, column)
        for part in table.sections
        for row in part.rows
        for column in table.columns
    ]
    cells = table.cells.reindex(pd.MultiIndex.from_tuples(keys, names=table.cells.index.names))
    if "paper" not in cells:
        cells = cells.assign(**PAPER)
    tasks = (
        cells.index.get_level_values("task") if "task" in cells.index.names else [""] * len(cells)
    )
    partial = [is_partial(task, n) for task, n in zip(tasks, cells["tasks"], strict=True)]
    return cells.assign(partial=partial, beyond=cells["beyond"].eq(True))


def header(table: Table) -> list[tuple[str, int]]:
    """The columns' labels and how many printed columns each spans: three where the published one stands beside ours."""
    if table.published == "row":
        return [(label, 1) for label in table.columns.values()]
    known = shown(table)["paper"].notna()
    columns = set(known.index[known].get_level_values(-1))
    return [(label, 3 if key in columns else 1) for key, label in table.columns.items()]


def sections(table: Table) -> list[tuple[str, list[Line]]]:
    """The printed lines of each section."""
    return [
        (label, [line for block in rows for line in block.lines]) for label, rows in blocks(table)
    ]


def blocks(table: Table) -> list[tuple[str, list[Block]]]:
    """The rows of each section."""
    cells = iter(shown(table).to_dict("records"))
    spans = [span for _, span in header(table)]
    made: list[tuple[str, list[Block]]] = []
    for part in table.sections:
        found = [(row, [_entry(row, next(cells)) for _ in spans]) for row in part.rows]
        rows = [
            Block(row, entries, list(_lines(table, row, entries, spans))) for row, entries in found
        ]
        made.append((part.label, rows))
    return made


def _entry(row: Row, cell: dict[Hashable, Any]) -> Entry:
    return Entry(
        Cell(cell["mean"], cell["spread"], "ours", row.change, bool(cell["partial"])),
        Cell(cell["paper"], cell["paper_spread"], "paper", row.change),
        Cell(cell["difference"], math.nan, "difference", beyond=bool(cell["beyond"])),
    )


def _lines(table: Table, row: Row, entries: list[Entry], spans: list[int]) -> Iterator[Line]:
    if table.published == "column":
        beside = zip(entries, spans, strict=True)
        yield Line(
            row.label, "ours", list(chain.from_iterable(entry[:span] for entry, span in beside))
        )
        return
    ours, paper, apart = (list(cells) for cells in zip(*entries, strict=True))
    yield Line(row.label, "ours", ours)
    if not all(math.isnan(cell.value) for cell in paper):
        yield Line(row.paper, "paper", paper)
    if not all(math.isnan(cell.value) for cell in apart):
        yield Line("difference", "difference", apart)
