"""Checkpoints by key: found in dvc.lock, fetched by md5 from DVC's cache or its remote, and checked before use.

This is not `dvc pull`, through which a damaged file goes into the cache and the working tree without a word unless the
remote has `verify = true`, and which waits for a running `dvc repro`. Of DVC's inner workings it uses three things: the
opened repository, and where its cache and its remote keep the file with an md5.
"""

import atexit
import hashlib
import json
import os
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dvc.config import NoRemoteError
from dvc.exceptions import DvcException
from dvc.fs.callbacks import TqdmCallback
from dvc.repo import Repo
from dvc.repo.open_repo import clean_repos
from filelock import FileLock

from rm_tension.base.config import Grid, Profile, parse_params
from rm_tension.base.errors import UserError, without_passwords
from rm_tension.base.files import whole
from rm_tension.base.grid import Model, Paths, models

REMEDY = "or a running `dvc repro` is writing it: try again, or `git checkout` it"

atexit.register(clean_repos)  # DVC's clones of repositories at URLs, each of which serves all of a process's calls


@dataclass(frozen=True)
class Checkpoint:
    """A trained reward model on this disk, whole and checked, and the profile that it was trained under."""

    model: Model
    profile: Profile
    folder: Path


@dataclass(frozen=True)
class _Output:
    """A folder as dvc.lock knows it; `md5` is that of its list of files, `size` in bytes."""

    place: Path
    md5: str
    size: int
    nfiles: int

    def __str__(self) -> str:
        return f"{self.place} ({self.size / 1e6:,.1f} MB in {self.nfiles} files)"


def find_checkpoint(key: str, profile: str, repo: str | os.PathLike[str] | None, rev: str | None) -> Checkpoint:
    """The checkpoint `key`: in the working tree, or in this user's cache, into which it is fetched if it is not there.

    `repo` is a path or git URL of a repository like this one (None: the one around the working directory), `rev` any
    git revision of it (None: the working tree of one at a path, the default branch of one at a URL). Raises UserError
    if the checkpoint was never trained, or if neither DVC's cache nor its remote can provide all of its files whole.
    """
    with _open(repo, rev) as source:
        params = parse_params(_read(source, "params.yaml"), "params.yaml")
        if profile not in params.profiles:
            raise UserError(f"no profile {profile!r}: there are {', '.join(params.profiles)}")
        model = find_model(params.grid, key)
        output = _locked(source, f"train@{profile}-{key}", Paths(profile).reward_model(model))
        is_working_tree = source.url is None and rev is None
        if is_working_tree and Path(source.root_dir, output.place).exists():
            folder = Path(source.root_dir, output.place)
            if folder_md5(folder) != output.md5:
                raise UserError(
                    f"{folder}: not what dvc.lock records (md5 {output.md5}); if it is damaged, remove it and try "
                    "again, if it is newer, `dvc commit` it"
                )
            _say(f"{output}: already in {folder}, nothing is downloaded")
        else:
            folder = cache_folder() / output.md5
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_suffix(".lock")):
                _fill(folder, output, source)
        return Checkpoint(model, params.profiles[profile], folder)


def find_model(grid: Grid, key: str) -> Model:
    """The model of the grid that `key` names; UserError that lists the axes if there is none."""
    for model in models(grid):
        if model.key == key:
            return model
    raise UserError(
        f"no reward model {key!r}: keys are BACKBONE-OBJECTIVE-SEED with a backbone of {', '.join(grid.backbones)}; "
        f"an objective of {', '.join(grid.objectives)}; a seed of {', '.join(map(str, grid.seeds))}"
    )


