"""A tracking store: the local sqlite file, or an MLflow server."""

import os
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException

from rm_tension.base.errors import UserError
from rm_tension.tracking.names import KEY

LOCAL = Path(".mlflow")


def local_uri() -> str:
    """The sqlite store that `make mlflow` fills; UserError in a folder whose name an address cannot hold."""
    path = LOCAL.absolute() / "mlflow.db"
    if odd := sorted(set("?#%") & set(str(path))):
        raise UserError(f"{path}: MLflow takes no store below a folder with {' '.join(odd)} in its name: rename it")
    return f"sqlite:///{path}"


def artifact_root() -> str:
    """Where the local store keeps the report's files."""
    return (LOCAL.absolute() / "artifacts").as_uri()


def experiment_of(client: MlflowClient, profile: str) -> Experiment:
    """The experiment of a profile, made on first use, also when several processes come at once.

    It holds each run once, so checkouts that share a server need their own, by MLflow's MLFLOW_EXPERIMENT_NAME.
    """
    name = f"{os.environ.get('MLFLOW_EXPERIMENT_NAME', 'rm-tension')}-{profile}"
    found = client.get_experiment_by_name(name)
    if found is None:
        artefacts = f"{artifact_root()}/{name}" if client.tracking_uri == local_uri() else None  # else the server knows
        try:
            found = client.get_experiment(client.create_experiment(name, artefacts))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # that another process has just made
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found


def runs_of(client: MlflowClient, experiment: Experiment, where: str = f"tags.`{KEY}` != ''") -> list[Run]:
    """The runs of this project that match a filter."""
    runs: list[Run] = []
    token: str | None = None
    while token != "":
        page = client.search_runs([experiment.experiment_id], where, max_results=1000, page_token=token)
        runs += page
        token = page.token or ""
    return runs
