"""Files of the Hugging Face hub at their pinned revisions, each checked against the sha256 of its first fetch."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from huggingface_hub import hf_hub_download, snapshot_download

from rm_tension.base.config import HubRepo
from rm_tension.base.errors import UserError
from rm_tension.base.files import whole
from rm_tension.base.provenance import LoadedFile, Snapshot


@dataclass(frozen=True)
class Hub:
    """The hub or its cache ($HF_HOME), and the record of what came from it.

    `sums` is a text file in git, a line for each file: sha256, two spaces, kind/repository@revision/name. What it lists
    must be what it was, before it is read; what it does not list is added, if it could be read. So a branch such as
    `main` is pinned by its content. None neither compares nor adds: stand-ins are not the pinned files.
    """

    sums: Path | None

    @contextmanager
    def data_file(self, repo: HubRepo, name: str) -> Iterator[Path]:
        """One file of a data set, to be read within the block; UserError if it cannot be had or is not what it was."""

        def download() -> str:
            return hf_hub_download(repo.repo, name, repo_type="dataset", revision=repo.revision)

        path = _fetch(repo, name, download)
        with self._checked({f"datasets/{repo.repo}@{repo.revision}/{name}": path}):
            yield path

    @contextmanager
    def model_files(self, repo: HubRepo, *patterns: str) -> Iterator[Path]:
        """The folder with the files of a model that match one of the patterns; otherwise as `data_file`."""

        def download() -> str:
            return snapshot_download(
                repo.repo, revision=repo.revision, allow_patterns=list(patterns)
            )

        folder = _fetch(repo, ", ".join(patterns), download)
        files = {path for pattern in patterns for path in folder.glob(pattern)}
        with self._checked(
            {f"models/{repo.repo}@{repo.revision}/{path.name}": path for path in files}
        ):
            yield folder

    @contextmanager
    def _checked(self, files: Mapping[str, Path]) -> Iterator[None]:
        if self.sums is None:
            yield
            return
        found = {name: sha256_of(path) for name, path in files.items()}
        known = _read(self.sums)
        for name, sha256 in found.items():
            if known.get(name, sha256) != sha256:
                raise UserError(
                    f"{files[name]}: sha256 {sha256}, but {self.sums} has {known[name]} for {name}: the file is "
                    "damaged, or the hub has another one under this revision now. Delete it from the hub cache and "
                    f"try again; if it is the right one, delete its line in {self.sums.name}"
                )
        yield
        if not found.keys() <= known.keys():
            _add(self.sums, found)


def sha256_of(path: Path) -> str:
    """In hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def commit_of(path: Path) -> str:
    """What the hub resolved a revision to: the snapshot in which a file or folder of its cache lies."""
    return path.parts[
        -path.parts[::-1].index("snapshots")
    ]  # behind the last, wherever the cache lies


def snapshot_of(repo: HubRepo, folder: Path, *patterns: str) -> Snapshot:
    """What `Hub.model_files` gave for these patterns."""
    paths = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    files = [LoadedFile(path.name, path.stat().st_size, sha256_of(path)) for path in paths]
    return Snapshot(repo.repo, repo.revision, commit_of(folder), files)


def _fetch(repo: HubRepo, wanted: str, download: Callable[[], str]) -> Path:
    try:
        return Path(download())
    except (
        Exception
    ) as error:  # of the client, of its HTTP library or of the disk: they share no other base
        raise UserError(
            f"{repo.repo}: {wanted} at revision {repo.revision} is neither on the hub nor in its cache: check the "
            "connection, its name and revision, or set HF_HOME to a cache that holds it or can be written to "
            f"({error})"
        ) from error


def _read(sums: Path) -> dict[str, str]:
    """The sha256 of each name; UserError that names a line which is not one."""
    known = {}
    lines = (
        sums.read_text(encoding="utf-8", errors="backslashreplace").splitlines()
        if sums.is_file()
        else []
    )
    for number, line in enumerate(lines, start=1):
        sha256, _, name = line.partition("  ")
        if not (
            re.fullmatch("[0-9a-f]{64}", sha256) and re.fullmatch("(datasets|models)/[!-~]+", name)
        ):
            raise UserError(
                f"{sums}:{number}: not a sha256 and a name: {line!r}; `git checkout {sums.name}`"
            )
        known[name] = sha256
    return known


def _add(sums: Path, found: dict[str, str]) -> None:
    lock = (
        sums.parent / ".state" / f"{sums.name}.lock"
    )  # the stages of several backbones may run at once
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock), whole(sums) as partial:
        lines = [f"{sha256}  {name}\n" for name, sha256 in sorted((found | _read(sums)).items())]
        partial.write_text("".join(lines), encoding="utf-8")
