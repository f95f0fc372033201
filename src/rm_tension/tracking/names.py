"""How runs are called and tagged in MLflow, by those who stream and those who fill. Imports no MLflow."""

import json
from typing import Any

from rm_tension.paper.figures import COLOURS

# Named as the run's file in runs/, or trio-gpt2-small-0; an experiment has one run per key, whoever wrote it: the
# training while it runs, or the fill.
KEY = "rm_tension.key"
SHA256 = "rm_tension.sha256"  # of what the fill wrote; a run without it is being trained, or was filled by half
STEP_METRICS = (
    "loss",
    "accuracy",
    "margin",
    "learning_rate",
    "gradient_norm",
    "tokens_per_second",
    "memory_mib",
)


def is_shown(step: int) -> bool:
    """Whether a chart has room for a step: the first 512, then every second up to 1,024, every fourth, ..."""
    return step % (1 << max(0, step.bit_length() - 9)) == 0


def as_params(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """What MLflow shows under Parameters: text, with dots between nested keys."""
    result: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            result |= as_params(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = (
                json.dumps(value) if isinstance(value, list | tuple) else str(value)
            )
    return result


def tags_of(stage: str, parameters: dict[str, Any], environment: dict[str, Any]) -> dict[str, str]:
    """What the UI groups and filters by: the place in the grid, and where and with what a stage ran."""
    tags = {"profile": parameters["profile"], "stage": stage}
    tags |= {
        axis: str(parameters[axis])
        for axis in ("backbone", "objective", "seed")
        if axis in parameters
    }
    if "backbone" in tags:
        tags["family"] = tags["backbone"].split("-")[0]
    if {"backbone", "seed"} <= set(tags):
        tags["trio"] = f"{tags['backbone']}-{tags['seed']}"
    if "objective" in tags:
        tags["mlflow.runColor"] = COLOURS[tags["objective"]]
    if environment:  # the commit and the program also where MLflow looks for them
        tags |= as_params(environment) | {
            "mlflow.source.git.commit": environment["git_commit"].rstrip("+")
        }
        tags |= {"mlflow.source.name": f"rm_tension.{stage}", "mlflow.source.type": "LOCAL"}
    return tags
