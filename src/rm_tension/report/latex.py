r"""A table as LaTeX that a document includes with \input."""

import math
from itertools import pairwise

from tabulate import DataRow, TableFormat, tabulate

from rm_tension.report.table import Cell, Line, Table, TextTable, header, printed_sections

PACKAGES = (
    r"\usepackage[T1]{fontenc}\usepackage[utf8]{inputenc}"
    r"\usepackage{adjustbox,booktabs,pdflscape,xltabular}\usepackage[table]{xcolor}"
)
Section = tuple[str, list[Line]]  # a label and the printed lines below it
ROWS = TableFormat(None, None, None, None, None, DataRow("", " & ", r" \\"), 0, None)
WIDE = 13  # columns up to which a table stands upright
LABELS = 80  # letters up to which column labels stand upright
# Lines of one float, upright and on a turned page
TALL = 66
TALL_TURNED = 40
STYLE = (
    r"\footnotesize\setlength{\tabcolsep}{3pt}\renewcommand{\arraystretch}{0.95}"
    r"\setlength{\abovecaptionskip}{0pt}\setlength{\belowcaptionskip}{6pt}"
)
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


def latex(table: Table | TextTable, caption: str, provenance: str) -> str:
    r"""Return a table with caption, label `tab:<number>` and the paper's number.

    A document that includes it needs the packages in PACKAGES. The caption ends with the macro
    \provenance, which is the text of that name unless the document defines it before.
    """
    lines = [f"% needs {PACKAGES}", rf"\providecommand{{\provenance}}{{ {escape(provenance)}}}"]
    # the paper's number, whichever tables are included
    number = rf"\renewcommand{{\thetable}}{{{table.number}}}"
    heading = escape(table.heading)
    label = rf"\label{{tab:{table.number}}}"
    opening = rf"\caption[{heading}]{{{escape(caption)}\provenance}}{label}"
    continued = rf"\caption[]{{{heading} (continued)}}"
    if isinstance(table, TextTable):
        lines += [
            rf"\begingroup{STYLE}\setlength{{\LTcapwidth}}{{\linewidth}}{number}",
            *_long_table(table, opening, continued),
        ]
        return "\n".join([*lines, r"\endgroup", ""])
    tabulars, turned_page = _number_tabulars(table)
    for tabular in tabulars:
        # a turned page each: LaTeX turns only the first page of a landscape environment's floats
        lines += [r"\begin{landscape}"] if turned_page else []
        lines += [
            r"\begin{table}[!htbp]",
            rf"\centering{STYLE}",
            number,
            opening,
            *tabular,
            r"\end{table}",
        ]
        lines += [r"\end{landscape}"] if turned_page else []
        opening = continued
    return "\n".join([*lines, ""])


def escape(text: str) -> str:
    """Escape plain text for LaTeX."""
    return text.translate(ESCAPES)


def number(cell: Cell, digits: int) -> str:
    r"""Return `$81.0_{\pm 1.2}$`: shaded a change, grey the paper's, bold if too far from it."""
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


def _long_table(table: TextTable, opening: str, continued: str) -> list[str]:
    """Return a table that LaTeX breaks over pages where it must."""
    columns = table.align.replace("X", r">{\raggedright\arraybackslash}X")
    header = [r"\toprule", " & ".join(map(escape, table.columns)) + r" \\", r"\midrule"]
    rows = [[escape(text) for text in row] for row in table.rows]
    return [
        rf"\begin{{xltabular}}{{\linewidth}}{{{columns}}}",
        rf"{opening}\\",
        *header,
        r"\endfirsthead",
        rf"{continued}\\",
        *header,
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        tabulate(rows, tablefmt=ROWS, disable_numparse=True),
        r"\end{xltabular}",
    ]


def _number_tabulars(table: Table) -> tuple[list[list[str]], bool]:
    """Return a tabular for each float, and whether they stand on turned pages."""
    width = 1 + sum(span for _, span in header(table))
    turned_page = width > WIDE
    floats = _floats(printed_sections(table), TALL_TURNED if turned_page else TALL)
    return [_tabular(table, shown, width) for shown in floats], turned_page


def _floats(sections: list[Section], most: int) -> list[list[Section]]:
    """Return the sections in parts of at most `most` lines, which a row and those below it share.

    A section that goes on in the next part has its label there again. None begins at the very end
    of a part.
    """
    floats: list[list[Section]] = [[]]
    least = most // 6  # lines left for a section to begin
    for label, lines in sections:
        starts = [index for index, line in enumerate(lines) if line.kind == "ours"]
        for start, end in pairwise([*starts, len(lines)]):
            left = most - sum(len(shown) for _, shown in floats[-1])
            if left < (end - start if start else least):
                floats.append([])
            if start == 0 or not floats[-1]:
                floats[-1].append((f"{label} (continued)" if start and label else label, []))
            floats[-1][-1][1].extend(lines[start:end])
    return floats


def _tabular(table: Table, sections: list[Section], width: int) -> list[str]:
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
