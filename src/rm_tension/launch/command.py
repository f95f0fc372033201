"""`rm-tension run` and `rm-tension status`."""

import shlex
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from rm_tension.base.config import Params, load_params
from rm_tension.base.errors import UserError
from rm_tension.base.progress import duration
from rm_tension.launch.closing import closing_lines
from rm_tension.launch.costs import costs_of, fitting_jobs, is_of, on_gpu, seconds_of
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
from rm_tension.launch.slurm import Options, Slurm, jobs_left
from rm_tension.preflight import named_profiles, require

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
    options = dict(_option(text) for text in sbatch or ())
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    refuse_without_locks()
    params, names = load_params(), [target, *targets]
    make_launch = partial(_Launch, params, names, jobs, executor == "slurm", only or ())
    try:
        if dry_run:
            make_launch().print_plan()
            return
        require(named_profiles(" ".join(names), params.profiles))
        with single_launcher():
            code = make_launch().run(prefix, options)
        sys.exit(code)
    except KeyboardInterrupt:
        slurm, local = "Slurm's jobs go on and will be found", "trainings have saved their state"
        ended = slurm if executor == "slurm" else local
        sys.exit(f"interrupted: what has ended is recorded, {ended}; start it again to go on")


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


class _Launch:
    """A pipeline, what its stages cost, and how many of them run at a time."""

    def __init__(
        self,
        params: Params,
        targets: Sequence[str],
        jobs: int | None,
        slurm: bool,
        only: Sequence[str],
    ) -> None:
        if jobs is not None and jobs < 1:
            raise UserError(f"--jobs {jobs}: must be at least 1")
        self._targets, self._slurm, self._params = targets, slurm, params
        self._pipeline = Pipeline(targets, lambda stage: is_of(self._params, stage, only))
        self._gpus = [] if slurm else visible_gpus()
        self._costs = costs_of(self._params, self._pipeline.commands, slurm or bool(self._gpus))
        default = SLURM_JOBS if slurm else len(self._gpus) or fitting_jobs(self._costs, cores())
        self._jobs = jobs or default

    def print_plan(self) -> None:
        """Print each stage that would run and what it costs, and the time for all."""
        stale, costs = self._pipeline.stale(), self._costs
        for stage in stale:
            cost = f"about {duration(costs[stage].seconds)}" if stage in costs else "cost unknown"
            print(f"{stage}: {cost}")
        total = f"about {duration(seconds_of(stale, costs) / self._jobs)}"
        if unknown := sum(stage not in costs for stage in stale):
            total += f" and {unknown} of unknown cost"
        count = f"{len(stale)} of {len(self._pipeline.commands)} stages"
        print(f"{count} would run, {self._jobs} at once: {total}")

    def run(self, prefix: str, options: Options) -> int:
        """Run what is stale; return the exit code."""
        began = time.monotonic()
        executor = self._executor(prefix, options)
        with display(self._costs, self._jobs) as show:
            progress = Scheduler(self._pipeline, executor, self._costs, show).run()
        seconds, command = time.monotonic() - began, shlex.join(["rm-tension", *sys.argv[1:]])
        for line in closing_lines(progress, seconds, self._params, self._targets, command):
            print(line)
        return 0 if GOOD.issuperset(progress.states.values()) else 1

    def _executor(self, prefix: str, options: Options) -> Executor:
        """Raise UserError without Slurm, and, here, while Slurm may run this checkout's jobs."""
        if self._slurm:
            gpu_stages = on_gpu(self._params, self._pipeline.commands)
            return Slurm(self._jobs, self._costs, gpu_stages, prefix, options)
        if left := jobs_left():
            raise UserError(
                f"Slurm may be running jobs of this checkout: {', '.join(left)}; go on with "
                "--executor slurm, or end them with scancel and remove .state/launch/slurm"
            )
        return Local(self._jobs, self._gpus)


def _option(text: str) -> tuple[str, str | bool]:
    """Return an option of sbatch and its value, True for a flag."""
    key, equals, value = text.lstrip("-").partition("=")
    if not key:
        raise UserError(f"--sbatch {text}: write KEY=VALUE, or KEY for a flag")
    if key == "time" and not value.isdecimal():
        raise UserError(f"--sbatch {text}: write a number of minutes")
    return key.replace("-", "_"), value if equals else True
