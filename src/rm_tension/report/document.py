"""A report as files: LaTeX tables, figures, one PDF, one HTML page, and Markdown for the git host."""

import os
import subprocess
import tempfile
from pathlib import Path
from shutil import copyfile, which
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from tabulate import tabulate

from rm_tension.base.errors import UserError
from rm_tension.paper.figures import COLOURS
from rm_tension.report.contents import Report
from rm_tension.report.drawing import save
from rm_tension.report.latex import PACKAGES, STEEPEST, escape, latex
from rm_tension.report.notes import caption, describe, warnings
from rm_tension.report.page import axes, choices, words
from rm_tension.report.table import TextTable, blocks, header
from rm_tension.report.tables import OBJECTIVES

PAGES = ("artifact.tex", "index.html", "README.md", "claims.md")
TEX_MARKS: dict[str, Any] = {  # LaTeX is full of braces
    "variable_start_string": "<<",
    "variable_end_string": ">>",
    "block_start_string": "<%",
    "block_end_string": "%>",
}


def write(report: Report, folder: Path) -> None:
    """Everything but the PDF."""
    for name in ("tables", "figures"):
        (folder / name).mkdir(parents=True)
    for table in report.tables:
        text = latex(table, caption(table, report.context))
        (folder / "tables" / f"{table.name}.tex").write_text(text, encoding="utf-8")
    for figure in report.figures:
        save(figure, folder / "figures")
    for name in PAGES:
        (folder / name).write_text(_page(name, report), encoding="utf-8")


def compile_pdf(folder: Path) -> str:
    """artifact.tex -> artifact.pdf, the same bytes from the same source; returns LaTeX's log.

    Raises UserError if LaTeX is missing or refuses the document.
    """
    remedy = "`make tex` installs what it takes on Debian"
    if which("latexmk") is None:
        raise UserError(f"latexmk not found, which compiles artifact.pdf: {remedy}")
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            "latexmk",
            "-norc",
            "-pdf",
            "-interaction=nonstopmode",
            "-halt-on-error",
            f"-outdir={scratch}",
        ]
        fixed = {
            "SOURCE_DATE_EPOCH": "0",
            "FORCE_SOURCE_DATE": "1",
            "max_print_line": "1000",
            "HOME": scratch,
        }
        # nothing else: TEXINPUTS, a texmf tree at home and others would put other packages in the place of TeX Live's
        kept = {
            name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ
        }
        done = subprocess.run(
            [*command, "artifact.tex"],
            cwd=folder,
            env=kept | fixed,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            output = done.stdout.decode(errors="replace").splitlines()
            first = next(
                (line for line in output if line.startswith("!")),
                f"latexmk exits {done.returncode}",
            )
            raise UserError(
                f"{folder / 'artifact.tex'}: {first}; if a package is missing: {remedy}"
            )
        copyfile(Path(scratch) / "artifact.pdf", folder / "artifact.pdf")
        return (Path(scratch) / "artifact.log").read_text(encoding="utf-8", errors="replace")


def markdown(table: TextTable) -> str:
    """A pipe table."""
    rows = [[text.replace("|", r"\|") for text in row] for row in (table.columns, *table.rows)]
    return tabulate(rows[1:], rows[0], tablefmt="pipe", disable_numparse=True)


def _page(name: str, report: Report) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **(TEX_MARKS if name.endswith(".tex") else {}),
    )
    environment.filters |= {"escape_tex": escape, "markdown": markdown}
    environment.globals |= {"header": header, "blocks": blocks, "axes": axes, "words": words}
    environment.globals |= {
        "PACKAGES": PACKAGES,
        "STEEPEST": STEEPEST,
        "OBJECTIVES": OBJECTIVES,
        "COLOURS": COLOURS,
    }
    return environment.get_template(name).render(
        report=report,
        context=report.context,
        by_number={table.number: table for table in report.tables},
        choices=choices(report.tables),
        warnings=warnings(report.context),
        caption=lambda item: caption(item, report.context),
        describe=lambda item: describe(item, report.context),
    )
