"""A table as Markdown, for the page that a git host shows."""

import math

from tabulate import tabulate

from rm_tension.report.table import Cell, Line, Table, header, sections


def markdown(table: Table) -> str:
    """A pipe table; published values are in italics."""
    labels = header(table)
    names = [name for label, span in labels for name in ([label] if span == 1 else [label, "*paper*"])]
    rows = []
    for section, lines in sections(table):
        rows += [[f"**{section}**", *[""] * len(names)]] if section else []
        rows += [_texts(line, table.digits) for line in lines]
    align = ["left", *["right"] * len(names)]
    return tabulate(rows, ["", *names], tablefmt="pipe", colalign=align, disable_numparse=True)


def number(cell: Cell, digits: int) -> str:
    """`81.0 ± 1.2`, signed if it is a change, in italics if it is published, `--` if it is missing."""
    if math.isnan(cell.value):
        return "--"
    sign = "+" if cell.change else ""
    spread = "" if math.isnan(cell.spread) else f" ± {cell.spread:.{digits}f}"
    star = r"\*" if cell.partial else ""
    text = f"{round(cell.value, digits) + 0.0:{sign}.{digits}f}{star}{spread}"
    return f"*{text}*" if cell.kind == "paper" else text


def _texts(line: Line, digits: int) -> list[str]:
    label = f"*{line.label}*" if line.kind == "paper" else line.label
    return [label, *(number(cell, digits) for cell in line.cells)]
