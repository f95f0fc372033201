"""`rm-tension run` and `rm-tension status`: what `dvc repro` does, side by side."""

import signal
import sys
from typing import Annotated, Literal

from cyclopts import Parameter

from rm_tension.base.errors import UserError
from rm_tension.launch.commands import Places, launch
from rm_tension.launch.commands import dry_run as show_dry_run
from rm_tension.launch.commands import status as show_status

Executor = Literal["local", "slurm"]


def run(
    target: str,
    *targets: str,
    jobs: int | None = None,
    executor: Executor = "local",
    prefix: str = "",
    sbatch: Annotated[list[str] | None, Parameter(name="--sbatch")] = None,
    dry_run: bool = False,
) -> None:
    """Run stale stages of dvc.yaml in parallel, each on a core or GPU of its own, and record them as `dvc repro` would.

    Killed or interrupted, it goes on where it was when it is started again. `dvc repro` may be used before and after
    it. Exit with 1 if a stage failed, after all others that do not depend on it.

    Args:
        target: As for `dvc repro`, such as report@paper.
        targets: More of them.
        jobs: At once. Default: one for each GPU, or for each core without a GPU; with Slurm 64.
        executor: This machine, or Slurm's jobs.
        prefix: Slurm: before each command, such as 'apptainer exec --nv rm-tension.sif'.
        sbatch: Slurm: an option of sbatch as KEY=VALUE, of which time is in minutes; repeatable.
        dry_run: Say what would run and what it would cost.
    """
    if executor == "local" and (prefix or sbatch):
        raise UserError("--prefix and --sbatch are for --executor slurm")
    places = _places(jobs, executor, prefix, sbatch)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as with Ctrl-C
    try:
        if dry_run:
            show_dry_run([target, *targets], places)
        else:
            sys.exit(launch([target, *targets], places))
    except KeyboardInterrupt:
        ended = (
            "Slurm's jobs go on and will be found"
            if executor == "slurm"
            else "trainings have saved their state"
        )
        sys.exit(f"interrupted: what has ended is recorded, {ended}; start it again to go on")


def status(
    target: str, *targets: str, jobs: int | None = None, executor: Executor = "local"
) -> None:
    """Say which stages are up to date, stale, or have failed; run nothing.

    Args:
        target: As for `dvc repro`, such as report@paper.
        targets: More of them.
        jobs: At once, for the time that is left.
        executor: This machine, or Slurm's jobs.
    """
    show_status([target, *targets], _places(jobs, executor))


def _places(
    jobs: int | None, executor: Executor, prefix: str = "", sbatch: list[str] | None = None
) -> Places:
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs {jobs}: must be at least 1")
    return Places(jobs, executor == "slurm", prefix, dict(map(_option, sbatch or ())))


def _option(text: str) -> tuple[str, str]:
    key, is_one, value = text.partition("=")
    if not (key and is_one):
        raise UserError(f"--sbatch {text}: not KEY=VALUE")
    if key == "time" and not value.isdecimal():
        raise UserError(f"--sbatch time={value}: not a number of minutes")
    return key.replace("-", "_"), value
