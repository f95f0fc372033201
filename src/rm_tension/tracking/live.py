"""Send the steps of a training to the MLflow server of MLFLOW_TRACKING_URI while it runs.

MLflow sends them in the background. No training fails because of MLflow: a server that is slow or
down costs points, one warning, and some seconds at the start and at the end. `view` also uses the
names of experiments, tags and metrics.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rm_tension.base.errors import without_passwords
from rm_tension.base.runs import environment

URI = "MLFLOW_TRACKING_URI"
# MLflow's defaults, 120 s and 7 retries, would keep a training waiting for minutes. The third puts
# the steps of one second into one request, so that few requests wait for a silent server at the
# end.
LIMITS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ASYNC_LOGGING_BUFFERING_SECONDS": "1",
}
CELL = ("backbone", "objective", "seed")
NO_CURVE = {"step", "epoch", "seconds"}  # of a step; all its other numbers are metrics


@contextmanager
def stream(cell: str, parameters: dict[str, Any]) -> Iterator[Callable[[dict[str, float]], None]]:
    """Yield a function for a step's metrics; without MLFLOW_TRACKING_URI it does nothing."""
    if not os.environ.get(URI):
        yield lambda step: None
        return
    for name, value in LIMITS.items():
        os.environ.setdefault(name, value)
    import mlflow  # takes seconds, which a training without a server saves

    warning = _OneWarning()
    logging.getLogger("mlflow").handlers = [warning]  # it logs what it could not send
    client = mlflow.MlflowClient()

    def start() -> str:
        experiment = mlflow.set_experiment(experiment_name(parameters["profile"]))
        tags = run_tags("train", parameters, environment())
        run = client.create_run(experiment.experiment_id, tags=tags, run_name=cell)
        params = [mlflow.entities.Param(key, str(value)) for key, value in flat(parameters).items()]
        client.log_batch(run.info.run_id, params=params)
        return str(run.info.run_id)

    def log(step: dict[str, float]) -> None:
        now, number = int(1000 * time.time()), int(step["step"])
        metrics = [mlflow.entities.Metric(*item, now, number) for item in curves(step).items()]
        warning.guard(lambda: client.log_batch(run_id, metrics, synchronous=False))

    run_id, status = warning.guard(start), "FAILED"
    try:
        yield log if run_id else lambda step: None
        status = "FINISHED"
    finally:
        if run_id:
            warning.guard(lambda: client.set_terminated(run_id, status))


class _OneWarning(logging.Handler):
    """Prints one warning, of the first thing that MLflow could not do."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._printed = False

    def guard(self, action: Callable[[], Any]) -> Any:
        """Return the action's result, or warn and return None."""
        try:
            return action()
        except Exception as error:  # of MLflow, HTTP or sqlite: no base in common
            self._warn(f"{type(error).__name__}: {error}")
            return None

    def emit(self, record: logging.LogRecord) -> None:
        self._warn(record.getMessage())

    def _warn(self, reason: str) -> None:
        if not self._printed:
            self._printed = True
            reason = without_passwords(" ".join(reason.split()))[:300]
            message = (
                f"MLflow does not get all steps ({reason}); the training goes on, "
                "`rm-tension mlflow` shows them later"
            )
            print(f"\nwarning: {message}", file=sys.stderr, flush=True)


def experiment_name(profile: str) -> str:
    """Return the name of a profile's experiment."""
    return f"rm-tension-{profile}"


def curves(step: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of one training step by their names in MLflow."""
    return {f"train/{name}": value for name, value in step.items() if name not in NO_CURVE}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings on one level, with dots between the keys."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result


def run_tags(
    stage: str, parameters: Mapping[str, Any], machine: Mapping[str, Any]
) -> dict[str, str]:
    """Return what the UI groups and filters by: a run's cell of the grid, machine and software."""
    tags = {"profile": str(parameters["profile"]), "stage": stage}
    tags |= {axis: str(parameters[axis]) for axis in CELL if axis in parameters}
    if "backbone" in tags:
        tags["family"] = tags["backbone"].split("-")[0]
    if {"backbone", "seed"} <= tags.keys():
        tags["trio"] = f"{tags['backbone']}-{tags['seed']}"
    return tags | {name: str(value) for name, value in flat(machine).items()}
