"""A tracking store, the local sqlite file or an MLflow server: its experiments, and the runs in them."""

import os
import time
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Experiment, Metric, Param, Run
from mlflow.exceptions import MlflowException

from rm_tension.base.runs import environment
from rm_tension.tracking.names import KEY, SHA256, STEP_METRICS, as_params, is_shown, tags_of

LOCAL = Path(".mlflow")
LOCAL_URI = (
    f"sqlite:///{LOCAL}/mlflow.db"  # relative, for an address cannot hold the name of every folder
)


def artifact_root() -> str:
    """Where the local store keeps the report's files."""
    return (LOCAL.absolute() / "artifacts").as_uri()


def experiment_of(client: MlflowClient, profile: str) -> Experiment:
    """The experiment of a profile, made on first use, also when several processes come at once.

    It holds each run once, so checkouts that share a server need their own, by MLflow's MLFLOW_EXPERIMENT_NAME.
    """
    name = f"{os.environ.get('MLFLOW_EXPERIMENT_NAME', 'rm-tension')}-{profile}"
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            client.create_experiment(
                name, f"{artifact_root()}/{name}" if client.tracking_uri == LOCAL_URI else None
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # made by another process, just now
                raise
        return experiment_of(client, profile)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return experiment


def runs_of(
    client: MlflowClient, experiment: Experiment, where: str = f"tags.`{KEY}` != ''"
) -> list[Run]:
    """The runs of this project that match a filter."""
    return list(
        client.search_runs([experiment.experiment_id], where, max_results=50_000)
    )  # as many as MLflow gives


class StreamedRun:
    """The run that a training writes to while it lasts; those of its attempts that were killed go."""

    def __init__(self, uri: str, cell: str, parameters: dict[str, Any]):
        self._client = MlflowClient(uri)
        key = f"train-{cell}"
        experiment = experiment_of(self._client, parameters["profile"])
        for other in runs_of(self._client, experiment, f"tags.`{KEY}` = '{key}'"):
            if SHA256 not in other.data.tags:
                self._client.delete_run(other.info.run_id)
        tags = {KEY: key} | tags_of("train", parameters, environment())
        self._id = self._client.create_run(
            experiment.experiment_id, tags=tags, run_name=cell
        ).info.run_id
        self._client.log_batch(
            self._id, params=[Param(*item) for item in as_params(parameters).items()]
        )

    def log(self, step: dict[str, float]) -> None:
        """Hand a step to MLflow, which sends it in the background."""
        number, moment = int(step["step"]), int(1000 * time.time())
        if is_shown(number):
            metrics = [Metric(f"train/{name}", step[name], moment, number) for name in STEP_METRICS]
            self._client.log_batch(self._id, metrics=metrics, synchronous=False)

    def end(self, status: str) -> None:
        """Say that the training is over."""
        self._client.set_terminated(self._id, status)
