"""Send checkpoints with their cards to the Hugging Face hub or to S3: only what is not there with the same content."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from rm_tension.base.config import Grid
from rm_tension.base.errors import UserError
from rm_tension.base.hub import sha256_of
from rm_tension.release.kit import folder_of, read_index
from rm_tension.release.recorded import Recorded
from rm_tension.score.checkpoints import find_output

Files = Mapping[str, Path]  # by their name in the repository


class HubStore:
    """Repositories of an account or organisation on the hub, one for each checkpoint; the token is the hub client's."""

    def __init__(self, owner: str) -> None:
        self._owner, self._api = owner, HfApi()

    def lacking(self, name: str, files: Files) -> list[str]:
        """The files that are not there, or with another content."""
        try:
            entries = self._api.list_repo_tree(f"{self._owner}/{name}", recursive=True)
            there = {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}
        except RepositoryNotFoundError:
            there = {}
        return [
            file
            for file, path in files.items()
            if file not in there or not _is_same(there[file], path)
        ]

    def send(self, name: str, files: Files) -> None:
        """One commit, so that no revision holds half a checkpoint; the client resumes what came of large files."""
        repo = f"{self._owner}/{name}"
        self._api.create_repo(repo, exist_ok=True)
        operations = [
            CommitOperationAdd(path_in_repo=file, path_or_fileobj=path)
            for file, path in files.items()
        ]
        self._api.create_commit(repo, operations, commit_message=f"{name}: {len(operations)} files")


def _is_same(there: RepoFile, path: Path) -> bool:
    """Large files have their sha256 on the hub, the others the name that git gives their content."""
    if there.lfs:
        return bool(there.lfs.sha256 == sha256_of(path))
    content = path.read_bytes()
    return bool(
        there.blob_id
        == hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    )


class BucketStore:
    """A folder of an S3 bucket; credentials and AWS_ENDPOINT_URL are those of the AWS tools."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket, self._prefix, self._s3 = bucket, prefix, boto3.client("s3")

    def lacking(self, name: str, files: Files) -> list[str]:
        return [
            file
            for file, path in files.items()
            if self._sha256(f"{name}/{file}") != sha256_of(path)
        ]

    def send(self, name: str, files: Files) -> None:
        for file, path in files.items():
            marks = {"Metadata": {"sha256": sha256_of(path)}}
            self._s3.upload_file(
                str(path), self._bucket, f"{self._prefix}{name}/{file}", ExtraArgs=marks
            )

    def _sha256(self, key: str) -> str | None:
        """What `send` noted; S3's own ETag of a file that went in parts is no digest of it."""
        try:
            found: dict[str, Any] = self._s3.head_object(
                Bucket=self._bucket, Key=f"{self._prefix}{key}"
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in {"404", "NoSuchKey"}:
                return None
            raise
        digest: str | None = found["Metadata"].get("sha256")
        return digest


def open_store(target: str) -> HubStore | BucketStore:
    """Of hf://ORG or s3://BUCKET/PREFIX; UserError for anything else."""
    if found := re.fullmatch(r"hf://([\w.-]+)/?", target):
        return HubStore(found[1])
    if found := re.fullmatch(r"s3://([\w.-]+)(?:/(.*?))?/?", target):
        return BucketStore(found[1], f"{found[2]}/" if found[2] else "")
    raise UserError(f"{target}: neither hf://ORG nor s3://BUCKET/PREFIX")


def push(grid: Grid, profile: str, target: str, keys: list[str], dry_run: bool) -> None:
    """Send the kit's checkpoints, or those of `keys`, and say of each what is sent; started again, it goes on."""
    store, index = open_store(target), read_index(profile)
    current = {name: output for name, (_, output) in Recorded(grid, profile).checkpoints().items()}
    names = [f"rm-tension-{profile}-{key}" for key in keys] or list(index)
    for name in names:
        if name not in index or name not in current or current[name].md5 != index[name]:
            raise UserError(
                f"{name}: not what dvc.lock records now; `make release PROFILE={profile}` again"
            )
    for number, name in enumerate(names, start=1):
        folder = find_output(current[name])
        if not current[name].is_in(folder):  # all is whole, but not all is the checkpoint's
            raise UserError(
                f"{folder}: holds files that dvc.lock does not know, which would be sent, too: remove them"
            )
        files = {path.name: path for path in sorted(folder.glob("[!.]*"))}
        files |= {"README.md": folder_of(profile) / "models" / name / "README.md"}
        try:
            lacking = store.lacking(name, files)
            if lacking and not dry_run:
                store.send(name, {file: files[file] for file in lacking})
        except (
            Exception
        ) as error:  # of either client, of HTTP and of the disk: they share no other base
            raise UserError(
                f"{target}: {name} was not sent ({error}); the same command goes on from there"
            ) from error
        size = sum(files[file].stat().st_size for file in lacking) / 1e6
        what = "would be sent" if dry_run else "sent"
        print(
            f"{number}/{len(names)} {name}: {len(lacking)} of {len(files)} files {what}, {size:.1f} MB",
            flush=True,
        )
