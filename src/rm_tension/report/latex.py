"""A table as LaTeX that a document includes with \\input."""

import math

from tabulate import DataRow, TableFormat, tabulate

from rm_tension.report.table import Cell, Line, Table, header, sections

PACKAGES = r"\usepackage{adjustbox,booktabs,rotating} \usepackage[table]{xcolor}"
ROWS = TableFormat(None, None, None, None, None, DataRow("", " & ", r" \\"), 0, None)
WIDE = 12  # columns from which on a table stands on a page of its own, turned
STEEPEST = 40.0  # points of change at which the shading is full
ESCAPES = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "±": r"$\pm$", "~": r"\textasciitilde{}"}
)


def latex(table: Table, caption: str) -> str:
    """A float with caption and label `tab:<number>`; needs the packages in PACKAGES."""
    width = 1 + sum(span for _, span in header(table))
    float_name = "sidewaystable" if width > WIDE else "table"
    return "\n".join(
        [
            f"% needs {PACKAGES}",
            rf"\begin{{{float_name}}}[!htbp]",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}\setlength{\belowcaptionskip}{6pt}",
            rf"\renewcommand{{\thetable}}{{{table.number}}}",  # the paper's number, whichever tables are included
            rf"\caption{{{escape(caption)}}}",
            rf"\label{{tab:{table.number}}}",
            r"\begin{adjustbox}{max width=\linewidth, max totalheight=0.8\textheight}",
            rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
            r"\toprule",
            *_header(table, rotated=width > WIDE // 2),
            *_body(table, width),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{adjustbox}",
            rf"\end{{{float_name}}}",
            "",
        ]
    )


def escape(text: str) -> str:
    """Plain text for LaTeX."""
    return text.translate(ESCAPES)


def number(cell: Cell, digits: int) -> str:
    """`$81.0_{\\pm 1.2}$`, signed and shaded if it is a change, grey if it is published, `--` if it is missing."""
    if math.isnan(cell.value):
        return "--"
    sign = "+" if cell.change else ""
    spread = "" if math.isnan(cell.spread) else rf"_{{\pm {cell.spread:.{digits}f}}}"
    star = "^{*}" if cell.partial else ""
    text = f"${round(cell.value, digits) + 0.0:{sign}.{digits}f}{star}{spread}$"
    if cell.kind == "paper":
        return rf"\textcolor{{black!55}}{{{text}}}"
    if cell.change and (depth := round(50 * min(1, abs(cell.value) / STEEPEST))):
        return rf"\cellcolor{{{'blue' if cell.value > 0 else 'red'}!{depth}}}{text}"
    return text


def _header(table: Table, rotated: bool) -> list[str]:
    labels = header(table)
    if labels[0][1] == 1:
        names = [rf"\rotatebox{{90}}{{{escape(label)}}}" if rotated else escape(label) for label, _ in labels]
        return [" & ".join(["", *names]) + r" \\", r"\midrule"]
    spans = [rf"\multicolumn{{{span}}}{{c}}{{{escape(label)}}}" for label, span in labels]
    rules = [rf"\cmidrule(lr){{{2 * i + 2}-{2 * i + 3}}}" for i in range(len(labels))]
    below = r" & ours & \textcolor{black!55}{paper}" * len(labels)
    return [" & ".join(["", *spans]) + r" \\", " ".join(rules), below + r" \\", r"\midrule"]


def _body(table: Table, width: int) -> list[str]:
    parts = sections(table)
    rows = iter(
        tabulate([_texts(line, table.digits) for _, lines in parts for line in lines], tablefmt=ROWS).split("\n")
    )
    body = []
    for index, (label, lines) in enumerate(parts):
        body += [r"\midrule"] if index else []
        body += [rf"\multicolumn{{{width}}}{{l}}{{\textbf{{{escape(label)}}}}} \\"] if label else []
        body += [next(rows) for _ in lines]
    return body


def _texts(line: Line, digits: int) -> list[str]:
    label = rf"\quad\textcolor{{black!55}}{{{line.label}}}" if line.kind == "paper" else escape(line.label)
    return [label, *(number(cell, digits) for cell in line.cells)]
