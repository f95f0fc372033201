"""`rm-tension release`: cards, data and records of a finished profile, and uploads to the hub."""

import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from huggingface_hub import CommitOperationAdd, HfApi
from jinja2 import Template

from rm_tension.base.errors import UserError
from rm_tension.base.files import atomic_write
from rm_tension.base.grid import Model
from rm_tension.release.cards import TEMPLATES, card_files
from rm_tension.release.dataset import dataset_card, dataset_files
from rm_tension.release.every_eval_ever import export
from rm_tension.release.profile import FinishedProfile
from rm_tension.release.run_crate import write_run_crate
from rm_tension.report.notes import warnings

Kind = Literal["model", "dataset"]

app = App(name="release", default_parameter=Parameter(negative=()))


@app.command
def prepare(*, profile: str = "mini") -> None:
    """Write dist/release/PROFILE: cards, the run crate, the steps to publish; needs no checkpoint.

    Args:
        profile: Of params.yaml.
    """
    run = FinishedProfile.open(profile)
    trained = run.models()
    steps = Template((TEMPLATES / "STEPS.txt").read_text(encoding="utf-8")).render(
        version=project_version(),
        profile=profile,
        count=len(trained),
        example=run.name(trained[0]),
        warnings=warnings(run.context),
    )
    with atomic_write(Path("dist", "release", profile)) as folder:
        for model in trained:
            write_files(folder / "models" / run.name(model), card_files(run, model))
        write_files(folder / "dataset", {"README.md": dataset_card(run)})
        write_run_crate(folder / "run-crate", profile, project_version())
        write_files(folder, {"STEPS.txt": steps.encode()})
    print(f"dist/release/{profile}: read its STEPS.txt")


@app.command
def push(
    owner: str,
    *,
    profile: str = "mini",
    only: Annotated[list[str] | None, Parameter(name="--model")] = None,
    dry_run: bool = False,
) -> None:
    """Send checkpoints, data and cards to the hub, but for files that are there already.

    Args:
        owner: User or organisation on the Hugging Face hub; each checkpoint gets a repository, the
            rewards, neuron tables and results one together, and a collection holds all of them.
        profile: Of params.yaml.
        only: Only this checkpoint, such as gpt2-small-helpful-0, and no data; repeatable.
        dry_run: Say what would be sent, after all checks but those of the hub.
    """
    run = FinishedProfile.open(profile, owner)
    trained = {model.key: model for model in run.models()}
    if unknown := set(only or ()) - trained.keys():
        raise UserError(f"--model {unknown.pop()}: dvc.lock has {', '.join(trained)}")
    chosen = [trained[key] for key in only or trained]
    repos: dict[str, Model | None] = {f"{owner}/{run.name(model)}": model for model in chosen}
    if not only:
        repos[f"{owner}/{run.dataset_name}"] = None  # the data set
    kinds: dict[str, Kind] = {name: "model" if repos[name] else "dataset" for name in repos}
    for number, (repo, model) in enumerate(repos.items(), start=1):
        files: dict[str, Path | bytes] = (
            {**run.checkpoint_files(model), **card_files(run, model)}
            if model
            else dataset_files(run)
        )
        if not dry_run:
            send(repo, files, kinds[repo])
        sizes = [len(f) if isinstance(f, bytes) else f.stat().st_size for f in files.values()]
        verb = "would be sent" if dry_run else "is there"
        print(f"{number}/{len(repos)} {repo}: {verb}, {sum(sizes) / 1e6:.1f} MB", flush=True)
    if not dry_run:
        collect(run, kinds)


@app.command(name="every-eval-ever")
def every_eval_ever(owner: str, *, profile: str = "mini") -> None:
    """Write dist/every-eval-ever/PROFILE: the right and wrong items of each model, in that schema.

    Args:
        owner: User or organisation on the Hugging Face hub that the checkpoints are of.
        profile: Of params.yaml.
    """
    run = FinishedProfile.open(profile, owner)
    folder = Path("dist", "every-eval-ever", profile)
    with atomic_write(folder) as partial:
        export(run, partial, project_version(), int(time.time()))
    print(f"{folder}: {len(list(folder.rglob('*.json')))} evaluations")


def project_version() -> str:
    """Return the version of the project around the working directory."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files by their path in a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def send(repo: str, files: Mapping[str, Path | bytes], kind: Kind) -> None:
    """Commit files to a repository of the hub, whose client leaves out what is there."""
    api = HfApi()
    with explained(repo):
        api.create_repo(repo, repo_type=kind, exist_ok=True)
        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        message = "Checkpoint and card" if kind == "model" else "Rewards, neurons and results"
        api.create_commit(repo, operations, commit_message=message, repo_type=kind)


def collect(run: FinishedProfile, repos: Mapping[str, Kind]) -> None:
    """Put repositories into the profile's collection; what is there stays."""
    api, title = HfApi(), run.dataset_name
    description = "Reward models of arXiv 2606.13209, retrained"
    with explained(f"collection {title!r} of {run.owner}"):
        # the hub tells collections apart by owner and title
        collection = api.create_collection(
            title, namespace=run.owner, description=description, exists_ok=True
        )
        for repo, kind in repos.items():
            api.add_collection_item(collection.slug, repo, kind, exists_ok=True)


@contextmanager
def explained(subject: str) -> Iterator[None]:
    """Turn an error of the client, HTTP or the disk, which share no base, into a UserError."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"{subject}: was not sent ({error}); the same command goes on from there"
        ) from error
