"""`rm-tension release`: cards, data and records of a finished profile, and uploads to the hub."""

import re
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from jinja2 import Template

from rm_tension.base.errors import UserError
from rm_tension.base.files import atomic_write
from rm_tension.base.grid import Model
from rm_tension.release.cards import TEMPLATES, card_files
from rm_tension.release.dataset import dataset_card, dataset_files
from rm_tension.release.every_eval_ever import export
from rm_tension.release.hub import Kind, collect, send
from rm_tension.release.profile import FinishedProfile
from rm_tension.release.run_crate import write_run_crate
from rm_tension.report.notes import warnings

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
    refuse_no_owner(owner)
    run = FinishedProfile.open(profile)
    trained = {model.key: model for model in run.models()}
    if unknown := set(only or ()) - trained.keys():
        raise UserError(f"--model {unknown.pop()}: dvc.lock has {', '.join(trained)}")
    chosen = [trained[key] for key in only or trained]
    repos: dict[str, Model | None] = {f"{owner}/{run.name(model)}": model for model in chosen}
    if not only:
        repos[f"{owner}/{run.dataset_name}"] = None  # the data set
    kinds: dict[str, Kind] = {
        name: "model" if model else "dataset" for name, model in repos.items()
    }
    for number, (repo, model) in enumerate(repos.items(), start=1):
        files = files_to_send(run, model, owner)
        size = sum(file_size(file) for file in files.values()) / 1e6
        if not dry_run:
            send(repo, files, kinds[repo])
        verb = "would be sent" if dry_run else "is there"
        print(f"{number}/{len(repos)} {repo}: {verb}, {size:.1f} MB", flush=True)
    if not dry_run:
        collect(owner, run.dataset_name, "Reward models of arXiv 2606.13209, retrained", kinds)


@app.command(name="every-eval-ever")
def every_eval_ever(owner: str, *, profile: str = "mini") -> None:
    """Write dist/every-eval-ever/PROFILE: the right and wrong items of each model, in that schema.

    Args:
        owner: User or organisation on the Hugging Face hub that the checkpoints are of.
        profile: Of params.yaml.
    """
    refuse_no_owner(owner)
    run = FinishedProfile.open(profile)
    folder = Path("dist", "every-eval-ever", profile)
    with atomic_write(folder) as partial:
        export(run, partial, owner, project_version(), int(time.time()))
    print(f"{folder}: {len(list(folder.rglob('*.json')))} evaluations")


def refuse_no_owner(name: str) -> None:
    """Raise UserError for what is no user of the hub: it becomes a folder's name."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name, re.ASCII):
        raise UserError(
            f"{name!r}: not a user or organisation of the Hugging Face hub, such as ORG"
        )


def project_version() -> str:
    """Return the version of the project around the working directory."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def files_to_send(
    run: FinishedProfile, model: Model | None, owner: str
) -> Mapping[str, Path | bytes]:
    """Return the files of a model's repository, or of the data set's, by their path in it."""
    if model is None:
        return dataset_files(run, owner)
    return {**run.checkpoint_files(model), **card_files(run, model, owner)}


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files by their path in a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def file_size(file: Path | bytes) -> int:
    """Return the bytes of a file to send."""
    return len(file) if isinstance(file, bytes) else file.stat().st_size
