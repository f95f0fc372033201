"""`rm-tension deposit`: archive, report and cached results of a profile as one citable draft."""

import re
import tarfile
import time
import zlib
from http import HTTPStatus
from pathlib import Path
from shutil import copyfile
from typing import Any
from urllib.parse import urlsplit

from cyclopts import App, Parameter
from filelock import FileLock
from jinja2 import Template

from rm_tension.analyse.tally import summarise
from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.base.files import atomic_write
from rm_tension.base.hub import sha256_of
from rm_tension.base.runs import git_output
from rm_tension.deposit.appendix import write_appendix
from rm_tension.deposit.identifiers import (
    CITATION,
    DOI,
    add_identifiers,
    read_citation,
    record_of,
    swhids,
    write_doi,
)
from rm_tension.deposit.invenio import ZENODO, Draft, RefusedError, Server, patiently
from rm_tension.deposit.objects import Filler, outputs_of, pack, select
from rm_tension.release.profile import FinishedProfile
from rm_tension.report.notes import warnings
from rm_tension.score.checkpoints import open_repository, read_outputs

DIST = Path("dist")
NOTES = Path(__file__).with_name("notes.md")
LIMIT_GB = 45.0  # Zenodo takes 50 GB and 100 files a record

app = App(name="deposit", default_parameter=Parameter(negative=()))


@app.command
def reserve(*, server: str = ZENODO, draft: str | None = None) -> None:
    """Make a draft and write its DOI into CITATION.cff and README.md.

    Args:
        server: Zenodo, its sandbox or another InvenioRDM server.
        draft: Take this one instead, such as that of a new version made on a record's page.
    """
    citation = read_citation()
    if "doi" in citation and not draft:
        raise UserError(
            f"{CITATION}: has the DOI {citation['doi']}; `rm-tension deposit send` goes on with "
            "its draft, --draft ID takes another one"
        )
    api = Server(server, writes=True)
    target = Draft(api, draft) if draft else Draft.create(api, _metadata(citation, api.url))
    doi = target.doi(f"go on with the same command and --draft {target.id}")
    write_doi(doi, api.url)
    print(f"{doi}: reserved for the draft {target.page}")
    print(f"it is in {CITATION} and README.md: commit them, then `make deposit PROFILE=...`")


