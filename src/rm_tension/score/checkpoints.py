"""Find trained checkpoints: in the working tree, through DVC, or on the Hugging Face hub."""

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

from dvc.api import DVCFileSystem
from dvc.fs.callbacks import TqdmCallback
from filelock import FileLock
from pydantic import ValidationError

from rm_tension.base.config import HubRepo
from rm_tension.base.errors import UserError
from rm_tension.base.files import atomic_write
from rm_tension.base.hub import model_folder
from rm_tension.base.lockfile import file_md5, stages_of

HUB_SCHEME = "hf://"
REMEDY = (
    "what DVC's cache lacks comes from the default remote: `dvc remote add --default public URL` "
    "(docs/USE.md); what git refuses because another user owns it: "
    "`git config --global --add safe.directory DIR`"
)


def find_checkpoint(
    key: str,
    profile: str | None = None,
    repo: str | os.PathLike[str] | None = None,
    rev: str | None = None,
) -> Path:
    """Return the folder of the reward model `key` of a repository like this one.

    Without a profile it is the one that has such a model, by dvc.lock.
    `repo` is its path or git URL (None: the one around the working directory), `rev` a git revision
    of it (None: the working tree, or a URL's default branch). The folder is the working tree's, if
    it is there, else one of this user's cache that is named by its md5 and fetched once, through
    DVC. Raise UserError if nobody has trained it, or if it cannot be fetched undamaged.
    """
    repository = open_repository(repo or Path.cwd(), rev)
    outputs = read_outputs(repository)
    path = _path_of(key, profile, outputs)
    local = Path(repository.repo.root_dir, path)
    if rev is None and repository.repo.url is None and local.is_dir():
        print(f"{path}: of the working tree, nothing is downloaded", file=sys.stderr)
        return local
    md5: str = outputs[path]["md5"]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "rm-tension")
    folder = cache / md5.removesuffix(".dir")
    with explained(folder):
        if not folder.is_dir():
            _fetch(repository, path, md5, folder)
    return folder


def _path_of(key: str, profile: str | None, outputs: Iterable[str]) -> str:
    """Return the output that is the reward model `key` of a profile, or of the only one with it.

    Only `outputs` say which objectives there are: the repository may be another one's.
    """
    trained: dict[tuple[str, str], str] = {}
    for path in outputs:
        if match := re.fullmatch(r"models/([^/]+)/reward/([^/]+)-(\d+)/([^/]+)", path):
            of_profile, backbone, seed, objective = match.groups()
            trained[of_profile, f"{backbone}-{objective}-{seed}"] = path
    matches = [name for name in trained if name[1] == key and profile in (None, name[0])]
    if len(matches) > 1:
        raise UserError(
            f"{key}: {' and '.join(map('-'.join, matches))} are in dvc.lock: name one of their "
            "profiles (profile, --profile)"
        )
    if not matches:
        name = f"{profile or 'PROFILE'}-{key}"
        nearest = get_close_matches(name, map("-".join, trained), cutoff=0)
        raise UserError(
            f"{name}: not in dvc.lock, so nobody has trained it; the nearest are: "
            f"{', '.join(nearest) or 'none'}; name a repository or revision that has it (repo, "
            f"rev), or `dvc repro train@{name}`"
        )
    return trained[matches[0]]


def open_repository(where: str | os.PathLike[str], rev: str | None = None) -> DVCFileSystem:
    """Open a DVC repository at a path or git URL; raise UserError if there is none."""
    # copies, since cache.type may say that what comes from DVC's cache is a link into it
    settings = {"cache": {"type": ["copy"]}}
    with explained(f"{os.fspath(where)}{f' at {rev}' if rev else ''}"):
        repository = DVCFileSystem(os.fspath(where), rev=rev, config=settings)
        _ = repository.repo  # opened now, and cloned if it is at a URL
        return repository


def read_outputs(repository: DVCFileSystem) -> dict[str, dict[str, Any]]:
    """Return what dvc.lock records of each output, with "params" and "deps" of its stage, by path.

    "params" are values of params.yaml by key, "deps" are md5s by path. Only dvc.lock is read: DVC
    takes seconds for dvc.yaml. Raise UserError if it cannot be read.
    """
    files = repository.repo.fs
    lock = files.join(repository.repo.root_dir, "dvc.lock")
    try:
        stages = stages_of(files.read_text(lock, encoding="utf-8")).values()
    except FileNotFoundError:
        raise UserError(
            f"{repository.repo.root_dir}: no dvc.lock there: nothing was trained in it, or it is "
            "no repository like this one"
        ) from None
    except ValueError as error:
        raise UserError(
            f"dvc.lock: {error}; damaged, or a `dvc repro` is writing it: try again, or "
            "`git checkout` it"
        ) from None
    outputs = {}
    for stage in stages:
        params = stage.get("params", {}).get("params.yaml", {})
        deps = {dep["path"]: dep.get("md5") for dep in stage.get("deps", ())}
        for out in stage.get("outs", ()):
            if md5 := out.get("md5"):
                if not re.fullmatch(r"[0-9a-f]{32}(\.dir)?", md5):  # it becomes a folder's name
                    raise UserError(f"dvc.lock: {md5!r} is not an md5; `git checkout` it")
                outputs[out["path"]] = {**out, "params": params, "deps": deps}
    return outputs


