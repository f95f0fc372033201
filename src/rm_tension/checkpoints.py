"""Checkpoints by key: looked up in dvc.lock, pulled through DVC, and checked against their sums before use.

What DVC hands over is not trusted: unless a remote has `verify = true`, a damaged file goes through `dvc pull` into its
cache and the working tree without a word. Here every file is hashed, and a damaged one in the cache is removed, so that
the next try fetches it again.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from dvc.exceptions import DvcException
from dvc.fs import localfs
from dvc.output import Output
from dvc.repo import Repo
from dvc_data.hashfile import load
from dvc_data.hashfile.build import build
from dvc_data.hashfile.checkout import checkout
from dvc_data.hashfile.db import HashFileDB
from dvc_data.hashfile.hash import hash_file
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError
from filelock import FileLock
from platformdirs import user_cache_path

from rm_tension.config import Grid, Params, Profile, parse_params
from rm_tension.errors import UserError
from rm_tension.files import whole
from rm_tension.grid import Model, Paths, models


@dataclass(frozen=True)
class Checkpoint:
    """A trained reward model on this disk, whole and checked, and the profile that it was trained under."""

    model: Model
    profile: Profile
    folder: Path


def find_checkpoint(key: str, profile: str, repo: str | os.PathLike[str] | None, rev: str | None) -> Checkpoint:
    """The checkpoint `key`, pulled if it is not here; raises UserError if nobody trained it, pushed it, or kept it whole.

    `repo` is a path or git URL of a repository like this one (None: the one around the working directory), `rev` any
    git revision of it. Without `rev`, a repository at a path keeps its checkpoints where `dvc pull` puts them; all
    others go to this user's cache ($XDG_CACHE_HOME/rm-tension).
    """
    with _open(repo, rev) as source:
        with source.fs.open(source.fs.join(source.root_dir, "params.yaml"), encoding="utf-8") as file:
            params = parse_params(yaml.safe_load(file), f"{source}/params.yaml")
        if profile not in params.profiles:
            raise UserError(f"no profile {profile!r}: there are {', '.join(params.profiles)}")
        model = find_model(params.grid, key)
        place = Paths(profile).reward_model(model)
        stage = source.stage.load_one(path=source.fs.join(source.root_dir, "dvc.yaml"), name=f"train@{profile}-{key}")
        out = next(out for out in stage.outs if out.def_path == place.as_posix())
        if not out.hash_info:
            raise UserError(
                f"{place}: not in the dvc.lock of {source}, so nobody has trained it there; train it with "
                f"`dvc repro train@{profile}-{key}`, or name a repository or revision that has it (repo, rev)"
            )
        if source.url is None and rev is None:
            folder = Path(source.root_dir, place)
        else:
            folder = user_cache_path("rm-tension") / "checkpoints" / out.hash_info.value.removesuffix(".dir")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(Path(source.tmp_dir or folder.parent, f"{profile}-{key}.lock")):
            _provide(source, out, folder, place)
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


def _provide(source: Repo, out: Output, folder: Path, place: Path) -> None:
    """Put the output into `folder`, unless it is there; says on stderr what is downloaded."""
    size = f"{out.meta.size / 1e6:,.1f} MB in {out.meta.nfiles} files"
    if folder.exists():
        if _md5(folder) == out.hash_info.value:
            _say(f"{place}: already in {folder}, nothing is downloaded")
            return
        raise UserError(
            f"{folder}: not what dvc.lock records (md5 {out.hash_info.value}); if it is damaged, remove it and try again "
            "(or `dvc pull --force` it), if it is newer, `dvc commit` it"
        )
    cache = source.cache.local
    if _missing(cache, out):
        remote = source.config["core"].get("remote")
        if not remote:
            raise UserError(
                f"{place} ({size}) is in dvc.lock, but neither here nor in DVC's cache, and {source} names no remote: "
                f"`dvc remote add --default public URL` (docs/CACHE.md), or `dvc repro {out.stage.addressing}`"
            )
        settings = source.config["remote"][remote]
        settings["verify"] = True
        _say(f"{place}: downloading {size} from {settings['url']}")
        try:
            source.cloud.pull([out.hash_info])
        except ObjectFormatError as error:
            raise UserError(f"{place}: its list of files is damaged on {settings['url']} ({error})") from error
        if missing := _missing(cache, out):
            raise UserError(
                f"{place}: {settings['url']} cannot provide {', '.join(missing)}: not there, damaged there, or out of "
                f"reach; try again, ask its owner to `dvc push {place}`, or `dvc repro {out.stage.addressing}`"
            )
    else:
        _say(f"{place}: in DVC's cache, nothing is downloaded")
    with whole(folder) as partial:
        checkout(os.fspath(partial), localfs, load(cache, out.hash_info), cache)
        if _md5(partial) != out.hash_info.value:
            raise UserError(f"{partial}: its files changed while they were copied from DVC's cache; check the disk")


def _missing(cache: HashFileDB, out: Output) -> list[str]:
    """The output's files that DVC's cache has not, by name and md5; damaged ones are removed from it first."""
    if not _is_whole(cache, out.hash_info.value):
        return [f"its list of files (md5 {out.hash_info.value})"]
    return [
        f"{'/'.join(key)} (md5 {hash_info.value})"
        for key, _, hash_info in Tree.load(cache, out.hash_info)
        if not _is_whole(cache, hash_info.value)
    ]


def _is_whole(cache: HashFileDB, oid: str) -> bool:
    if not cache.exists(oid):
        return False
    # not cache.check(): it believes in read-only files, and DVC makes what it downloads read-only, damaged or not
    path = cache.oid_to_path(oid)
    if hash_file(path, localfs, "md5")[1].value == oid.removesuffix(".dir"):
        return True
    Path(path).unlink()
    return False


def _md5(folder: Path) -> str | None:
    """What dvc.lock would record for the folder, from its bytes and not from DVC's notes about them."""
    return build(HashFileDB(localfs, ""), os.fspath(folder), localfs, "md5", dry_run=True)[2].hash_info.value


@contextmanager
def _open(repo: str | os.PathLike[str] | None, rev: str | None) -> Iterator[Repo]:
    """The DVC repository; what DVC raises or logs meanwhile becomes a UserError."""
    where = os.fspath(repo) if repo is not None else os.curdir
    log = _Log()
    try:
        with log:
            if Path(where).exists():
                opened = Repo(Repo.find_root(where), rev=rev)
            else:
                settings = {"dir": os.fspath(user_cache_path("rm-tension") / "dvc"), "type": "reflink,hardlink,copy"}
                opened = Repo.open(where, rev=rev, config={"cache": settings})
            with opened:
                yield opened
    except (DvcException, OSError) as error:
        said = "; ".join(dict.fromkeys([*log.messages, str(error)]))
        raise UserError(f"{where}{f' at {rev}' if rev else ''}: {said}") from error
    except UserError as error:
        raise UserError("; ".join(dict.fromkeys([str(error), *log.messages]))) from error


class _Log(logging.Handler):
    """Keeps DVC's warnings and errors for the message of our own error, instead of tracebacks on stderr."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        cause = record.exc_info[1] if record.exc_info else None
        self.messages.append(record.getMessage() + (f" ({cause})" if cause and str(cause) else ""))

    def __enter__(self) -> None:
        for name in ("dvc", "dvc_data", "dvc_objects"):
            logging.getLogger(name).addHandler(self)

    def __exit__(self, *_: object) -> None:
        for name in ("dvc", "dvc_data", "dvc_objects"):
            logging.getLogger(name).removeHandler(self)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
