"""Files of the Hugging Face hub, or of its cache ($HF_HOME), at the revisions of params.yaml.

Offline the downloads are told so. They would find out themselves, but make a client before they
look into the cache, and a proxy that it does not know (ALL_PROXY=socks5://...) breaks it.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import constants, hf_hub_download, snapshot_download

from rm_tension.base.config import HubRepo
from rm_tension.base.errors import UserError
from rm_tension.base.provenance import LoadedFile, Snapshot


def data_file(repo: HubRepo, name: str) -> Path:
    """Return one file of a data set. Raise UserError if neither the hub nor its cache has it."""
    return _fetch(hf_hub_download, repo, name, filename=name, repo_type="dataset")


def model_folder(repo: HubRepo, *patterns: str) -> Path:
    """Return the folder with a model's files that match a pattern; else as `data_file`."""
    # of subfolders nothing: a pattern's * matches the / before a trainer's checkpoint-500 as well
    options = {"allow_patterns": [*patterns], "ignore_patterns": ["*/*"]}
    return _fetch(snapshot_download, repo, ", ".join(patterns), **options)


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def commit_of(path: Path) -> str:
    """Return the commit that the hub resolved a revision to: the snapshot that `path` lies in."""
    return path.parts[-path.parts[::-1].index("snapshots")]  # the last, wherever the cache lies


def snapshot_of(repo: HubRepo, folder: Path, *patterns: str) -> Snapshot:
    """Return what `model_folder` gave for these patterns, for the record."""
    paths = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    files = [LoadedFile(path.name, path.stat().st_size, sha256_of(path)) for path in paths]
    return Snapshot(repo.repo, repo.revision, commit_of(folder), files)


def _fetch(download: Callable[..., str], repo: HubRepo, wanted: str, **options: Any) -> Path:
    where = {"revision": repo.revision, "local_files_only": constants.HF_HUB_OFFLINE}
    try:
        return Path(download(repo.repo, **where, **options))
    except Exception as error:  # of the client, its HTTP library or the disk: they share no base
        raise UserError(
            f"{repo.repo}: {wanted} at revision {repo.revision} is neither on the hub nor in its "
            "cache: check the connection, its name and revision, or set HF_HOME to a cache that "
            f"holds it or can be written to ({error})"
        ) from error
