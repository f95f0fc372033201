"""`rm-tension run` and `rm-tension status`."""

import shlex
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.base.lockfile import kind_of
from rm_tension.base.progress import duration
from rm_tension.cost import Cost
from rm_tension.launch.closing import closing_lines
from rm_tension.launch.costs import costs_of, fitting_jobs, for_cpus, is_of, on_gpu, seconds_of
from rm_tension.launch.display import display, table
from rm_tension.launch.local import Local, cores, visible_gpus
from rm_tension.launch.pipeline import Pipeline, refuse_without_locks
from rm_tension.launch.scheduler import (
    GOOD,
    Executor,
    Progress,
    Scheduler,
    State,
    failure_of,
    single_launcher,
)
from rm_tension.launch.slurm import Slurm, jobs_left
from rm_tension.preflight import named_profiles, require

BEFORE_MODELS = {"data", "tokens", "backbone"}  # stages that compute on none
SLURM_JOBS = 64  # in the queue at once, waiting or running


def run(
    target: str,
    *targets: str,
    jobs: int | None = None,
    executor: Literal["local", "slurm"] = "local",
    prefix: str = "",
    sbatch: Annotated[list[str] | None, Parameter(name="--sbatch")] = None,
    only: Annotated[list[str] | None, Parameter(name="--only")] = None,
    dry_run: bool = False,
) -> None:
    """Run stale stages of dvc.yaml in parallel, one per core or GPU; record them as `dvc repro`.

    Killed or interrupted, the same command goes on where it stopped. `dvc repro` may be used before
    and after it. Exit with 1 if a stage failed, after all others that do not depend on it.

    Args:
        target: A stage as for `dvc repro`, such as report@paper.
        targets: More stages.
        jobs: Stages to run at once. Default: one per GPU; without a GPU one per core, as memory
            allows; with Slurm 64.
        executor: Run stages as processes of this machine, or as Slurm jobs.
        prefix: Put this before each command of a Slurm job, such as 'apptainer exec --nv
            rm-tension.sif'.
        sbatch: Pass this option to sbatch, as KEY=VALUE, or KEY alone for a flag; repeatable.
        only: Run only this backbone; repeatable. The report marks what is missing.
        dry_run: Print what would run and about how long it would take; run nothing.
    """
    if executor == "local" and (prefix or sbatch):
        raise UserError("--prefix and --sbatch are for --executor slurm")
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs {jobs}: must be at least 1")
    options = dict(_option(text) for text in sbatch or ())
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    params, names, slurm = load_params(), [target, *targets], executor == "slurm"
    refuse_without_locks()
    try:
        if not dry_run:
            computes = not (slurm or BEFORE_MODELS.issuperset(map(kind_of, names)))
            require(named_profiles(" ".join(names), params.profiles), computes)
        with nullcontext() if dry_run else single_launcher():
            pipeline = Pipeline(names, lambda stage: is_of(params, stage, only or ()))
            gpus = [] if slurm or for_cpus(params, pipeline.commands) else visible_gpus()
            costs = costs_of(params, pipeline.commands, slurm or bool(gpus))
            if jobs is None:
                jobs = SLURM_JOBS if slurm else len(gpus) or fitting_jobs(costs, cores())
            if dry_run:
                _print_plan(pipeline, costs, jobs)
                return
            began = time.monotonic()
            runner: Executor = (
                Slurm(jobs, costs, on_gpu(params, pipeline.commands), prefix, options)
                if slurm
                else _local(jobs, gpus, pipeline)
            )
            with display(costs, jobs) as show:
                progress = Scheduler(pipeline, runner, costs, show).run()
            again = shlex.join(["rm-tension", *sys.argv[1:]])
            for line in closing_lines(progress, time.monotonic() - began, params, names, again):
                print(line)
    except KeyboardInterrupt:
        local, queued = "trainings have saved their state", "Slurm's jobs go on and will be found"
        ended = queued if slurm else local
        sys.exit(f"interrupted: what has ended is recorded, {ended}; start it again to go on")
    sys.exit(0 if GOOD.issuperset(progress.states.values()) else 1)


def status(target: str, *targets: str) -> None:
    """Say how many stages are up to date, stale, or have failed; run nothing.

    Args:
        target: A stage as for `dvc repro`, such as report@paper.
        targets: More stages.
    """
    refuse_without_locks()
    pipeline = Pipeline([target, *targets])
    states = dict.fromkeys(pipeline.commands, State.FRESH)
    for stage in pipeline.stale():
        states[stage] = State.FAILED if failure_of(stage).exists() else State.WAITING
    Console().print(table(Progress(states)))
    if State.WAITING in states.values():
        names = shlex.join([target, *targets])
        print(f"to compute what waits: rm-tension run {names}")
        print(f"to fetch what a remote has of it: dvc pull --with-deps {names}")


def _local(jobs: int, gpus: list[str], pipeline: Pipeline) -> Local:
    """Raise UserError while Slurm may run this checkout's jobs."""
    if left := jobs_left():
        raise UserError(
            f"Slurm may be running jobs of this checkout: {', '.join(left)}; go on with "
            "--executor slurm, or end them with scancel and remove .state/launch/slurm"
        )
    ours = any(command[:1] == ["rm-tension"] for command in pipeline.commands.values())
    return Local(jobs, gpus, preload=ours)  # a user's own stages need none of our libraries


def _print_plan(pipeline: Pipeline, costs: Mapping[str, Cost], jobs: int) -> None:
    """Print each stage that would run and what it costs, and the time for all."""
    stale = pipeline.stale()
    for stage in stale:
        cost = f"about {duration(costs[stage].seconds)}" if stage in costs else "cost unknown"
        print(f"{stage}: {cost}")
    total = f"about {duration(seconds_of(stale, costs) / jobs)}"
    if unknown := sum(stage not in costs for stage in stale):
        total += f" and {unknown} of unknown cost"
    count = f"{len(stale)} of {len(pipeline.commands)} stages"
    print(f"{count} would run, {jobs} at once: {total}")


def _option(text: str) -> tuple[str, str | bool]:
    """Return an option of sbatch and its value, True for a flag."""
    key, equals, value = text.lstrip("-").partition("=")
    if not key:
        raise UserError(f"--sbatch {text}: write KEY=VALUE, or KEY for a flag")
    if key in ("job-name", "chdir"):
        raise UserError(f"--sbatch {text}: the launcher finds its jobs again by it")
    if key == "time" and not value.isdecimal():
        raise UserError(f"--sbatch {text}: write a number of minutes")
    return key.replace("-", "_"), value if equals else True
