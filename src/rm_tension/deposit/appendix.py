"""The artifact appendix of a profile: two pages, in the outline that ACM and EuroSys ask for.

Needs, steps, licences and harmless messages are the tables of ARTIFACT.md, and verdicts are those
of the results, so that neither can differ from the appendix.
"""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rm_tension.analyse.claims import CLAIMS
from rm_tension.analyse.tally import summarise
from rm_tension.base.errors import UserError
from rm_tension.release.profile import FinishedProfile
from rm_tension.report.document import TEX_MARKS, compile_pdf
from rm_tension.report.latex import escape
from rm_tension.report.notes import warnings
from rm_tension.report.summary import quantities

ARTIFACT = Path("ARTIFACT.md")
# of the paper's abstract: mixing costs, each RM wins on its own side, the score finds the neurons,
# about half of them are shared, and without these the mixed RM suffers most
MAIN_CLAIMS = ("C1", "C2", "C6", "C9", "C10")
PAGES = 2

Rows = list[list[str]]


def write_appendix(
    run: FinishedProfile, doi: str | None, swhids: Mapping[str, str], folder: Path
) -> None:
    """Write PROFILE-appendix.pdf into `folder`; raise UserError if LaTeX is missing."""
    text = render(run, doi, swhids, ARTIFACT.read_text(encoding="utf-8"))
    name = f"{run.profile}-appendix.pdf"
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "appendix.tex").write_text(text, encoding="utf-8")
        log = compile_pdf(Path(scratch), "appendix")
        pages = re.search(r"Output written on .*\((\d+) page", log)
        if not pages or int(pages[1]) != PAGES:
            raise UserError(
                f"{name}: {pages[1] if pages else 'no'} pages instead of {PAGES}: "
                f"shorten what {ARTIFACT} says in the tables that it shows"
            )
        copyfile(Path(scratch) / "appendix.pdf", folder / name)


def render(run: FinishedProfile, doi: str | None, swhids: Mapping[str, str], artifact: str) -> str:
    """Return the LaTeX source."""
    claims = {claim.id: claim for claim in run.claims}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701  LaTeX, whose filter is `tex`
        **TEX_MARKS,
    )
    environment.filters |= {"tex": tex, "code": code}
    return environment.get_template("appendix.tex").render(
        profile=run.profile,
        doi=doi,
        swhids=swhids,
        warnings=warnings(run.context),
        summary=summarise(run.claims),
        claims=[(claims[id_], CLAIMS[id_].where) for id_ in MAIN_CLAIMS],
        quantities=quantities,
        needs=needs(artifact, run.profile),
        steps=table(artifact, "step"),
        licences=table(artifact, "what"),
        harmless=table(artifact, "message"),
    )


def table(markdown: str, first: str) -> Rows:
    """Return the rows of the table whose first column has this heading; raise UserError."""
    rows: Rows = []
    lines = markdown.splitlines()
    for start, line in enumerate(lines):
        if re.match(rf"\| *{re.escape(first)} *\|", line):
            for row in lines[start + 2 :]:
                if not row.startswith("|"):
                    break
                rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]])
            return rows
    raise UserError(f"{ARTIFACT}: no table with a column {first!r}, which the appendix shows")


def needs(artifact: str, profile: str) -> Rows:
    """Return what a profile needs, as pairs; "the same" is what the column before says."""
    headings = re.search(r"^\| \| (.*`mini`.*) \|$", artifact, re.MULTILINE)
    names = headings[1].split(" | ") if headings else []
    columns = [number for number, name in enumerate(names, start=1) if f"`{profile}`" in name]
    if not columns:
        raise UserError(f"{ARTIFACT}: no column for {profile} in its table of needs")
    pairs = []
    for label, *cells in table(artifact, ""):
        number = columns[0] - 1
        while cells[number] == "the same":
            number -= 1
        pairs.append([label, cells[number]])
    return pairs


def tex(markdown: str) -> str:
    """Return a cell of a table, with its code, as LaTeX; links and stress are left out."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown).replace("**", "").replace(r"\|", "|")
    parts = text.split("`")
    parts[1::2] = [rf"\code{{{code(words)}}}" for words in parts[1::2]]
    parts[0::2] = [escape(plain) for plain in parts[0::2]]
    return "".join(parts)


def code(text: str) -> str:
    """Return a command as LaTeX: two hyphens stay two."""
    return escape(text).replace("--", "-{}-")
