"""Fill the local MLflow store from runs/ and serve its UI (`make mlflow`), or fill an MLflow server (--store)."""

import argparse
import os
import sqlite3
import sys
from pathlib import Path

from filelock import FileLock
from mlflow.exceptions import MlflowException

from rm_tension.base.config import Params, load_params
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Paths
from rm_tension.tracking.dvc_lock import Lock, pull
from rm_tension.tracking.fill import Outcome, fill
from rm_tension.tracking.live import words_of
from rm_tension.tracking.serve import free_port, serve
from rm_tension.tracking.store import LOCAL, connect, experiment_of, local_uri
from rm_tension.tracking.views import view_url


def main() -> None:
    """Exits 1 if something in runs/ could not be read, after doing the rest."""
    parser = argparse.ArgumentParser(prog="python -m rm_tension.tracking", description=__doc__)
    parser.add_argument("--pull", action="store_true", help="first `dvc pull` what is missing of runs/ and results/")
    parser.add_argument("--fill-only", action="store_true", help="do not serve the UI")
    parser.add_argument("--store", metavar="URI", help="fill this one, e.g. http://127.0.0.1:5000; serve nothing")
    parser.add_argument("--port", type=int, default=0, help="of the UI; 0 (the default) is a free one")
    arguments = parser.parse_args()
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # MLflow's own seven take minutes
    try:
        look_for_missing(load_params(), arguments.pull)
        pages, problems = fill_profiles(load_params(), arguments.store or local_uri())
        if not (arguments.fill_only or arguments.store):
            serve(arguments.port or free_port(), pages or {"no runs yet": ""})
    except UserError as error:
        sys.exit(f"error: {error}")
    except (MlflowException, sqlite3.Error, OSError) as error:  # the last two: a full disk
        sys.exit(f"error: the store does not work, what it has stays: {words_of(error)}")
    sys.exit(1 if problems else 0)


def look_for_missing(params: Params, fetch: bool) -> None:
    """Fetch or name what dvc.lock has and this checkout lacks: from a part of runs/, a part of the runs is filled."""
    try:
        lock = Lock(Path("dvc.lock"))
    except UserError:
        return  # the fill names it
    missing = {profile: lock.missing(profile) for profile in params.grid.profiles}
    for profile, paths in missing.items():
        if paths and not fetch:
            print(
                f"{profile}: {len(paths)} outputs of dvc.lock are not here; with --pull, they are fetched", flush=True
            )
    if fetch and any(missing.values()):
        pull(sorted(path for paths in missing.values() for path in paths))


def fill_profiles(params: Params, uri: str) -> tuple[dict[str, str], list[str]]:
    """Fill from every profile that has runs; says what was done. Returns their pages and what could not be read."""
    pages: dict[str, str] = {}
    problems: list[str] = []
    LOCAL.mkdir(exist_ok=True)
    with FileLock(LOCAL / "fill.lock"):  # two fills of this checkout at once would write each run twice
        client = connect(uri)
        for profile in params.grid.profiles:
            if Path("runs", profile).is_dir():
                outcome = fill(client, Paths(profile), params.profiles[profile].title)
                print(f"{profile}: {_words(outcome)}", flush=True)
                problems += outcome.problems
                pages[f"all runs of {profile}"] = view_url(experiment_of(client, profile).experiment_id, "tension")
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    return pages, problems


def _words(outcome: Outcome) -> str:
    return ", ".join(f"{count} runs {verb}" for verb, count in sorted(outcome.runs.items()) if count) or "no runs"


if __name__ == "__main__":
    main()
