"""Checkpoints by key: dvc.lock says which files they are, and DVC's public file system fetches them.

Each file is checked before it gets its name. This is not `dvc pull`, through which a damaged file goes into the cache
and the working tree without a word unless the remote has `verify = true`, and which waits for a running `dvc repro`.
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
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dvc.api import DVCFileSystem
from dvc.fs.callbacks import TqdmCallback
from filelock import FileLock

from rm_tension.base.errors import UserError, without_passwords
from rm_tension.base.files import whole
from rm_tension.base.lockfile import file_md5, kind_of, stage_named, stages_of

REMEDIES = (
    "what came whole is kept: once this is mended, the same call goes on from there",
    "what DVC's cache lacks comes from the default remote: `dvc remote add --default public URL` (docs/CACHE.md)",
)
WRITING = "damaged, or a running `dvc repro` is writing it: try again, or `git checkout` it"


@dataclass(frozen=True)
class Output:
    """A folder that a stage made, as dvc.lock knows it; `md5` is that of its list of files."""

    files: DVCFileSystem
    place: str
    md5: str

    @property
    def path(self) -> str:
        """Of the folder or the file, in the repository."""
        return self.place

    def exists_in(self, folder: Path) -> bool:
        """Whether it or something in its place is there."""
        return folder.is_dir()

    def is_in(self, folder: Path) -> bool:
        """Whether all of it is there, and whole; this needs no list, and so neither DVC's cache nor a remote."""
        paths = [path for path in folder.rglob("[!.]*") if path.is_file()]  # no .DS_Store
        found = {path.relative_to(folder).as_posix(): file_md5(path) for path in paths}
        return _md5_of_list(found) == self.md5

    def listed(self) -> dict[str, str]:
        """The md5 of each of its files by name; DVC reads all of dvc.yaml for it, which takes it many seconds."""
        with _named(f"{self.place}, list of files (md5 {self.md5}.dir)"):
            found = self.files.find(f"/{self.place}", detail=True).items()
            entries = {
                name.removeprefix(f"/{self.place}/"): entry.get("dvc_info", {})
                for name, entry in found
            }
            listed = {name: entry["md5"] for name, entry in entries.items() if "md5" in entry}
            if _md5_of_list(listed) != self.md5 or any(".." in Path(name).parts for name in listed):
                kept = self.files.repo.site_cache_dir
                raise ValueError(
                    f"damaged, and DVC keeps it: once the remote is mended, remove {kept}"
                )
        return listed


@dataclass(frozen=True)
class OutputFile(Output):
    """One file of the folder `place`, and the file's `md5`."""

    name: str

    @property
    def path(self) -> str:
        return f"{self.place}/{self.name}"

    def exists_in(self, folder: Path) -> bool:
        return (folder / self.name).exists()

    def is_in(self, folder: Path) -> bool:
        return not _lacking(folder, self.listed())

    def listed(self) -> dict[str, str]:
        return {self.name: self.md5}


def find_checkpoint(
    key: str, profile: str, repo: str | os.PathLike[str] | None, rev: str | None
) -> Path:
    """The folder of the checkpoint `key`: of the working tree, or of this user's cache, into which it is fetched.

    `repo` is a path or git URL of a repository like this one (None: the one around the working directory), `rev` any
    git revision of it (None: the working tree of one at a path, the default branch of one at a URL). Raises UserError
    if the checkpoint was never trained, or if DVC's cache and remote cannot provide all of its files whole.
    """
    return find_output(
        _locate(open_repository(os.fspath(repo or Path.cwd()), rev), key, profile), rev is None
    )


def find_output(output: Output, of_the_tree: bool = True) -> Path:
    """The folder that holds it, as in `find_checkpoint`; the working tree is looked at only if it is `of_the_tree`."""
    repo = output.files.repo
    here = Path(repo.root_dir, output.place)
    in_tree = of_the_tree and repo.url is None and output.exists_in(here)
    folder = here if in_tree else cache_folder() / output.md5
    with _named(os.fspath(folder), remedies=()):
        if output.is_in(folder):
            _say(f"{output.path}: already in {folder}, nothing is downloaded")
        elif not in_tree:
            _fill(folder, output)
        elif lacking := _lacking(folder, output.listed()):
            raise UserError(
                f"{here}: not what dvc.lock records, in {', '.join(lacking)}; if it is damaged, remove it and try "
                "again, if it is newer, `dvc commit` it"
            )
    return folder