def recorded_setting(outputs: Mapping[str, Any], path: object, name: str) -> Any:
    """Return the value of params.yaml that an output was made with, whatever it is today."""
    params = outputs.get(str(path), {}).get("params", {})
    if name not in params:
        raise UserError(f"dvc.lock: {path} has no {name} on record: `dvc repro` its stage")
    return params[name]


def download(repository: DVCFileSystem, path: str, target: Path, md5: str | None = None) -> None:
    """Copy a file, or the files of a folder without subfolders, into the folder `target`.

    Raise UserError if one is not what DVC has on record, or the list of a folder's files is not
    that of `md5`: DVC itself does not compare what a remote sends (docs/USE.md).
    """
    with explained(path):
        files = repository.find(f"/{path}", detail=True)
        # the bare name: a forged list must not lead out of `target`
        names = {address: PurePosixPath(address).name for address in files}
        sums = {names[address]: info["dvc_info"]["md5"] for address, info in files.items()}
        if len(sums) < max(1, len(files)):
            raise FileNotFoundError("no such file, or two of one name")
        if md5 and md5_of_folder(sums) != md5:
            kept = repository.repo.site_cache_dir
            raise ValueError(
                f"the list of its files (md5 {md5}) is damaged, and DVC keeps it: once the remote "
                f"is mended, remove {kept}"
            )
        for address, name in names.items():
            file = target / name
            with explained(f"{address[1:]} (md5 {sums[name]})"):
                with TqdmCallback(desc=address[1:], bytes=True) as bar:
                    repository.get_file(address, os.fspath(file), callback=bar)
                if (received := file_md5(file)) != sums[name]:
                    raise ValueError(f"damaged: {file.stat().st_size} bytes with md5 {received}")


def md5_of_folder(sums: Mapping[str, str]) -> str:
    """Return the md5 that DVC gives a folder with these files, from their md5s by name."""
    entries = [{"md5": md5, "relpath": name} for name, md5 in sorted(sums.items())]
    listing = json.dumps(entries).encode()
    return f"{hashlib.md5(listing, usedforsecurity=False).hexdigest()}.dir"


def find_on_hub(address: str) -> Path:
    """Return the folder of hf://ORG/NAME@REV in the hub's own cache, fetched if it is not there.

    REV is a commit, or a branch or tag, which may move. Raise UserError without one, or if neither
    the hub nor its cache has it.
    """
    match = re.fullmatch(r"hf://([\w.-]+/[\w.-]+)@(.+)", address)
    if not match:
        raise UserError(
            f"{address}: not hf://ORG/NAME@REV; REV had better be a commit, as the repository's "
            "page lists them under its history: another revision may be another model tomorrow"
        )
    # nothing that runs; templates do in a sandbox
    patterns = ("*.json", "*.jinja", "*.safetensors")
    try:
        repo = HubRepo(repo=match[1], revision=match[2])
    except ValidationError as error:
        raise UserError(f"{address}: {error.errors()[0]['msg']}") from None
    return model_folder(repo, *patterns)


@contextmanager
def explained(subject: object) -> Iterator[None]:
    """Turn an error of DVC, git, HTTP, S3 or the disk, which share no base, into a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reasons: list[str] = []
        cause: BaseException | None = error
        while cause:  # DVC's own says no more than "SCM error"
            reasons.append(str(cause) or type(cause).__name__)
            cause = cause.__cause__
        raise UserError(f"{subject}: {', '.join(dict.fromkeys(reasons))}\n  {REMEDY}") from error


def _fetch(repository: DVCFileSystem, path: str, md5: str, folder: Path) -> None:
    """Download a checkpoint into the cache; of two processes the second finds it there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if folder.is_dir():
            return
        print(f"{path}: to be fetched into {folder}", file=sys.stderr)
        with atomic_write(folder) as partial:
            partial.mkdir()
            download(repository, path, partial, md5)
