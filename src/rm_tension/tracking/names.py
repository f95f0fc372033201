"""How runs are called and tagged in MLflow, by those who stream and those who fill. Imports no MLflow."""

import json
from typing import Any

from rm_tension.paper.figures import COLOURS

AXES = ("backbone", "objective", "seed")
KEY = "rm_tension.key"  # one run of the store per key, whoever wrote it: training while it runs, or the fill
SHA256 = "rm_tension.sha256"  # of what the fill wrote; a run without it is being trained, or was filled by half
STEP_METRICS = ("loss", "accuracy", "margin", "learning_rate", "gradient_norm", "tokens_per_second", "memory_mib")


def is_shown(step: int) -> bool:
    """Whether a chart has room for a step: the first 512, then every second up to 1,024, every fourth, ..."""
    return step % (1 << max(0, step.bit_length() - 9)) == 0


def as_params(parameters: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """What MLflow shows under Parameters: text, with dots between nested keys."""
    result: dict[str, str] = {}
    for key, value in parameters.items():
        if isinstance(value, dict):
            result |= as_params(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list | tuple) else str(value)
    return result


def run_key(profile: str, stage: str, cell: str = "") -> str:
    """The identity of a run, e.g. mini/train/gpt2-small-helpful-0."""
    return "/".join(filter(None, (profile, stage, cell)))


def tags_of(stage: str, parameters: dict[str, Any], environment: dict[str, Any]) -> dict[str, str]:
    """What the UI groups and filters by: the place in the grid, and where and with what a stage ran.

    The commit and the program also stand where MLflow looks for them.
    """
    tags = {"profile": parameters["profile"], "stage": stage}
    tags |= {axis: str(parameters[axis]) for axis in AXES if axis in parameters}
    if "backbone" in tags:
        tags["family"] = tags["backbone"].split("-")[0]
    if {"backbone", "seed"} <= set(tags):
        tags["trio"] = f"{tags['backbone']}-{tags['seed']}"
    if "objective" in tags:
        tags["mlflow.runColor"] = COLOURS[tags["objective"]]
    if environment:
        tags |= {f"version.{name}": version for name, version in environment["libraries"].items()}
        tags |= {key: str(environment[key]) for key in environment if key not in {"libraries", "accelerator"}}
        tags |= {"gpu": environment["accelerator"] or "none"}
        tags |= {"mlflow.source.name": f"rm_tension.{stage}", "mlflow.source.type": "LOCAL"}
        tags |= {"mlflow.source.git.commit": environment["git_commit"].rstrip("+")}
    return tags
