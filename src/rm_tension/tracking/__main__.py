"""Fill the local MLflow store from runs/ and serve its UI (`make mlflow`), or fill an MLflow server (--store)."""

import argparse
import sys
from pathlib import Path

from filelock import FileLock

from rm_tension.config import Params, load_params
from rm_tension.errors import UserError
from rm_tension.grid import Paths
from rm_tension.tracking.fill import Outcome, fill
from rm_tension.tracking.serve import free_port, serve
from rm_tension.tracking.store import LOCAL, connect, local_uri


def main() -> None:
    """Exits 1 if something in runs/ could not be read, after doing the rest."""
    parser = argparse.ArgumentParser(prog="python -m rm_tension.tracking", description=__doc__)
    parser.add_argument("--fill-only", action="store_true", help="do not serve the UI")
    parser.add_argument("--store", metavar="URI", help="fill this one, e.g. http://127.0.0.1:5000; serve nothing")
    parser.add_argument("--port", type=int, default=0, help="of the UI; 0 (the default) is a free one")
    arguments = parser.parse_args()
    try:
        problems = fill_profiles(load_params(), arguments.store or local_uri())
        if not (arguments.fill_only or arguments.store):
            serve(arguments.port or free_port())
    except UserError as error:
        sys.exit(f"error: {error}")
    sys.exit(1 if problems else 0)


def fill_profiles(params: Params, uri: str) -> list[str]:
    """Fill from every profile that has runs; says what was done and returns what could not be read."""
    problems: list[str] = []
    LOCAL.mkdir(exist_ok=True)
    with FileLock(LOCAL / "fill.lock"):  # two fills at once would write each run twice
        client = connect(uri)
        for profile in params.grid.profiles:
            if Path("runs", profile).is_dir():
                outcome = fill(client, Paths(profile), params.profiles[profile].title)
                print(f"{profile}: {_words(outcome)}", flush=True)
                problems += outcome.problems
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    return problems


def _words(outcome: Outcome) -> str:
    return ", ".join(f"{count} runs {verb}" for verb, count in sorted(outcome.runs.items()) if count) or "no runs"


if __name__ == "__main__":
    main()
