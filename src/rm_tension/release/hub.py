"""What is sent to the Hugging Face hub: commits of whole repositories, and a collection."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from huggingface_hub import CommitOperationAdd, HfApi

from rm_tension.base.errors import UserError

Kind = Literal["model", "dataset"]


def send(repo: str, files: Mapping[str, Path | bytes], kind: Kind) -> None:
    """Commit files to a repository of the hub, whose client leaves out what is there."""
    api = HfApi()
    with _explained(repo):
        api.create_repo(repo, repo_type=kind, exist_ok=True)
        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        message = "Checkpoint and card" if kind == "model" else "Rewards, neurons and results"
        api.create_commit(repo, operations, commit_message=message, repo_type=kind)


def collect(owner: str, title: str, description: str, repos: Mapping[str, Kind]) -> None:
    """Put repositories into the owner's collection of that title; what is there stays."""
    api = HfApi()
    with _explained(f"collection {title!r} of {owner}"):
        # the hub tells collections apart by owner and title
        slug = api.create_collection(
            title, namespace=owner, description=description, exists_ok=True
        ).slug
        there = {item.item_id for item in api.get_collection(slug).items}
        for repo, kind in repos.items():
            if repo not in there:
                api.add_collection_item(slug, repo, kind, exists_ok=True)


@contextmanager
def _explained(subject: str) -> Iterator[None]:
    """Turn an error of the client, HTTP or the disk, which share no base, into a UserError."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"{subject}: was not sent ({error}); the same command goes on from there"
        ) from error
