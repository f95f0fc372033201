"""Checkpoints by key, through DVC's public file system: each file is checked before it gets its name.

This is not `dvc pull`, through which a damaged file goes into the cache and the working tree without a word unless the
remote has `verify = true`, and which waits for a running `dvc repro`.
"""

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.api import DVCFileSystem
from dvc.fs.callbacks import TqdmCallback
from filelock import FileLock

from rm_tension.base.errors import UserError, without_passwords
from rm_tension.base.files import whole, write_json

REMEDIES = (
    "what came whole is kept: once this is mended, the same call goes on from there",
    "what DVC's cache lacks comes from the default remote: `dvc remote add --default public URL` (docs/CACHE.md)",
)


@dataclass(frozen=True)
class _Output:
    """A folder of models/ as dvc.lock knows it; `md5` is that of its list of files."""

    files: DVCFileSystem
    place: str
    md5: str

    def listed(self) -> dict[str, str]:
        """The md5 of each of its files by name."""
        with _named(f"{self.place}, list of files (md5 {self.md5}.dir)"):
            found = self.files.find(f"/{self.place}", detail=True).items()
            listed = {name.removeprefix(f"/{self.place}/"): md5 for name, entry in found if (md5 := _md5(entry))}
            written = json.dumps([{"md5": md5, "relpath": name} for name, md5 in sorted(listed.items())])  # as DVC does
            whole_list = hashlib.md5(written.encode(), usedforsecurity=False).hexdigest() == self.md5
            if not whole_list or any(".." in Path(name).parts for name in listed):
                kept = self.files.repo.site_cache_dir
                raise ValueError(f"damaged, and DVC keeps it: once the remote is mended, remove {kept}")
        return listed


def find_checkpoint(key: str, profile: str, repo: str | os.PathLike[str] | None, rev: str | None) -> Path:
    """The folder of the checkpoint `key`: of the working tree, or of this user's cache, into which it is fetched.

    `repo` is a path or git URL of a repository like this one (None: the one around the working directory), `rev` any
    git revision of it (None: the working tree of one at a path, the default branch of one at a URL). Raises UserError
    if the checkpoint was never trained, or if DVC's cache and remote cannot provide all of its files whole.
    """
    files = _open(os.fspath(repo or Path.cwd()), rev)
    output = _locate(files, f"models/{profile}/reward/{key}", f"train@{profile}-{key}")
    here = Path(files.repo.root_dir, output.place)
    if rev is None and files.repo.url is None and here.is_dir():
        if lacking := _lacking(here, output.listed()):
            raise UserError(
                f"{here}: not what dvc.lock records, in {', '.join(lacking)}; if it is damaged, remove it and try "
                "again, if it is newer, `dvc commit` it"
            )
        _say(f"{output.place}: already in {here}, nothing is downloaded")
        return here
    return _cached(output)


def _md5(entry: Mapping[str, Any]) -> str | None:
    """Of what dvc.lock has at a place, whatever lies there; None if it has nothing."""
    md5: str | None = entry.get("dvc_info", {}).get("md5")
    return md5


def cache_folder() -> Path:
    """Where fetched checkpoints are kept, each in a folder that is named by its md5, beside its list of files."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "rm-tension")


def file_md5(path: Path) -> str:
    """As DVC has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _open(where: str, rev: str | None) -> DVCFileSystem:
    owned = "if another user owns it, `git config --global --add safe.directory DIR`"
    with _named(f"{where}{f' at {rev}' if rev else ''}", remedies=(owned,)):
        files = DVCFileSystem(where, rev=rev)
        repo = files.repo  # opened here, and cloned if it is at a URL
        if not repo.fs.isfile(repo.fs.join(repo.root_dir, "dvc.yaml")):
            raise FileNotFoundError("no dvc.yaml there, so it is no repository like this one")
        return files


def _locate(files: DVCFileSystem, place: str, stage: str) -> _Output:
    md5 = None
    writing = "damaged, or a running `dvc repro` is writing it: try again, or `git checkout` it"
    with _named("dvc.lock", remedies=(writing,)):
        try:
            md5 = _md5(files.info(f"/{place}"))
        except FileNotFoundError as error:
            raise UserError(
                f"{place}: dvc.yaml has no such reward model: PROFILE and BACKBONE-OBJECTIVE-SEED must be of `grid` in "
                f"params.yaml; `dvc stage list --name-only | grep ^train@` lists them, such as {stage}"
            ) from error
        if md5 and not re.fullmatch(r"[0-9a-f]{32}\.dir", md5):
            raise ValueError(f"{md5!r} is not an md5")
    if md5 is None:
        raise UserError(
            f"{place}: not in dvc.lock, so nobody has trained it; `dvc repro {stage}`, or name a repository or "
            "revision that has it (repo, rev); if a `dvc repro` is running, it may be writing the file: try again"
        )
    return _Output(files, place, md5.removesuffix(".dir"))


def _cached(output: _Output) -> Path:
    """The folder in this user's cache; where all is there it needs no network, and writes nothing."""
    folder = cache_folder() / output.md5
    listing = folder.with_suffix(".json")
    if listing.is_file() and not _lacking(folder, json.loads(listing.read_text(encoding="utf-8"))):
        _say(f"{output.place}: already in {folder}, nothing is downloaded")
        return folder
    with _named(os.fspath(folder), remedies=()):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")), _scratch(folder.with_suffix(".partial")) as scratch:
            listed = output.listed()
            lacking = _lacking(folder, listed)
            _say(f"{output.place}: {len(lacking)} files to fetch into {folder}")
            for name in lacking:
                _fetch(output, name, listed[name], scratch, folder / name)
            write_json(listing, listed)
    return folder


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder that is empty at the start, whatever a killed run left in it, and gone at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _lacking(folder: Path, listed: Mapping[str, str]) -> list[str]:
    """The files that are not there or not whole; others in the folder are nobody's concern."""
    return [n for n, md5 in listed.items() if not (folder / n).is_file() or file_md5(folder / n) != md5]


def _fetch(output: _Output, name: str, md5: str, scratch: Path, target: Path) -> None:
    """Copy a file to `target`, where it appears whole and with the right md5, or not at all."""
    place, part = f"{output.place}/{name}", scratch / "part"
    with _named(f"{place} (md5 {md5})"), TqdmCallback(desc=place, bytes=True) as bar:
        output.files.get_file(f"/{place}", os.fspath(part), callback=bar)
        if (found := file_md5(part)) != md5:
            raise ValueError(f"damaged: {part.stat().st_size} bytes with md5 {found}")
        with whole(target) as partial:
            part.replace(partial)


@contextmanager
def _named(what: str, remedies: tuple[str, ...] = REMEDIES) -> Iterator[None]:
    """Say of which file or place an error is."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of DVC, git, HTTP, S3 and the disk: they share no other base
        reasons: list[str] = []
        cause: BaseException | None = error
        while cause:  # where DVC says no more than "SCM error"
            reasons.append(str(cause) or type(cause).__name__)
            cause = cause.__cause__
        raise UserError("\n  ".join([f"{what}: {': '.join(dict.fromkeys(reasons))}", *remedies])) from error


def _say(text: str) -> None:
    print(without_passwords(text), file=sys.stderr)