def cache_folder() -> Path:
    """Where fetched checkpoints are kept, each in a folder that is named by its md5."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "rm-tension")


def file_md5(path: Path) -> str:
    """As DVC has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def folder_md5(folder: Path) -> str:
    """What dvc.lock would record, without ".dir": the md5 of the list that DVC makes of the folder's files."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [{"md5": file_md5(path), "relpath": path.relative_to(folder).as_posix()} for path in paths]
    listed = json.dumps(sorted(files, key=lambda file: file["relpath"]), sort_keys=True)
    return hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest()


@contextmanager
def _open(repo: str | os.PathLike[str] | None, rev: str | None) -> Iterator[Repo]:
    where = os.fspath(repo or Path.cwd())
    try:
        with Repo.open(where, rev=rev) as opened:
            yield opened
    except (DvcException, OSError) as error:
        reasons, cause = [str(error)], error.__cause__
        while cause:  # where DVC says no more than "SCM error"
            reasons.append(str(cause))
            cause = cause.__cause__
        raise UserError(f"{where}{f' at {rev}' if rev else ''}: {': '.join(dict.fromkeys(reasons))}") from error


def _read(source: Repo, name: str) -> Any:
    try:
        with source.fs.open(source.fs.join(source.root_dir, name), encoding="utf-8") as file:
            return yaml.load(file, yaml.CSafeLoader)  # the safe loader, fast: dvc.lock has thousands of lines
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: damaged, {REMEDY} ({' '.join(str(error).split())})") from error


def _locked(source: Repo, stage: str, place: Path) -> _Output:
    try:
        outs = _read(source, "dvc.lock")["stages"].get(stage, {}).get("outs", [])
        for out in outs:
            if out["path"] == place.as_posix():
                return _Output(place, _checked_md5(out["md5"].removesuffix(".dir")), out["size"], out["nfiles"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"dvc.lock: damaged at stage {stage}, {REMEDY} ({error})") from error
    raise UserError(
        f"{place}: not in dvc.lock, so nobody has trained it; `dvc repro {stage}`, or name a repository or revision "
        "that has it (repo, rev); if a `dvc repro` is running, it may be writing the file: try again"
    )


def _checked_md5(md5: str) -> str:
    if not re.fullmatch("[0-9a-f]{32}", md5):
        raise ValueError(f"{md5!r} is not an md5")
    return md5


def _files(listing: Path, folder: Path) -> dict[str, str]:
    """The md5 of each file of the folder by its name; UserError if one would not be in it, or if it is no list."""
    try:
        files = {file["relpath"]: _checked_md5(file["md5"]) for file in json.loads(listing.read_text(encoding="utf-8"))}
        outside = [name for name in files if not (folder / name).resolve().is_relative_to(folder.resolve())]
        if outside:
            raise ValueError(f"{outside[0]!r} would be written outside {folder}")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{listing}: not a list of files that DVC made, so nothing of it is fetched ({error})"
        ) from error
    return files


def _fill(folder: Path, output: _Output, source: Repo) -> None:
    """Fetch what `folder` lacks of the output; says on stderr what that costs. Every file in it is checked."""
    if folder_md5(folder) == output.md5:
        _say(f"{output}: already in {folder}, nothing is downloaded")
        return
    stores = _Stores(source)
    listing = folder.with_suffix(".dir")
    stores.fetch(f"{output.md5}.dir", f"list of files of {output.place}", listing)
    lacking = {
        name: md5
        for name, md5 in _files(listing, folder).items()
        if not (folder / name).is_file() or file_md5(folder / name) != md5
    }
    _say(f"{output}: {stores.cost(lacking.values())}, into {folder}")
    for name, md5 in lacking.items():
        stores.fetch(md5, f"{output.place}/{name}", folder / name)


class _Stores:
    """The files of a repository by their md5: in DVC's cache, or at its default remote."""

    def __init__(self, source: Repo) -> None:
        self._cache, self._remote = source.cache.local, None
        with suppress(NoRemoteError):
            remote = source.cloud.get_remote_odb()
            if remote != self._cache:  # which DVC makes the remote of a repository at a path that names none
                self._remote = remote

    def _holders(self, md5: str) -> list[tuple[Any, str]]:
        """The file systems that may hold a file, and its path there."""
        cached = Path(self._cache.oid_to_path(md5)).is_file()
        stores = [store for store in (cached and self._cache, self._remote) if store]
        return [(store.fs, store.oid_to_path(md5)) for store in stores]

    def cost(self, md5s: Collection[str]) -> str:
        """How many files there are in the cache, and how many must be downloaded from where."""
        cached = sum(Path(self._cache.oid_to_path(md5)).is_file() for md5 in md5s)
        if self._remote is None:
            return f"{cached} files from DVC's cache"
        url = self._remote.fs.unstrip_protocol(self._remote.path)
        return f"{len(md5s) - cached} files to download from {url}, {cached} from DVC's cache"

    def fetch(self, md5: str, name: str, target: Path) -> None:
        """Copy a file to `target`, where it appears whole and with the right md5, or not at all."""
        faults = []
        for system, path in self._holders(md5):
            try:
                with whole(target) as partial, TqdmCallback(desc=name, bytes=True) as bar:
                    system.get_file(path, os.fspath(partial), callback=bar)
                    _check(partial, md5)
            except Exception as error:  # HTTP, S3 and file systems share no other base
                reason = "not there" if isinstance(error, FileNotFoundError) else str(error) or type(error).__name__
                faults.append(f"{system.unstrip_protocol(path)}: {reason}")
            else:
                if faults:
                    _say(f"{name}: fetched from {system.unstrip_protocol(path)}, because of {faults[0]}")
                return
        if self._remote is None:
            faults.append("no remote to ask: `dvc remote add --default public URL` (docs/CACHE.md)")
        faults.append("what came whole is kept: once this is mended, the same call goes on from there")
        raise UserError("\n  ".join([f"{name} (md5 {md5}) cannot be had:", *faults]))


def _check(path: Path, md5: str) -> None:
    found = file_md5(path)
    if found != md5.removesuffix(".dir"):
        raise ValueError(f"damaged: {path.stat().st_size} bytes with md5 {found}")


def _say(text: str) -> None:
    print(without_passwords(text), file=sys.stderr)
