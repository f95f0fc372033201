"""DOI and SWHIDs, and where they are written: CITATION.cff and the README's badge.

The SWHIDs of a commit and its tree are git's own hashes. A commit cannot hold its own, so they
stand beside the archive in a copy of CITATION.cff. A DOI is reserved before the commit and can.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from rm_tension.base.errors import UserError
from rm_tension.base.files import atomic_write
from rm_tension.base.runs import git_output

CITATION, README = Path("CITATION.cff"), Path("README.md")
DOI = re.compile(r"10\.\d{4,9}/[\w.;()/:-]+", re.ASCII)
BADGE = re.compile(r"^\[!\[DOI\]\(.*\n\n?", re.MULTILINE)
SHA1 = 40  # hexadecimal digits; SWHIDs are defined for git's SHA-1 repositories


def hash_of(revision: str) -> str:
    """Return git's hash of a revision; raise UserError if there is none."""
    return git_output("rev-parse", revision).strip()


def swhids(commit: str) -> dict[str, str]:
    """Return the SWHIDs of a commit and of its tree, by what they name."""
    hashes = {"rev": hash_of(commit), "dir": hash_of(f"{commit}^{{tree}}")}
    if any(len(digits) != SHA1 for digits in hashes.values()):
        raise UserError(f"{commit}: not of a SHA-1 repository, for which SWHIDs are defined")
    return {
        "commit": f"swh:1:rev:{hashes['rev']}",
        "tree": f"swh:1:dir:{hashes['dir']}",
    }


def citation_text(path: Path = CITATION) -> str:
    """Return the text of a CITATION.cff; raise UserError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); `git checkout` has it") from None


def read_citation(text: str) -> dict[str, Any]:
    """Return the content of a CITATION.cff; raise UserError if it is none."""
    try:
        citation: dict[str, Any] = yaml.safe_load(text)
        _ = citation["title"], citation["version"], citation["authors"], citation["license"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(f"{CITATION}: not a citation file ({error})") from None
    return citation


def doi_of(text: str) -> str | None:
    """Return the DOI of a CITATION.cff."""
    doi: str | None = read_citation(text).get("doi")
    return doi


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


def with_identifiers(text: str, identifiers: dict[str, str]) -> str:
    """Return a CITATION.cff with SWHIDs, by what they name."""
    lines = ["identifiers:"]
    for what, swhid in identifiers.items():
        lines += ["  - type: swh", f"    value: {swhid}"]
        lines += [f"    description: the {what} of the archive that this file lies beside"]
    return text.rstrip("\n") + "\n" + "\n".join(lines) + "\n"
