"""DOI and SWHIDs, and where they are written: CITATION.cff and the README's badge.

The SWHIDs of a commit and its tree are git's own hashes. A commit cannot hold its own, so they
stand beside the archive in a copy of CITATION.cff. A DOI is reserved before the commit and can.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rm_tension.base.errors import UserError
from rm_tension.base.files import atomic_write
from rm_tension.base.runs import git_output

CITATION, README = Path("CITATION.cff"), Path("README.md")
DOI = re.compile(r"10\.\d{4,9}/[\w.;()/:-]+", re.ASCII)
BADGE = re.compile(r"^\[!\[DOI\]\(.*\n\n?", re.MULTILINE)


def swhids(commit: str) -> dict[str, str]:
    """Return the SWHIDs of a commit and of its tree, by what they name."""
    tree = git_output("rev-parse", f"{commit}^{{tree}}").strip()
    return {"commit": f"swh:1:rev:{commit}", "tree": f"swh:1:dir:{tree}"}


def read_citation(path: Path = CITATION) -> dict[str, Any]:
    """Return the content of a CITATION.cff; raise UserError if it is none."""
    try:
        citation: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        _ = citation["title"], citation["version"], citation["authors"], citation["license"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a citation file ({error}); `git checkout` has it") from None
    return citation


def record_of(doi: str) -> str:
    """Return the record's id, with which the DOIs of Zenodo and InvenioRDM end."""
    return re.split(r"[/.]", doi)[-1]


def write_doi(doi: str, server: str) -> None:
    """Write a DOI into CITATION.cff and the README's badge, in the place of another one."""
    if not DOI.fullmatch(doi):  # it comes from a server, and goes into YAML and Markdown
        raise UserError(f"{server}: {doi!r} is not a DOI")
    citation = re.sub(r"^doi:.*\n", "", CITATION.read_text(encoding="utf-8"), flags=re.MULTILINE)
    citation = re.sub(r"^(version:.*)$", rf"\g<1>\ndoi: {doi}", citation, flags=re.MULTILINE)
    title, _, rest = BADGE.sub("", README.read_text(encoding="utf-8")).partition("\n\n")
    badge = f"[![DOI]({server}/badge/DOI/{doi}.svg)](https://doi.org/{doi})"
    for path, text in ((CITATION, citation), (README, f"{title}\n\n{badge}\n\n{rest}")):
        with atomic_write(path) as partial:
            partial.write_text(text, encoding="utf-8")


def add_identifiers(path: Path, identifiers: Mapping[str, str]) -> None:
    """Add SWHIDs, by what they name, to a CITATION.cff."""
    entries = [
        {
            "type": "swh",
            "value": swhid,
            "description": f"the {what} of the archive that this file lies beside",
        }
        for what, swhid in identifiers.items()
    ]
    citation = read_citation(path)
    citation["identifiers"] = [*citation.get("identifiers", ()), *entries]
    text = yaml.safe_dump(citation, sort_keys=False, allow_unicode=True)
    path.write_text(text, encoding="utf-8")
