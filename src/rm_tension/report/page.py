"""README.md of a report: what a reader of the git host sees first."""

from rm_tension.analysis.context import Context
from rm_tension.report.figures import NamedFigure
from rm_tension.report.markdown import markdown
from rm_tension.report.notes import legend, warnings
from rm_tension.report.table import Table

FOLDED = 6  # tables with more columns than this are folded away


def page(context: Context, tables: list[Table], figures: list[NamedFigure]) -> str:
    """Warnings, then the figures and tables by number."""
    parts = [
        "# Helpfulness and harmlessness tension in reward models: report",
        "\n".join(f"> {line}" for line in warning_lines(context)),
        "Numbers are those of the paper's tables and figures. Each table is also there as LaTeX, each figure as PDF.",
        "## Figures",
        *(figure_part(figure) for figure in figures),
        "## Tables",
        *(table_part(table, context) for table in tables),
    ]
    return "\n\n".join(parts) + "\n"


def warning_lines(context: Context) -> list[str]:
    """The banner; two spaces at the end break a line."""
    lines = ["**Note**" if context.comparable else "**Warning**", *warnings(context)]
    return [f"{line}  " for line in [*lines, f"Analysed at commit `{context.git_commit}`."]]


def figure_part(figure: NamedFigure) -> str:
    """The image, linked to its PDF, and what it shows."""
    path = f"figures/{figure.name}"
    return f"[![{figure.name}]({path}.png)]({path}.pdf)\n\n{figure.title}"


def table_part(table: Table, context: Context) -> str:
    """The table with its title, folded if it is wide; the page's banner already warns."""
    head = f"### Table {table.number} ([LaTeX](tables/{table.name}.tex))"
    title = " ".join([table.title, *legend(table, context)])
    body = markdown(table)
    if len(table.columns) > FOLDED:
        body = f"<details><summary>Show</summary>\n\n{body}\n\n</details>"
    return f"{head}\n\n{title}\n\n{body}"
