"""Fill the local MLflow store from runs/ and serve its UI (`make mlflow`), or fill an MLflow server (--store)."""

import os
import socket
import sys
from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from rm_tension.base.config import Params, load_params
from rm_tension.base.errors import UserError, without_passwords
from rm_tension.base.files import unlink_from_cache
from rm_tension.base.grid import Paths
from rm_tension.tracking.fill import fill
from rm_tension.tracking.pull import pull as fetch
from rm_tension.tracking.store import LOCAL, LOCAL_URI, artifact_root, experiment_of
from rm_tension.tracking.views import view_url

HOST = "127.0.0.1"


def main(
    *,
    pull: list[str] | None = None,
    fill_only: bool = False,
    store: str | None = None,
    port: int = 0,
) -> None:
    """Fill the local MLflow store from runs/ and serve its UI (`make mlflow`), or fill an MLflow server (--store).

    Exit with 1 if something in runs/ could not be read, after doing the rest.

    Args:
        pull: First fetch what is missing of runs/ and results/ of this profile, or of `all`; repeatable.
        fill_only: Do not serve the UI.
        store: Fill this one, such as http://127.0.0.1:5000; serve nothing.
        port: Of the UI; 0 is a free one.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # MLflow's own seven take minutes
    try:
        params = load_params()
        if pull:
            chosen = params.grid.profiles if "all" in pull else pull
            params.refuse_unknown(chosen)
            fetch([f"{folder}/{profile}" for profile in chosen for folder in ("runs", "results")])
        pages, problems = fill_profiles(params, store or LOCAL_URI)
    except (MlflowException, OSError) as error:  # the second: a full disk
        remedy = "" if store else f"; {LOCAL} is filled from runs/, so it may be moved away"
        raise UserError(
            f"the store does not work, what it has stays: {without_passwords(str(error))}{remedy}"
        ) from error
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    if problems or fill_only or store:
        sys.exit(1 if problems else 0)
    serve(port or free_port(), pages)


def fill_profiles(params: Params, uri: str) -> tuple[dict[str, str], list[str]]:
    """Fill from every profile that has runs; says what was done. Returns their pages and what could not be read."""
    pages: dict[str, str] = {}
    problems: list[str] = []
    LOCAL.mkdir(exist_ok=True)
    # two fills of this checkout at once would write each run twice, and MLflow breaks a fresh file that two open
    with FileLock(LOCAL / "fill.lock"):
        if uri == LOCAL_URI:
            unlink_from_cache(
                LOCAL / "mlflow.db"
            )  # after `dvc add .mlflow`: sqlite writes in place
        client = MlflowClient(uri)
        for profile in params.grid.profiles:
            if Path("runs", profile).is_dir():
                done = fill(client, Paths(profile), params.profiles[profile].title, problems)
                said = ", ".join(f"{count} runs {verb}" for verb, count in sorted(done.items()))
                print(f"{profile}: {said or 'no runs'}", flush=True)
                pages[profile] = view_url(experiment_of(client, profile).experiment_id, "tension")
    return pages, problems


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def serve(port: int, pages: dict[str, str]) -> None:
    """Become `mlflow server` on the local store, on this machine only. `pages`: of the profiles."""
    for profile, page in pages.items():
        print(f"all runs of {profile}:\nhttp://{HOST}:{port}/{page}")
    if not pages:
        print(f"no runs yet:\nhttp://{HOST}:{port}/")
    print("They answer as soon as MLflow has started. Ctrl-C ends it.", flush=True)
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        HOST,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += ["--backend-store-uri", LOCAL_URI, "--default-artifact-root", artifact_root()]
    command += ["--no-serve-artifacts", "--uvicorn-opts", "--log-level warning"]
    # Its job workers serve language model features that nobody uses here.
    environment = os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONWARNINGS": "ignore",
    }
    os.execve(sys.executable, command, environment)  # noqa: S606