def cache_folder() -> Path:
    """Where fetched checkpoints are kept, each in a folder that is named by its md5."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "rm-tension")


def _md5_of_list(listed: Mapping[str, str]) -> str:
    """Of names and md5s of a folder's files, as DVC has it."""
    written = json.dumps([{"md5": md5, "relpath": name} for name, md5 in sorted(listed.items())])
    return hashlib.md5(written.encode(), usedforsecurity=False).hexdigest()


def open_repository(where: str, rev: str | None) -> DVCFileSystem:
    """A repository that has a dvc.lock; UserError if there is none."""
    owned = "if another user owns it, `git config --global --add safe.directory DIR`"
    with _named(f"{where}{f' at {rev}' if rev else ''}", remedies=(owned,)):
        files = DVCFileSystem(where, rev=rev)
        repo = files.repo  # opened here, and cloned if it is at a URL
        if not repo.fs.isfile(repo.fs.join(repo.root_dir, "dvc.lock")):
            raise FileNotFoundError(
                "no dvc.lock there: it is no repository like this one, or nothing was trained"
            )
        return files


def read_stages(files: DVCFileSystem) -> dict[str, Any]:
    """What dvc.lock says of every stage, by name; UserError if it cannot be read."""
    repo = files.repo
    with _named("dvc.lock", remedies=(WRITING,)):
        return stages_of(
            repo.fs.read_text(repo.fs.join(repo.root_dir, "dvc.lock"), encoding="utf-8")
        )


def as_output(files: DVCFileSystem, path: str, md5: str) -> Output:
    """From an entry of dvc.lock, whose md5s become names of folders; UserError if it is none."""
    with _named("dvc.lock", remedies=(WRITING,)):
        if not re.fullmatch(r"[0-9a-f]{32}(\.dir)?", md5):
            raise ValueError(f"{md5!r} is not an md5")
        if md5.endswith(".dir"):
            return Output(files, path, md5.removesuffix(".dir"))
        return OutputFile(files, os.path.dirname(path), md5, os.path.basename(path))


def _locate(files: DVCFileSystem, key: str, profile: str) -> Output:
    """Reads dvc.lock alone: today's code may refuse an old params.yaml, and DVC needs long for dvc.yaml."""
    stages = read_stages(files)
    stage = stage_named(stages, "train", f"{profile}-{key}")
    with _named("dvc.lock", remedies=(WRITING,)):
        if stage:
            place, md5 = next(
                (out["path"], out["md5"])
                for out in stages[stage]["outs"]
                if Path(out["path"]).name == key
            )
            if not md5.endswith(".dir"):
                raise ValueError(f"{md5!r} is not the md5 of a folder")
            return as_output(files, place, md5)
        trained = [name.partition("@")[2] for name in stages if kind_of(name) == "train"]
    nearest = ", ".join(get_close_matches(f"{profile}-{key}", trained, cutoff=0))
    raise UserError(
        f"{profile}-{key}: not in dvc.lock, so nobody has trained it; of its {len(trained)} reward models the nearest "
        f"are: {nearest or 'none'}; name a repository or revision that has it (repo, rev), or "
        f"`dvc repro train@{profile}-{key}`; if a `dvc repro` is running, it may be writing the file: try again"
    )


def _fill(folder: Path, output: Output) -> None:
    """Fetch into a folder of this user's cache what it lacks; of two processes the second finds it there."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")), _scratch(folder.with_suffix(".partial")) as scratch:
        listed = output.listed()
        lacking = _lacking(folder, listed)
        _say(f"{output.path}: {len(lacking)} files to fetch into {folder}")
        for name in lacking:
            _fetch(output, name, listed[name], scratch, folder / name)


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
    return [
        n for n, md5 in listed.items() if not (folder / n).is_file() or file_md5(folder / n) != md5
    ]


def _fetch(output: Output, name: str, md5: str, scratch: Path, target: Path) -> None:
    """Copy a file to `target`, where it appears whole and with the right md5, or not at all."""
    place, part = f"{output.place}/{name}", scratch / "part"
    with _named(f"{place} (md5 {md5})"), TqdmCallback(desc=place, bytes=True) as bar:
        output.files.get_file(f"/{place}", os.fspath(part), callback=bar)
        if (found := file_md5(part)) != md5:
            raise ValueError(f"damaged: {part.stat().st_size} bytes with md5 {found}")
        with whole(target) as partial:
            if (
                part.is_symlink() or part.stat().st_nlink > 1
            ):  # to DVC's cache, as its cache.type may say
                shutil.copyfile(part, partial)
                part.unlink()
            else:
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
        raise UserError(
            "\n  ".join([f"{what}: {': '.join(dict.fromkeys(reasons))}", *remedies])
        ) from error


def _say(text: str) -> None:
    print(without_passwords(text), file=sys.stderr)
