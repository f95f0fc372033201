"""A report as files: tables, figures, one PDF, one HTML page, and Markdown for the git host."""

import os
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from shutil import copyfile, which
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from tabulate import tabulate

from rm_tension.base.config import ROLES
from rm_tension.base.errors import UserError
from rm_tension.report.contents import Report
from rm_tension.report.drawing import save
from rm_tension.report.latex import PACKAGES, STEEPEST, escape, latex
from rm_tension.report.notes import caption, describe, provenance, warnings
from rm_tension.report.page import (
    SIGNS,
    axes,
    choices,
    dots,
    embedded,
    outcome,
    plain,
    squares,
    tiles,
)
from rm_tension.report.table import TextTable, header, printed_sections, tidy

PAGES = ("artifact.tex", "index.html", "README.md", "claims.md")
DIGITS = "%.10g"  # of numbers to download
ON_CARDS = ("S2", "S2b")  # tables that the page shows as cards, too
LONG = 30  # lines up to which the page shows a table without being asked
REMEDY = "`make tex` installs what it takes on Debian"
LATEXMK = ("latexmk", "-norc", "-pdf", "-interaction=nonstopmode", "-halt-on-error")
# All that LaTeX gets of the environment, beside PATH: TEXINPUTS, a texmf tree at home and others
# would put other packages in the place of TeX Live's.
KEPT = ("PATH", "LD_LIBRARY_PATH")
FIXED = {"SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1", "max_print_line": "1000"}
TEX_MARKS: dict[str, Any] = {  # LaTeX is full of braces
    "variable_start_string": "<<",
    "variable_end_string": ">>",
    "block_start_string": "<%",
    "block_end_string": "%>",
}

HELPERS: dict[str, Any] = {
    "header": header,
    "printed_sections": printed_sections,
    "axes": axes,
    "plain": plain,
    "squares": squares,
    "outcome": outcome,
    "dots": dots,
    "LONG": LONG,
    "ON_CARDS": ON_CARDS,
    "SIGNS": SIGNS,
    "PACKAGES": PACKAGES,
    "STEEPEST": STEEPEST,
}


def write(report: Report, folder: Path) -> None:
    """Write everything but the PDF below `folder`."""
    for name in ("tables", "figures"):
        (folder / name).mkdir(parents=True)
    for table in report.tables:
        text = latex(table, caption(table, report.context), provenance(report.context))
        (folder / "tables" / f"{table.name}.tex").write_text(text, encoding="utf-8")
        tidy(table).to_csv(
            folder / "tables" / f"{table.name}.csv", index=False, float_format=DIGITS
        )
    for figure in report.figures:
        save(figure, folder / "figures")
    for name in PAGES:
        (folder / name).write_text(_page(name, report, folder), encoding="utf-8")


def compile_pdf(folder: Path, name: str = "artifact") -> str:
    """Compile NAME.tex to NAME.pdf, the same bytes from the same source; return the log.

    Raise UserError if LaTeX is missing or refuses the document.
    """
    if which("latexmk") is None:
        raise UserError(f"latexmk not found, which compiles {name}.pdf: {REMEDY}")
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    with tempfile.TemporaryDirectory() as scratch:
        run = subprocess.run(
            [*LATEXMK, f"-outdir={scratch}", f"{name}.tex"],
            cwd=folder,
            env={**kept, **FIXED, "HOME": scratch},
            capture_output=True,
            check=False,
        )
        if run.returncode:
            output = run.stdout.decode(errors="replace").splitlines()
            errors = [line for line in output if line.startswith("!")]
            first = errors[0] if errors else f"latexmk exits {run.returncode}"
            source = folder / f"{name}.tex"
            raise UserError(f"{source}: {first}; if a package is missing: {REMEDY}")
        copyfile(Path(scratch) / f"{name}.pdf", folder / f"{name}.pdf")
        return (Path(scratch) / f"{name}.log").read_text(encoding="utf-8", errors="replace")


def markdown(table: TextTable) -> str:
    """Return a pipe table."""
    rows = [[text.replace("|", r"\|") for text in row] for row in (table.columns, *table.rows)]
    return tabulate(rows[1:], rows[0], tablefmt="pipe", disable_numparse=True)


def _page(name: str, report: Report, folder: Path) -> str:
    """Render one of PAGES, below `folder`, which has the figures already."""
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
    return environment.get_template(name).render(
        report=report,
        context=report.context,
        by_number={table.number: table for table in report.tables},
        choices=choices(report),
        papers={role: report.labels[role] for role in ROLES},
        tiles=tiles(report),
        embedded=partial(embedded, folder=folder),
        warnings=warnings(report.context),
        caption=partial(caption, context=report.context),
        describe=partial(describe, context=report.context),
        **HELPERS,
    )
