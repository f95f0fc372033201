"""Tables as data: their rows and columns, and what each printed cell holds."""

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple

import pandas as pd

from rm_tension.analyse.averages import is_partial
from rm_tension.report.item import Item

NO_PAPER = {"paper": math.nan, "paper_spread": math.nan, "difference": math.nan, "beyond": False}
MOST_BESIDE = 4  # columns up to which those of published values fit beside them
Kind = Literal["ours", "paper", "difference"]
KINDS: tuple[Kind, ...] = ("ours", "paper", "difference")


class Row(NamedTuple):
    """A row of a table: the index values of its cells without the column's, and its label.

    `change` marks values in points, printed with a sign and shaded by it. `paper` labels the line
    of published values below the row.
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
    """A table of text; `align` has a LaTeX column type per column, where X shares what is left."""

    kind: ClassVar[str] = "Table"
    columns: list[str]
    rows: list[list[str]]
    align: str


@dataclass(frozen=True)
class Table(Item):
    """A table of numbers.

    `cells`, of `Source.means` or `.compared`, is indexed by the rows' keys, then the column's.
    `columns` maps keys to labels. Published values and differences stand in lines below each row,
    or in columns after each one. `points` is up to where a difference was judged as none; None:
    it was not. `changes` are the columns of values in points, as `Row.change` marks rows of them.
    """

    kind: ClassVar[str] = "Table"
    cells: pd.DataFrame
    sections: list[Section]
    columns: dict[str, str]
    published: Literal["row", "column"] = "row"
    digits: int = 1
    points: float | None = None
    changes: frozenset[str] = frozenset()


class Cell(NamedTuple):
    """One printed number; NaN where it is missing. `beyond` marks a difference that is too large.

    `partial` marks an average over some of the tasks of its group.
    """

    value: float
    spread: float
    kind: Kind
    change: bool = False
    partial: bool = False
    beyond: bool = False

    def text(self, digits: int) -> str:
        """Return the value without its spread, signed if it is a change; `--` if missing."""
        if math.isnan(self.value):
            return "--"
        sign = "+" if self.change or self.kind == "difference" else ""
        return f"{round(self.value, digits) + 0.0:{sign}.{digits}f}"


class Line(NamedTuple):
    """One printed line of the row with `key`."""

    label: str
    kind: Kind
    cells: list[Cell]
    key: tuple[str | int, ...]


def printed_cells(table: Table) -> pd.DataFrame:
    """Return the cells that the table prints, row by row, with the columns of `Source.compared`.

    `partial` marks those of an average that lacks some of its tasks.
    """
    keys = [
        (*row.key, column)
        for section in table.sections
        for row in section.rows
        for column in table.columns
    ]
    index = pd.MultiIndex.from_tuples(keys, names=table.cells.index.names)
    cells = table.cells.reindex(index)
    if "paper" not in cells:
        cells = cells.assign(**NO_PAPER)
    partial = [False] * len(cells)
    if "task" in index.names:
        tasks = zip(index.get_level_values("task"), cells["tasks"], strict=True)
        partial = [is_partial(task, count) for task, count in tasks]
    return cells.assign(partial=partial, beyond=cells["beyond"].eq(True))


def turned(table: Table) -> Table:
    """Return a table with its columns as rows: what is wide is tall then.

    The rows of all sections must have the same last keys, which become the columns.
    """
    first = table.sections[0].rows
    columns = {str(row.key[-1]): row.label for row in first}
    sections = []
    for section in table.sections:
        outer = section.rows[0].key[:-1]
        rows = [Row((*outer, key), label) for key, label in table.columns.items()]
        sections.append(Section(section.label, rows))
    *others, row_level, column_level = map(str, table.cells.index.names)
    return replace(
        table,
        cells=table.cells.reorder_levels([*others, column_level, row_level]),
        sections=sections,
        columns=columns,
        published="column" if len(columns) <= MOST_BESIDE else "row",
        changes=frozenset(str(row.key[-1]) for row in first if row.change),
    )


def tidy(table: Table | TextTable) -> pd.DataFrame:
    """Return what a table prints as a frame to download, a row for each of its cells.

    Columns are the keys, ours (mean, spread over seeds, standard error), the paper's, the
    difference, and whether that is beyond agreement.
    """
    if isinstance(table, TextTable):
        names = [name or "id" for name in table.columns]
        return pd.DataFrame(table.rows, columns=names).replace("--", "")
    cells = printed_cells(table).drop(columns="partial")
    if cells["paper"].isna().all():
        cells = cells.drop(columns=[name for name in (*NO_PAPER, "paper_error") if name in cells])
    return cells.dropna(subset=["mean"]).reset_index()


def header(table: Table) -> list[tuple[str, int]]:
    """Return each column's label and how many printed columns it spans.

    Three where the published value and the difference stand beside ours, else one.
    """
    if table.published == "row":
        return [(label, 1) for label in table.columns.values()]
    known = printed_cells(table)["paper"].notna()
    columns = set(known.index[known].get_level_values(-1))
    return [(label, 3 if key in columns else 1) for key, label in table.columns.items()]


def printed_sections(table: Table) -> list[tuple[str, list[Line]]]:
    """Return the label and the printed lines of each section."""
    cells = iter(printed_cells(table).to_dict("records"))
    spans = [span for _, span in header(table)]
    sections = []
    for section in table.sections:
        lines: list[Line] = []
        for row in section.rows:
            entries = [
                _entry(next(cells), row.change or column in table.changes)
                for column in table.columns
            ]
            lines += _lines(table, row, entries, spans)
        sections.append((section.label, lines))
    return sections


def _entry(cell: Mapping[Hashable, Any], change: bool) -> dict[Kind, Cell]:
    """Return ours, the published value and the difference at one place of a table."""
    difference = Cell(cell["difference"], math.nan, "difference", beyond=bool(cell["beyond"]))
    return {
        "ours": Cell(cell["mean"], cell["spread"], "ours", change, bool(cell["partial"])),
        "paper": Cell(cell["paper"], cell["paper_spread"], "paper", change),
        "difference": difference,
    }


def _lines(
    table: Table, row: Row, entries: list[dict[Kind, Cell]], spans: list[int]
) -> Iterator[Line]:
    """Yield the printed lines of a row: one, or up to three below each other."""
    if table.published == "column":
        cells: list[Cell] = []
        for entry, span in zip(entries, spans, strict=True):
            cells += [entry[kind] for kind in KINDS[:span]]
        yield Line(row.label, "ours", cells, row.key)
        return
    labels: dict[Kind, str] = {"ours": row.label, "paper": row.paper, "difference": "difference"}
    for kind, label in labels.items():
        cells = [entry[kind] for entry in entries]
        if kind == "ours" or not all(math.isnan(cell.value) for cell in cells):
            yield Line(label, kind, cells, row.key)
