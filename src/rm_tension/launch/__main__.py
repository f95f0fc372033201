"""Run stale stages of dvc.yaml side by side, each on a core or GPU of its own, and record them as `dvc repro` would.

Killed or interrupted, it goes on where it was when it is started again. `dvc repro` may be used before and after it.
"""

import argparse
import signal
import sys
from types import FrameType

from rm_tension.base.errors import UserError


def main() -> None:
    """Exits 1 if a stage failed, after all others that do not depend on it."""
    parser = argparse.ArgumentParser(prog="python -m rm_tension.launch", description=__doc__)
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="as for `dvc repro`: report@paper")
    parser.add_argument("--jobs", type=int, help="at once; default: one for each GPU, or for each core without a GPU")
    parser.add_argument("--dry-run", action="store_true", help="say what would run and what it would cost")
    parser.add_argument("--status", action="store_true", help="say what is there, stale, or has failed; run nothing")
    arguments = parser.parse_args()
    if arguments.jobs is not None and arguments.jobs < 1:
        parser.error("--jobs must be at least 1")
    # here: each job's process imports this module, and needs nothing of it
    from rm_tension.launch.commands import dry_run, launch, status

    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if arguments.status:
            status(arguments.targets)
        elif arguments.dry_run:
            dry_run(arguments.targets, arguments.jobs)
        else:
            sys.exit(launch(arguments.targets, arguments.jobs))
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: what has ended is recorded, trainings have saved their state; start it again to go on")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
