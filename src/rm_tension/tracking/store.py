"""Open a tracking store: an sqlite file, made or migrated first, or an MLflow server."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import mlflow
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException

from rm_tension.base.errors import UserError
from rm_tension.base.files import whole
from rm_tension.tracking.records import KEY, STEP_METRICS

LOCAL = Path(".mlflow")
SQLITE = "sqlite:///"
PAGE = 1000
BATCH = 900  # MLflow takes 1,000 entities in a request
PATIENCE = 60.0  # s that another process may hold the file
INSERT = "insert or ignore into metrics (key, value, timestamp, run_uuid, step, is_nan) values (?, ?, ?, ?, ?, 0)"


def local_uri(folder: Path = LOCAL) -> str:
    """The sqlite store that `make mlflow` fills."""
    return f"{SQLITE}{folder.absolute() / 'mlflow.db'}"


def artifact_root(folder: Path = LOCAL) -> str:
    """Where the local store keeps the report's files."""
    return (folder.absolute() / "artifacts").as_uri()


def connect(uri: str) -> MlflowClient:
    """A client of the store; raises UserError if it is an sqlite file that this MLflow cannot use."""
    if uri.startswith(SQLITE):
        prepare(Path(uri.removeprefix(SQLITE)))
    return MlflowClient(uri)


def prepare(path: Path) -> None:
    """Make the sqlite file, or migrate one of an older MLflow; the old file stays as <name>.<schema>.bak.

    MLflow makes the tables where it finds none, and two processes that do so at once break the file for good; so one
    does, under a lock, in a file that appears when it is whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f"{path.name}.lock")):
        if not path.exists():
            with whole(path) as partial:
                _upgrade(partial)
            return
        migrations = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
        found = _schema(path)
        if found == migrations.get_current_head():
            return
        _refuse_unknown(path, found, migrations)
        backup = path.with_name(f"{path.name}.{found}.bak")
        _copy(path, backup)
        with whole(path) as partial:
            _copy(path, partial)
            _upgrade(partial)
        print(f"{path}: migrated to the schema of MLflow {mlflow.__version__}; the old file is {backup.name}")


def _schema(path: Path) -> str:
    remedy = "it is filled from runs/, so move it away and start again"
    try:
        with closing(sqlite3.connect(path)) as connection:
            return str(connection.execute("select version_num from alembic_version").fetchone()[0])
    except (sqlite3.Error, TypeError) as error:
        raise UserError(f"{path}: not a store of MLflow ({error}); {remedy}") from error


def _refuse_unknown(path: Path, found: str, migrations: ScriptDirectory) -> None:
    try:
        migrations.get_revision(found)
    except CommandError:
        raise UserError(
            f"{path}: schema {found} is not known to MLflow {mlflow.__version__}, so a newer one wrote it; "
            "install that one, or move the file away: it is filled from runs/"
        ) from None


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def _upgrade(path: Path) -> None:
    """Bring the schema of a file up to date, also of an empty one: MLflow's own command."""
    command = [sys.executable, "-m", "mlflow", "db", "upgrade", f"{SQLITE}{path.absolute()}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise UserError(f"{path}: `mlflow db upgrade` failed, the store is as it was:\n{done.stderr[-2000:]}")


def experiment_of(client: MlflowClient, profile: str) -> Experiment:
    """The experiment of a profile, made on first use, also when several processes come at once.

    It holds each run once, so checkouts that share a server need their own, by MLflow's MLFLOW_EXPERIMENT_NAME.
    """
    name = f"{os.environ.get('MLFLOW_EXPERIMENT_NAME', 'rm-tension')}-{profile}"
    found = client.get_experiment_by_name(name) or _new_experiment(client, name)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found


def _new_experiment(client: MlflowClient, name: str) -> Experiment:
    artefacts = f"{artifact_root()}/{name}" if client.tracking_uri == local_uri() else None  # else the server knows
    try:
        return client.get_experiment(client.create_experiment(name, artefacts))
    except MlflowException as error:
        other = client.get_experiment_by_name(name)  # that another process has just made
        if other is None:
            raise error
        return other


def runs_of(client: MlflowClient, experiment: Experiment, where: str = f"tags.`{KEY}` != ''") -> list[Run]:
    """The runs of this project that match a filter, newest first."""
    runs: list[Run] = []
    token: str | None = None
    while token != "":
        page = client.search_runs(
            [experiment.experiment_id], where, max_results=PAGE, order_by=["start_time DESC"], page_token=token
        )
        runs += page
        token = page.token or ""
    return runs


def log_steps(
    client: MlflowClient, run_id: str, steps: list[dict[str, float]], metrics_of: Callable[[dict[str, float]], Any]
) -> None:
    """Log the metrics of many steps, the last one first, so that a killed fill still knows what it has.

    Into a local file they go as rows, except the last step, which MLflow's own call makes the run's latest: as objects,
    54 runs of 20,000 steps would take ten times as long.
    """
    *others, last = steps
    client.log_batch(run_id, metrics=list(metrics_of(last)))
    if client.tracking_uri.startswith(SQLITE):
        metrics = (metric for step in others for metric in metrics_of(step))
        rows = ((one.key, one.value, one.timestamp, run_id, one.step) for one in metrics)
        path = client.tracking_uri.removeprefix(SQLITE)
        with closing(sqlite3.connect(path, timeout=PATIENCE)) as connection, connection:
            connection.executemany(INSERT, rows)
        return
    for chunk in chunks(others, BATCH // len(STEP_METRICS)):
        client.log_batch(run_id, metrics=[metric for step in chunk for metric in metrics_of(step)])


def chunks(items: list[Any], size: int) -> list[list[Any]]:
    """The items in parts of a size that one request may have."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def logged_steps(client: MlflowClient, run: Run) -> dict[int, float]:
    """The loss of each step that the run has; its other metrics are there too, for they are in the same request."""
    if "train/loss" not in run.data.metrics:
        return {}
    return {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, "train/loss")}