@app.command
def prepare(*, profile: str = "mini", max_gb: float = LIMIT_GB, texts: bool = False) -> None:
    """Write dist/deposit/PROFILE: what a deposit holds. `make archive` comes first.

    Args:
        profile: Of params.yaml.
        max_gb: The most that the cached results may take; what does not fit is named.
        texts: Take data and tokens of the hub's data sets, too, whose licences are their own.
    """
    run = FinishedProfile.open(profile)
    version = read_citation()["version"]
    archive = DIST / f"rm-tension-{version}.tar.gz"
    identifiers = swhids(_commit_of(archive))
    store = Path(run.repository.repo.cache.local.path)
    own = run.setting(run.paths.data, "data")["source"]["kind"] == "miniature"
    selection = select(outputs_of(run.outputs, profile), store, max_gb * 1e9, texts or own)
    files = {
        archive.name: archive,
        CITATION.name: CITATION,
        f"{profile}-report.html": run.paths.reports / "index.html",
        f"{profile}-report.pdf": run.paths.reports / "artifact.pdf",
    }
    if missing := [path for path in files.values() if not path.is_file()]:
        raise UserError(f"{missing[0]}: not found; `dvc repro report@{profile}` and commit it")
    notes = Template(NOTES.read_text(encoding="utf-8"), keep_trailing_newline=True).render(
        version=version,
        profile=profile,
        warnings=warnings(run.context),
        summary=summarise(run.claims),
        archive=archive.name,
        swhids=identifiers,
        selection=selection,
    )
    with atomic_write(_folder(profile)) as folder:
        folder.mkdir()
        for name, path in files.items():
            copyfile(path, folder / name)
        add_identifiers(folder / CITATION.name, identifiers)
        write_appendix(run, read_citation().get("doi"), identifiers, folder)
        pack(selection.objects, store, folder / f"{profile}-cache.tar")
        (folder / f"{profile}-NOTES.md").write_text(notes, encoding="utf-8")
        sums = [f"{sha256_of(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
        (folder / f"{profile}-SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    for output, why in selection.left_out.items():
        print(f"left out: {output}: {why}")
    print(
        f"{_folder(profile)}: {len(selection.outputs)} cached outputs, "
        f"{selection.bytes / 1e6:.1f} MB; left out: {len(selection.left_out)}"
    )


@app.command
def send(*, profile: str = "mini", server: str = ZENODO, dry_run: bool = False) -> None:
    """Send dist/deposit/PROFILE to the draft of CITATION.cff's DOI; a person publishes it.

    Files that the draft has whole are not sent again.

    Args:
        profile: Of params.yaml.
        server: As for `reserve`.
        dry_run: Say what would be sent, and talk to nobody.
    """
    folder = _folder(profile)
    paths = sorted(path for path in folder.glob("*") if path.is_file())
    if not paths:
        raise UserError(f"{folder}: not found; `make deposit PROFILE={profile}` writes it")
    doi = read_citation(folder / CITATION.name).get("doi")
    if dry_run:
        print(f"{server}, draft of {doi or 'a DOI that `rm-tension deposit reserve` gets'}:")
        for path in paths:
            print(f"  {path.name:<28} {path.stat().st_size:>15,} bytes")
        print(f"{len(paths)} files, {_mb(paths)}; nothing was sent")
        return
    if not doi:
        raise UserError(
            f"{folder / CITATION.name}: no doi; `rm-tension deposit reserve`, commit, and "
            f"`make deposit PROFILE={profile}`"
        )
    draft = Draft(Server(server, writes=True), record_of(doi))
    if (reserved := draft.doi()) != doi:
        raise UserError(f"{CITATION}: {doi}, but the draft {draft.page} has {reserved}")
    for number, path in enumerate(paths, start=1):
        print(f"{number}/{len(paths)} {path.name}, {_mb([path])}: ", end="", flush=True)
        print("sent" if draft.send(path) else "is there", flush=True)
    print(f"look at {draft.page}, and publish it there")


@app.command
def fetch(source: str, *, profile: str = "mini", server: str = ZENODO) -> None:
    """Fill DVC's cache from a deposit; `dvc checkout` does the rest.

    Each object is checked against its md5 and dvc.lock. What is in the cache already stays.

    Args:
        source: A DOI, the address of a record, or a PROFILE-cache.tar that is here.
        profile: Of params.yaml.
        server: Of a DOI.
    """
    load_params().refuse_unknown([profile])
    repository = open_repository(".")
    outputs = outputs_of(read_outputs(repository), profile)
    if not outputs:
        raise UserError(f"dvc.lock: no output of {profile}: nothing was run of it at this commit")
    store = Path(repository.repo.cache.local.path)
    store.parent.mkdir(parents=True, exist_ok=True)
    filler = Filler(outputs, store)
    with FileLock(f"{store}.lock"):  # of two processes the second finds the objects there
        if Path(source).is_file():
            _fill_from(Path(source), filler)
        else:
            _download(source, server, f"{profile}-cache.tar", filler)
    if not filler.written + filler.there:
        raise UserError(
            f"{source}: no object of {profile} as dvc.lock has it, but {filler.skipped} others: is "
            "it of another --profile or commit?"
        )
    print(
        f"{profile}: {filler.written} objects written, {filler.there} were there, {filler.skipped} "
        "skipped, which dvc.lock does not name"
    )
    missing = sorted(outputs.keys() - set(filler.complete()))
    for path in missing:
        print(f"not in it: {path}")
    print(f"now `dvc checkout {'--allow-missing ' if missing else ''}--with-deps report@{profile}`")


def _folder(profile: str) -> Path:
    return DIST / "deposit" / profile


def _mb(paths: list[Path]) -> str:
    return f"{sum(path.stat().st_size for path in paths) / 1e6:,.1f} MB"


def _metadata(citation: dict[str, Any], url: str) -> dict[str, Any]:
    """Return a new draft's metadata; a person completes it on the draft's page."""
    host = urlsplit(url).hostname or url
    papers = [
        {"identifier": work[scheme], "scheme": scheme, "relation_type": {"id": "references"}}
        for work in citation.get("references", [])
        for scheme in ("doi", "url")
        if scheme in work
    ]
    licences = citation["license"]
    return {
        "title": citation["title"],
        "creators": [_creator(author) for author in citation["authors"]],
        "publication_date": time.strftime("%Y-%m-%d", time.gmtime()),
        "publisher": "Zenodo" if host.endswith("zenodo.org") else host,
        "resource_type": {"id": "software"},
        "rights": [
            {"id": licence.lower()}
            for licence in (licences if isinstance(licences, list) else [licences])
        ],
        "version": str(citation["version"]),
        "related_identifiers": papers,
    }


def _creator(author: dict[str, str]) -> dict[str, Any]:
    """Return a person or entity of CITATION.cff as InvenioRDM has it, which needs a family name."""
    parts = ("name-particle", "family-names", "name-suffix")
    family = " ".join(author[part] for part in parts if part in author)
    given = author.get("given-names", "")
    who: dict[str, Any] = {"type": "personal", "family_name": family, "given_name": given}
    if "name" in author:
        who = {"type": "organizational", "name": author["name"]}
    elif not family:
        who = {"type": "personal", "family_name": given or author.get("alias", "")}
    if "orcid" in author:
        number = author["orcid"].rstrip("/").rpartition("/")[2]
        who["identifiers"] = [{"scheme": "orcid", "identifier": number}]
    creator: dict[str, Any] = {"person_or_org": who}
    if "affiliation" in author:
        creator["affiliations"] = [{"name": author["affiliation"]}]
    return creator


def _commit_of(archive: Path) -> str:
    """Return the commit of an archive; raise UserError unless it is whole and of what is here."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.getmembers()  # to its end
            commit = tar.pax_headers.get("comment", "")  # git archive's
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise UserError(f"{archive}: {error}; `make archive` makes it") from None
    if commit != git_output("rev-parse", "HEAD").strip():
        raise UserError(f"{archive}: of commit {commit[:12]}, which is not HEAD; `make archive`")
    if changed := git_output("diff", "--name-only", "HEAD").split("\n")[0]:
        raise UserError(f"{archive}: has another {changed} than is here; commit it, `make archive`")
    return commit


def _fill_from(source: Path, filler: Filler) -> None:
    try:
        with source.open("rb") as tar:
            filler.fill(tar)
    except (EOFError, UserError) as error:
        raise UserError(f"{source}: {error}; get it from the deposit again") from None


def _download(source: str, server: str, name: str, filler: Filler) -> None:
    """Fill a cache from a file of a record; after a break go on at the object that broke off."""
    doi = re.sub(r"^(https?://(dx\.)?doi\.org/|doi:)", "", source)
    place = r"(https?://[^/]+)/(?:(?:api/)?records?/|doi/10\.\d+/)([\w.-]+)"
    if address := re.match(place, source, re.ASCII):
        api, record = Server(address[1]), record_of(address[2])
    elif DOI.fullmatch(doi):
        api, record = Server(server), record_of(doi)
    else:
        raise UserError(f"{source}: not a file here, a DOI, or an address like {ZENODO}/records/ID")

    def read() -> None:
        path = f"/api/records/{record}/files/{name}/content"
        with api.stream(path, filler.position) as (tar, filler.position):
            filler.fill(tar)

    print(f"{name}: from {api.url}", flush=True)
    try:
        patiently(read, name)
    except RefusedError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        raise UserError(f"{error}\nis record {record} published, and of this --profile?") from None
