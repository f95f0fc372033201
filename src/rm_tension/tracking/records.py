"""Read runs/<P>/: what each stage measured about itself, checked. Imports no MLflow: training uses the names below."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from rm_tension.base.errors import UserError
from rm_tension.base.grid import Paths

STAGES = ("data", "tokens", "backbone", "train", "activations", "evaluate", "analyse", "report")
AXES = ("backbone", "objective", "seed")

# One run of the store per key, whoever wrote it: training while it runs, or the fill.
KEY = "rm_tension.key"
SHA256 = "rm_tension.sha256"  # of what the fill wrote; a run without it is being trained, or was filled by half
STEP_METRICS = ("loss", "accuracy", "margin", "learning_rate", "gradient_norm", "tokens_per_second", "memory_mib")
COLOURS = {"helpful": "#004488", "harmless": "#BB5566", "mixed": "#DDAA33"}  # those of the report's figures

Steps = list[dict[str, Annotated[float, Field(allow_inf_nan=False)]]]


@checked(frozen=True, config=ConfigDict(extra="allow"))
class Environment:
    """What `runs.environment` writes, as far as it is needed here."""

    git_commit: str
    libraries: dict[str, str]
    accelerator: str | None


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class RunFile:
    """runs/<P>/<stage>-<cell>.json."""

    parameters: dict[str, Any]
    metrics: dict[str, Any]
    environment: dict[str, Any]


@dataclass(frozen=True)
class Record:
    """One run of a stage. `cell` is its place in the grid, e.g. gpt2-small-helpful-0; empty if only the profile is."""

    path: Path
    stage: str
    cell: str
    parameters: dict[str, Any]
    metrics: dict[str, Any]
    environment: dict[str, Any]

    @property
    def profile(self) -> str:
        return str(self.parameters["profile"])

    @property
    def trio(self) -> str:
        """Empty if the stage is not one of a trio's."""
        return axis_tags(self.stage, self.parameters).get("trio", "")

    @property
    def key(self) -> str:
        return run_key(self.profile, self.stage, self.cell)


def run_files(paths: Paths) -> Iterator[tuple[str, Path]]:
    """The stage and path of every record of a profile, stage by stage."""
    for stage in STAGES:
        first = paths.run(stage)
        yield from ((stage, path) for path in [first, *sorted(first.parent.glob(f"{stage}-*.json"))] if path.is_file())


def read(paths: Paths, stage: str, path: Path) -> Record:
    """Raises UserError, which names the file, if it is not what the stage writes."""
    content = _parse(RunFile, path, path.read_bytes())
    _parse(Environment, path, json.dumps(content.environment).encode())
    parameters = content.parameters
    cell = "-".join(str(parameters[axis]) for axis in AXES if axis in parameters)
    if parameters.get("profile") != paths.profile or path != paths.run(stage, cell):
        raise UserError(f"{path}: its parameters are those of another run ({parameters.get('profile')}, {cell})")
    return Record(path, stage, cell, parameters, content.metrics, content.environment)


def read_steps(paths: Paths, record: Record) -> Steps:
    """The metrics of every step of a training; raises UserError, which names the file, if they are not all there."""
    path = paths.histories / f"{record.cell}.jsonl"
    if not path.is_file():
        raise UserError(f"{path}: not found; `dvc checkout {path}`")
    steps: Steps = _parse(Steps, path, b"[" + b",".join(path.read_bytes().splitlines()) + b"]")
    expected = record.metrics.get("steps")
    if [step.get("step") for step in steps] != list(range(len(steps))) or len(steps) != expected:
        raise UserError(f"{path}: damaged: {len(steps)} lines, not one for each of {expected} steps; `dvc checkout` it")
    return steps


def _parse(kind: Any, path: Path, text: bytes) -> Any:
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: damaged: {place} {first['msg']}; `dvc checkout` it or run its stage") from None


def flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, with dots between the keys; lists as JSON."""
    result: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, dict):
            result |= flat(inner, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = json.dumps(inner) if isinstance(inner, list | tuple) else inner
    return result


def as_params(parameters: dict[str, Any]) -> dict[str, str]:
    """What MLflow shows under Parameters: text."""
    return {key: str(value) for key, value in flat(parameters).items()}


def run_key(profile: str, stage: str, cell: str = "") -> str:
    """The identity of a run, e.g. mini/train/gpt2-small-helpful-0."""
    return "/".join(filter(None, (profile, stage, cell)))


def axis_tags(stage: str, parameters: dict[str, Any]) -> dict[str, str]:
    """What the UI groups and filters by: profile, stage, backbone, family, objective, seed, trio."""
    tags = {"profile": parameters["profile"], "stage": stage}
    tags |= {axis: str(parameters[axis]) for axis in AXES if axis in parameters}
    if "backbone" in tags:
        tags["family"] = tags["backbone"].split("-")[0]
    if {"backbone", "seed"} <= set(tags):
        tags["trio"] = f"{tags['backbone']}-{tags['seed']}"
    if "objective" in tags:
        tags["mlflow.runColor"] = COLOURS[tags["objective"]]
    return tags


def source_tags(stage: str) -> dict[str, str]:
    """What the UI shows as Source."""
    return {"mlflow.source.name": f"rm_tension.{stage}", "mlflow.source.type": "LOCAL"}


def environment_tags(environment: dict[str, Any]) -> dict[str, str]:
    """Where and with what a stage ran; the commit also where MLflow looks for it."""
    versions = {f"version.{name}": value for name, value in environment.get("libraries", {}).items()}
    rest = {key: str(value) for key, value in environment.items() if key not in {"libraries", "accelerator"}}
    rest |= {"gpu": environment.get("accelerator") or "none"}
    return versions | rest | {"mlflow.source.git.commit": environment["git_commit"].rstrip("+")}
