"""Read runs/<P>/: what each stage measured about itself, checked."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from rm_tension.base.errors import UserError
from rm_tension.base.grid import Paths
from rm_tension.tracking.names import AXES, is_shown

STAGES = ("data", "tokens", "backbone", "train", "activations", "evaluate", "analyse", "report")
Steps = list[dict[str, Annotated[float, Field(allow_inf_nan=False)]]]


class Environment(BaseModel):
    """What `runs.environment` writes, as far as it is needed here."""

    model_config = ConfigDict(extra="allow")
    git_commit: str
    libraries: dict[str, str]
    accelerator: str | None


class RunFile(BaseModel):
    """runs/<P>/<stage>-<cell>.json."""

    model_config = ConfigDict(extra="forbid")
    parameters: dict[str, Any]
    metrics: dict[str, Any]
    environment: Environment


@dataclass(frozen=True)
class Record:
    """One run of a stage. `cell` is its place in the grid, e.g. gpt2-small-helpful-0; empty if only the profile is."""

    path: Path
    stage: str
    cell: str
    parameters: dict[str, Any]
    metrics: dict[str, Any]
    environment: dict[str, Any]
    steps: Steps  # of a training, as many as a chart can show


def read_all(paths: Paths, problems: list[str]) -> Iterator[Record]:
    """Every record of a profile, stage by stage; what cannot be read is named in `problems` and left out."""
    for stage in STAGES:
        first = paths.run(stage)
        for path in [first, *sorted(first.parent.glob(f"{stage}-*.json"))]:
            try:
                if path.is_file():
                    yield read(paths, stage, path)
            except UserError as error:
                problems.append(str(error))


def read(paths: Paths, stage: str, path: Path) -> Record:
    """Raises UserError, which names the file, if it is not what the stage writes."""
    content = _parse(RunFile, path, path.read_bytes())
    parameters = content.parameters
    cell = "-".join(str(parameters[axis]) for axis in AXES if axis in parameters)
    if parameters.get("profile") != paths.profile or path != paths.run(stage, cell):
        raise UserError(f"{path}: its parameters are those of another run ({parameters.get('profile')}, {cell})")
    steps = _steps(paths.histories / f"{cell}.jsonl", content.metrics.get("steps")) if stage == "train" else []
    return Record(path, stage, cell, parameters, content.metrics, content.environment.model_dump(), steps)


def _steps(path: Path, expected: int | None) -> Steps:
    if not path.is_file():
        raise UserError(f"{path}: not found; `dvc checkout {path}`")
    steps: Steps = _parse(Steps, path, b"[" + b",".join(path.read_bytes().splitlines()) + b"]")
    if [step.get("step") for step in steps] != list(range(len(steps))) or len(steps) != expected:
        raise UserError(f"{path}: damaged: {len(steps)} lines, not one for each of {expected} steps; `dvc checkout` it")
    return [step for step in steps if is_shown(int(step["step"])) or step is steps[-1]]


def _parse(kind: Any, path: Path, text: bytes) -> Any:
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: damaged: {place} {first['msg']}; `dvc checkout` it or run its stage") from None
