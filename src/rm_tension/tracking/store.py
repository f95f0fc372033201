"""Open a tracking store: an sqlite file, made or migrated first, or an MLflow server."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import mlflow
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException

from rm_tension.errors import UserError
from rm_tension.files import whole
from rm_tension.tracking.records import KEY

LOCAL = Path(".mlflow")
SQLITE = "sqlite:///"
PAGE = 1000


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
    """The experiment of a profile, made on first use, also when several processes come at once."""
    name = f"rm-tension-{profile}"
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


def logged_steps(client: MlflowClient, run: Run) -> dict[int, float]:
    """The loss of each step that the run has; its other metrics are there too, for they are in the same request."""
    if "train/loss" not in run.data.metrics:
        return {}
    return {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, "train/loss")}
