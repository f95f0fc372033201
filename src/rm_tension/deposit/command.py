"""`rm-tension deposit`: archive, report and cached results of a profile as one citable draft."""

import html
import re
import tarfile
import time
import zlib
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from cyclopts import App, Parameter
from jinja2 import Template

from rm_tension.analyse.context import Context
from rm_tension.analyse.tally import summarise
from rm_tension.analyse.verdicts import DecidedClaim
from rm_tension.base.config import MiniatureData, load_params
from rm_tension.base.errors import UserError
from rm_tension.base.files import atomic_write, read_json
from rm_tension.base.grid import Paths
from rm_tension.base.hub import sha256_of
from rm_tension.deposit import objects
from rm_tension.deposit.appendix import write_appendix
from rm_tension.deposit.identifiers import (
    CITATION,
    DOI,
    citation_text,
    doi_of,
    hash_of,
    read_citation,
    record_of,
    swhids,
    with_identifiers,
    write_doi,
)
from rm_tension.deposit.invenio import ZENODO, Draft, Server, files_of, patiently
from rm_tension.report.notes import warnings
from rm_tension.score.checkpoints import open_repository, read_outputs

DIST = Path("dist")
NOTES = Path(__file__).with_name("notes.md")
LOCK = "dvc.lock"
TEXTS = ("data", "tokens")
LIMIT_GB = 45.0  # Zenodo takes 50 GB and 100 files a record

app = App(name="deposit", default_parameter=Parameter(negative=()))


@app.command
def reserve(*, server: str = ZENODO, draft: str | None = None) -> None:
    """Make a draft and write its DOI into CITATION.cff and README.md.

    Args:
        server: Zenodo, its sandbox or another InvenioRDM server.
        draft: Take this one instead, such as that of a new version made on a record's page.
    """
    text = citation_text()
    if (known := doi_of(text)) and not draft:
        raise UserError(
            f"{CITATION}: has the DOI {known}; `rm-tension deposit send` goes on with its draft, "
            "--draft ID takes another one"
        )
    api = Server(server, writes=True)
    metadata = _metadata(read_citation(text), api.url)
    target = Draft(api, draft) if draft else Draft.create(api, metadata)
    doi = target.doi()
    write_doi(doi, api.url)
    print(f"{doi}: reserved for the draft {target.page}")
    print(f"it is in {CITATION} and README.md: commit them, then `make deposit PROFILE=...`")


