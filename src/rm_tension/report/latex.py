"""A table as LaTeX that a document includes with \\input."""

import math

from tabulate import DataRow, TableFormat, tabulate

from rm_tension.report.table import Cell, Line, Table, TextTable, header, printed_sections

PACKAGES = (
    r"\usepackage[T1]{fontenc}\usepackage[utf8]{inputenc}"
    r"\usepackage{adjustbox,booktabs,rotating,tabularx}\usepackage[table]{xcolor}"
)
ROWS = TableFormat(None, None, None, None, None, DataRow("", " & ", r" \\"), 0, None)
WIDE = 13  # columns up to which a table stands upright
LABELS = 80  # letters up to which column labels stand upright
LINE = 115  # letters that fit into a line of a table, about
# Lines up to which a table is one float, not one a section
TALL = {"table": 60, "sidewaystable": 40}
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
    """Return one or more floats, the first with caption and label `tab:<number>`.

    A document that includes them needs the packages in PACKAGES.
    """
    tabulars, environment = (
        (_text_tabulars(table), "table")
        if isinstance(table, TextTable)
        else _number_tabulars(table)
    )
    opening = rf"\caption[{escape(table.heading)}]{{{escape(caption)}}}\label{{tab:{table.number}}}"
    lines = [f"% needs {PACKAGES}"]
    for tabular in tabulars:
        lines += [
            rf"\begin{{{environment}}}[!htbp]",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}\setlength{\belowcaptionskip}{6pt}",
            # the paper's number, whichever tables are included
            rf"\renewcommand{{\thetable}}{{{table.number}}}",
            opening,
            *tabular,
            rf"\end{{{environment}}}",
        ]
        opening = rf"\caption[]{{{escape(table.heading)} (continued)}}"
    return "\n".join([*lines, ""])


def escape(text: str) -> str:
    """Escape plain text for LaTeX."""
    return text.translate(ESCAPES)


def number(cell: Cell, digits: int) -> str:
    r"""Return `$81.0_{\pm 1.2}$`: shaded if a change, grey if published, bold if too far from it."""
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


def _text_tabulars(table: TextTable) -> list[list[str]]:
    """Return a tabular for each float, none of them too tall."""
    columns = table.align.replace("X", r">{\raggedright\arraybackslash}X")
    tabulars = []
    for rows in _pages(table):
        escaped = [[escape(text) for text in row] for row in rows]
        tabular = [
            rf"\begin{{tabularx}}{{\linewidth}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(escape, table.columns)) + r" \\",
            r"\midrule",
            tabulate(escaped, tablefmt=ROWS, disable_numparse=True),
            r"\bottomrule",
            r"\end{tabularx}",
        ]
        tabulars.append(tabular)
    return tabulars


def _pages(table: TextTable) -> list[list[list[str]]]:
    """Split the rows over floats by an estimate of how many lines each row takes."""
    wide = [index for index, kind in enumerate(table.align) if kind == "X"]
    widths = [max(map(len, column)) for column in zip(table.columns, *table.rows, strict=True)]
    taken = sum(width for index, width in enumerate(widths) if index not in wide)
    left = max(LINE / 4, LINE - taken - 2 * len(widths))
    pages: list[list[list[str]]] = [[]]
    lines = 0
    for row in table.rows:
        height = max((math.ceil(len(row[index]) * len(wide) / left) for index in wide), default=1)
        if lines + height > TALL["table"]:
            pages.append([])
            lines = 0
        pages[-1].append(row)
        lines += height
    return pages


def _number_tabulars(table: Table) -> tuple[list[list[str]], str]:
    """Return a tabular for each float, and the environment of the float."""
    width = 1 + sum(span for _, span in header(table))
    environment = "sidewaystable" if width > WIDE else "table"
    sections = printed_sections(table)
    tall = sum(len(lines) for _, lines in sections) > TALL[environment]
    floats = [[section] for section in sections] if tall else [sections]
    return [_tabular(table, shown, width) for shown in floats], environment


def _tabular(table: Table, sections: list[tuple[str, list[Line]]], width: int) -> list[str]:
    """Return the lines of a tabular with `width` columns; columns are aligned over all sections."""
    texts = [_texts(line, table.digits) for _, lines in sections for line in lines]
    rows = iter(tabulate(texts, tablefmt=ROWS).split("\n"))
    body = []
    for index, (label, lines) in enumerate(sections):
        body += [r"\midrule"] if index else []
        body += [rf"\multicolumn{{{width}}}{{l}}{{\textbf{{{escape(label)}}}}} \\"] if label else []
        body += [next(rows) for _ in lines]
    return [
        r"\begin{adjustbox}{max width=\linewidth, max totalheight=0.85\textheight}",
        rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
        r"\toprule",
        *_header(table),
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{adjustbox}",
    ]


def _header(table: Table) -> list[str]:
    labels = header(table)
    if all(span == 1 for _, span in labels):
        names = [escape(label) for label, _ in labels]
        if sum(len(label) for label, _ in labels) > LABELS:
            names = [rf"\rotatebox{{90}}{{{name}}}" for name in names]
        return [" & ".join(["", *names]) + r" \\", r"\midrule"]
    above, rules, below, first = [""], [], [""], 2
    for label, span in labels:
        above.append(rf"\multicolumn{{{span}}}{{c}}{{{escape(label)}}}")
        rules += [rf"\cmidrule(lr){{{first}-{first + span - 1}}}"] if span > 1 else []
        below += ["ours", r"\textcolor{black!55}{paper}", "diff."] if span > 1 else [""]
        first += span
    return [" & ".join(above) + r" \\", " ".join(rules), " & ".join(below) + r" \\", r"\midrule"]


def _texts(line: Line, digits: int) -> list[str]:
    label = escape(line.label)
    if line.kind != "ours":
        label = rf"\quad\textcolor{{black!55}}{{{label}}}"
    return [label, *(number(cell, digits) for cell in line.cells)]
