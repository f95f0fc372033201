"""Run stale stages of dvc.yaml side by side, each on a core or GPU of its own, and record them as `dvc repro` would.

Killed or interrupted, it goes on where it was when it is started again. `dvc repro` may be used before and after it.
"""

import argparse
import signal
import sys
from types import FrameType

from rm_tension.base.errors import UserError
from rm_tension.base.surroundings import check


def main() -> None:
    """Exits 1 if a stage failed, after all others that do not depend on it."""
    parser = argparse.ArgumentParser(prog="python -m rm_tension.launch", description=__doc__)
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="as for `dvc repro`: report@paper")
    parser.add_argument(
        "--jobs", type=int, help="at once; default: one for each GPU, or for each core without a GPU; with Slurm 64"
    )
    parser.add_argument("--executor", choices=["local", "slurm"], default="local", help="this machine, or Slurm's jobs")
    parser.add_argument(
        "--prefix", default="", metavar="WORDS", help="Slurm: before each command: 'apptainer exec --nv rm-tension.sif'"
    )
    parser.add_argument(
        "--sbatch",
        action="append",
        default=[],
        type=_option,
        metavar="KEY=VALUE",
        help="Slurm: an option of sbatch, of which time is in minutes; repeatable",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would run and what it would cost")
    parser.add_argument("--status", action="store_true", help="say what is there, stale, or has failed; run nothing")
    arguments = parser.parse_args()
    if arguments.jobs is not None and arguments.jobs < 1:
        parser.error("--jobs must be at least 1")
    if arguments.executor == "local" and (arguments.prefix or arguments.sbatch):
        parser.error("--prefix and --sbatch are for --executor slurm")
    # here: each job's process imports this module, and needs nothing of it
    from rm_tension.launch.commands import Places, dry_run, launch, status

    slurm = arguments.executor == "slurm"
    places = Places(arguments.jobs, slurm, arguments.prefix, dict(arguments.sbatch))
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        check()
        if arguments.status:
            status(arguments.targets, places)
        elif arguments.dry_run:
            dry_run(arguments.targets, places)
        else:
            sys.exit(launch(arguments.targets, places))
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        jobs = "Slurm's jobs go on and will be found" if slurm else "trainings have saved their state"
        sys.exit(f"interrupted: what has ended is recorded, {jobs}; start it again to go on")


def _option(text: str) -> tuple[str, str]:
    key, is_one, value = text.partition("=")
    if not (key and is_one):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    if key == "time" and not value.isdecimal():
        raise argparse.ArgumentTypeError(f"time={value} is not a number of minutes")
    return key.replace("-", "_"), value


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