@app.command
def prepare(
    *,
    profile: str = "mini",
    max_gb: float = LIMIT_GB,
    without: Annotated[list[str] | None, Parameter(consume_multiple=False)] = None,
    texts: bool = False,
) -> None:
    """Write dist/deposit/PROFILE: what a deposit holds. `make archive` comes first.

    Args:
        profile: Of params.yaml.
        max_gb: The most that the cached results may take; what does not fit is named.
        without: A folder of cached results that stays out, such as models; repeatable.
        texts: Take data and tokens of the hub's data sets, too, whose licences are their own.
    """
    load_params().refuse_unknown([profile])
    version = read_citation(citation_text())["version"]
    archive = DIST / f"rm-tension-{version}.tar.gz"
    commit, files = _read_archive(archive, profile)
    identifiers = swhids(commit)
    selection, store = _selection(profile, max_gb * 1e9, without or [], texts)
    with atomic_write(_folder(profile)) as folder:
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        citation = citation_text(folder / CITATION.name)
        (folder / CITATION.name).write_text(
            with_identifiers(citation, identifiers), encoding="utf-8"
        )
        (folder / archive.name).write_bytes(archive.read_bytes())
        objects.pack(selection.objects, store, folder / f"{profile}-cache.tar")
        write_appendix(profile, doi_of(citation), identifiers, folder)
        notes = _notes(profile, str(version), identifiers, selection, archive.name)
        (folder / f"{profile}-NOTES.md").write_text(notes, encoding="utf-8")
        sums = [f"{sha256_of(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
        (folder / f"{profile}-SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    for path, why in selection.left_out.items():
        print(f"left out: {path}: {why}")
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
    if not folder.is_dir():
        raise UserError(f"{folder}: not found; `make deposit PROFILE={profile}` writes it")
    paths = sorted(folder.iterdir())
    if folders := [path for path in paths if not path.is_file()]:
        raise UserError(f"{folders[0]}: not a file, and a draft has no folders: remove it")
    text = citation_text(folder / CITATION.name)
    doi = doi_of(text)
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
    citation = read_citation(text)
    draft.note(str(citation["version"]), _note(citation))
    if others := sorted(set(draft.names()) - {path.name for path in paths}):
        print(f"the draft also holds {', '.join(others)}")
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
    outputs = objects.outputs_of(read_outputs(repository), profile)
    if not outputs:
        raise UserError(f"dvc.lock: no output of {profile}: nothing was run of it at this commit")
    filler = objects.Filler(outputs, Path(repository.repo.cache.local.path))
    if Path(source).is_file():
        try:
            with Path(source).open("rb") as tar:
                filler.fill(tar)
        except objects.InterruptedTarError as error:
            raise UserError(f"{source}: {error}; fetch it again") from None
        except UserError as error:
            raise UserError(f"{source}: {error}") from None
    else:
        _download(*_record(source, server), f"{profile}-cache.tar", filler)
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
    creators = [
        {"type": "personal", "family_name": person["family-names"]}
        | {"given_name": person.get("given-names", "")}
        if "family-names" in person
        else {"type": "organizational", "name": person["name"]}
        for person in citation["authors"]
    ]
    papers = [
        {"identifier": work["url"], "scheme": "url", "relation_type": {"id": "references"}}
        for work in citation.get("references", [])
    ]
    return {
        "title": citation["title"],
        "creators": [{"person_or_org": creator} for creator in creators],
        "description": f"<p>{html.escape(citation['title'])}</p>",
        "publication_date": time.strftime("%Y-%m-%d", time.gmtime()),
        "publisher": "Zenodo" if host.endswith("zenodo.org") else host,
        "resource_type": {"id": "software"},
        "rights": [{"id": citation["license"].lower()}],
        "version": str(citation["version"]),
        "related_identifiers": papers,
    }


def _read_archive(archive: Path, profile: str) -> tuple[str, dict[str, bytes]]:
    """Return the commit of an archive, which must be HEAD, and what of it stands beside it, too."""
    report = Paths(profile).reports
    wanted = {
        CITATION.name: CITATION,
        f"{profile}-report.html": report / "index.html",
        f"{profile}-report.pdf": report / "artifact.pdf",
        LOCK: Path(LOCK),
    }
    try:
        with tarfile.open(archive, "r:gz") as tar:
            commit = tar.pax_headers.get("comment", "")  # git archive's
            top = archive.name.removesuffix(".tar.gz")
            contents = {name: tar.extractfile(f"{top}/{path}") for name, path in wanted.items()}
            files = {name: content.read() for name, content in contents.items() if content}
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise UserError(f"{archive}: {error}; `make archive` makes it") from None
    except KeyError as error:
        raise UserError(f"{archive}: {error}; commit it, and `make archive`") from None
    if commit != hash_of("HEAD"):
        raise UserError(f"{archive}: of commit {commit[:12]}, which is not HEAD; `make archive`")
    if files.pop(LOCK) != Path(LOCK).read_bytes():  # by which the cached results are chosen
        raise UserError(f"{archive}: has another {LOCK} than is here; commit it, `make archive`")
    return commit, files


def _selection(
    profile: str, max_bytes: float, without: list[str], texts: bool
) -> tuple[objects.Selection, Path]:
    repository = open_repository(".")
    outputs = objects.outputs_of(read_outputs(repository), profile)
    kinds = {path.split("/")[0] for path in outputs}
    if unknown := set(without) - kinds:
        raise UserError(f"--without {unknown.pop()}: {profile} has {', '.join(sorted(kinds))}")
    store = Path(repository.repo.cache.local.path)
    return objects.select(outputs, store, max_bytes, left_out(profile, without, texts)), store


def left_out(profile: str, without: list[str], texts: bool) -> dict[str, str]:
    """Return which folders stay out, and why."""
    reasons = dict.fromkeys(without, "as asked")
    if not texts and not isinstance(load_params().profiles[profile].data.source, MiniatureData):
        reasons |= dict.fromkeys(TEXTS, "the texts of others; --texts takes them")
    return reasons


def _notes(
    profile: str,
    version: str,
    identifiers: dict[str, str],
    selection: objects.Selection,
    archive: str,
) -> str:
    results = Paths(profile).results
    files = {
        archive: "the repository: code, settings, dvc.lock, documents, reports",
        f"{profile}-report.html, {profile}-report.pdf": "every table and figure",
        f"{profile}-appendix.pdf": "the artifact appendix, two pages",
        f"{profile}-cache.tar": "cached results: objects of DVC's cache, named by their md5",
        CITATION.name: "the citation, with the identifiers below",
        f"{profile}-SHA256SUMS": "checksums of all of these",
    }
    template = Template(NOTES.read_text(encoding="utf-8"), keep_trailing_newline=True)
    text: str = template.render(
        version=version,
        profile=profile,
        warnings=warnings(read_json(results / "context.json", Context)),
        summary=summarise(read_json(results / "claims.json", list[DecidedClaim])),
        files=files,
        swhids=identifiers,
        outputs=selection.outputs,
        bytes=selection.bytes,
        left_out=selection.left_out,
    )
    return text


def _note(citation: dict[str, Any]) -> str:
    """Return the draft's technical note."""
    lines = [f"{one['description']}: {one['value']}" for one in citation["identifiers"]]
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)


def _record(source: str, server: str) -> tuple[Server, str]:
    """Return the server and the id of a record by its DOI or address."""
    if address := re.match(r"(https?://[^/]+)/(?:api/)?records/([\w-]+)", source, re.ASCII):
        return Server(address[1]), address[2]
    doi = re.sub(r"^(https?://(dx\.)?doi\.org/|doi:)", "", source)
    if DOI.fullmatch(doi):
        return Server(server), record_of(doi)
    raise UserError(f"{source}: not a file here, a DOI, or an address like {ZENODO}/records/ID")


def _download(server: Server, id_: str, name: str, filler: objects.Filler) -> None:
    """Fill a cache from a file of a record; after a break go on at the object that broke off."""
    files = files_of(server, id_)
    if name not in files:
        raise UserError(f"{server.url}: record {id_} has no {name}, but {', '.join(files)}")
    print(f"{name}: {files[name] / 1e6:,.1f} MB from {server.url}", flush=True)
    patiently(partial(_read, server, id_, name, filler), name)


def _read(server: Server, id_: str, name: str, filler: objects.Filler) -> None:
    with server.stream(f"/api/records/{id_}/files/{name}/content", filler.position) as (tar, first):
        filler.position = first
        filler.fill(tar)
