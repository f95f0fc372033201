"""A table as LaTeX that a document includes with \\input."""

import math

from tabulate import DataRow, TableFormat, tabulate

from rm_tension.report.table import Cell, Line, Table, TextTable, header, sections

PACKAGES = (
    r"\usepackage[T1]{fontenc}\usepackage[utf8]{inputenc}"
    r"\usepackage{adjustbox,booktabs,rotating,tabularx}\usepackage[table]{xcolor}"
)
ROWS = TableFormat(None, None, None, None, None, DataRow("", " & ", r" \\"), 0, None)
WIDE = 13  # columns up to which a table stands upright
LABELS = 80  # letters up to which column labels stand upright
LINE = 115  # letters that fit into a line of a table, about
TALL = {
    "table": 60,
    "sidewaystable": 40,
}  # lines up to which a table is one float, not one a section
STEEPEST = 40.0  # points of change at which the shading is full
SYMBOLS = {
    "<": "<",
    ">": ">",
    "±": r"\pm",
    "²": "^2",
    "≤": r"\le",
    "≥": r"\ge",
    "−": "-",
    "×": r"\times",
}
ESCAPES = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "|": r"\textbar{}",
    }
    | {character: f"${command}$" for character, command in SYMBOLS.items()}
)


def latex(table: Table | TextTable, caption: str) -> str:
    """One or more floats, the first with caption and label `tab:<number>`; needs the packages in PACKAGES."""
    bodies, float_name = (
        (_words(table), "table") if isinstance(table, TextTable) else _numbers(table)
    )
    opening = rf"\caption[{escape(table.heading)}]{{{escape(caption)}}}\label{{tab:{table.number}}}"
    floats = [f"% needs {PACKAGES}"]
    for body in bodies:
        floats += [
            rf"\begin{{{float_name}}}[!htbp]",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}\setlength{\belowcaptionskip}{6pt}",
            rf"\renewcommand{{\thetable}}{{{table.number}}}",  # the paper's number, whichever tables are included
            opening,
            *body,
            rf"\end{{{float_name}}}",
        ]
        opening = rf"\caption[]{{{escape(table.heading)} (continued)}}"
    return "\n".join([*floats, ""])


def escape(text: str) -> str:
    """Plain text for LaTeX."""
    return text.translate(ESCAPES)


def number(cell: Cell, digits: int) -> str:
    """`$81.0_{\\pm 1.2}$`, shaded if it is a change, grey if it is published, bold if it is too far from that."""
    if math.isnan(cell.value):
        return "--"
    spread = "" if math.isnan(cell.spread) else rf"_{{\pm {cell.spread:.{digits}f}}}"
    text = f"${cell.text(digits)}{'^{*}' if cell.partial else ''}{spread}$"
    if cell.kind == "paper":
        return rf"\textcolor{{black!55}}{{{text}}}"
    if cell.beyond:
        return text.replace(cell.text(digits), rf"\mathbf{{{cell.text(digits)}}}")
    if cell.change and (depth := round(50 * min(1, abs(cell.value) / STEEPEST))):
        return rf"\cellcolor{{{'blue' if cell.value > 0 else 'red'}!{depth}}}{text}"
    return text


def _words(table: TextTable) -> list[list[str]]:
    """A tabular for each float."""
    columns = table.align.replace("X", r">{\raggedright\arraybackslash}X")
    return [_worded(table, columns, rows) for rows in _pages(table)]


def _pages(table: TextTable) -> list[list[list[str]]]:
    """The rows of each float, of which none is too tall, by an estimate of how many lines each row takes."""
    wide = [place for place, kind in enumerate(table.align) if kind == "X"]
    widths = [max(map(len, column)) for column in zip(table.columns, *table.rows, strict=True)]
    taken = sum(width for place, width in enumerate(widths) if place not in wide)
    left = max(LINE / 4, LINE - taken - 2 * len(widths))
    pages: list[list[list[str]]] = [[]]
    lines = 0
    for row in table.rows:
        height = max((math.ceil(len(row[place]) * len(wide) / left) for place in wide), default=1)
        if lines + height > TALL["table"]:
            pages.append([])
            lines = 0
        pages[-1].append(row)
        lines += height
    return pages


def _worded(table: TextTable, columns: str, rows: list[list[str]]) -> list[str]:
    escaped = [[escape(text) for text in row] for row in rows]
    return [
        rf"\begin{{tabularx}}{{\linewidth}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(escape, table.columns)) + r" \\",
        r"\midrule",
        tabulate(escaped, tablefmt=ROWS, disable_numparse=True),
        r"\bottomrule",
        r"\end{tabularx}",
    ]


def _numbers(table: Table) -> tuple[list[list[str]], str]:
    """A tabular for each float, and the name of the float."""
    width = 1 + sum(span for _, span in header(table))
    float_name = "sidewaystable" if width > WIDE else "table"
    parts = sections(table)
    tall = sum(len(lines) for _, lines in parts) > TALL[float_name]
    return [
        _tabular(table, part, width) for part in ([[part] for part in parts] if tall else [parts])
    ], float_name


def _tabular(table: Table, parts: list[tuple[str, list[Line]]], width: int) -> list[str]:
    return [
        r"\begin{adjustbox}{max width=\linewidth, max totalheight=0.85\textheight}",
        rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
        r"\toprule",
        *_header(table),
        *_body(table, parts, width),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{adjustbox}",
    ]


def _header(table: Table) -> list[str]:
    labels = header(table)
    if all(span == 1 for _, span in labels):
        rotated = sum(len(label) for label, _ in labels) > LABELS
        names = [
            rf"\rotatebox{{90}}{{{escape(label)}}}" if rotated else escape(label)
            for label, _ in labels
        ]
        return [" & ".join(["", *names]) + r" \\", r"\midrule"]
    above, rules, below, first = [""], [], [""], 2
    for label, span in labels:
        above.append(rf"\multicolumn{{{span}}}{{c}}{{{escape(label)}}}")
        rules += [rf"\cmidrule(lr){{{first}-{first + span - 1}}}"] if span > 1 else []
        below += ["ours", r"\textcolor{black!55}{paper}", "diff."] if span > 1 else [""]
        first += span
    return [" & ".join(above) + r" \\", " ".join(rules), " & ".join(below) + r" \\", r"\midrule"]


def _body(table: Table, parts: list[tuple[str, list[Line]]], width: int) -> list[str]:
    rows = iter(
        tabulate(
            [_texts(line, table.digits) for _, lines in parts for line in lines], tablefmt=ROWS
        ).split("\n")
    )
    body = []
    for index, (label, lines) in enumerate(parts):
        body += [r"\midrule"] if index else []
        body += [rf"\multicolumn{{{width}}}{{l}}{{\textbf{{{escape(label)}}}}} \\"] if label else []
        body += [next(rows) for _ in lines]
    return body


def _texts(line: Line, digits: int) -> list[str]:
    label = escape(line.label)
    if line.kind != "ours":
        label = rf"\quad\textcolor{{black!55}}{{{label}}}"
    return [label, *(number(cell, digits) for cell in line.cells)]
