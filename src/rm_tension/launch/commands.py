"""What the command line does: run, say what would run, say what there is."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pynvml
from rich.console import Console
from tabulate import tabulate

from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.cost import Cost, stage_costs
from rm_tension.launch.coordinator import Coordinator, Progress, State, failure_of, only_one
from rm_tension.launch.display import display, grid, minutes
from rm_tension.launch.executor import Executor
from rm_tension.launch.local import Local, cores
from rm_tension.launch.pipeline import Pipeline
from rm_tension.launch.slurm import Slurm, jobs_left

SLURM_JOBS = 64  # at once, waiting ones among them
ON_GPU = ("train", "activations", "evaluate")


@dataclass(frozen=True)
class Places:
    """Where jobs run: `jobs` at once, with `slurm` in its queue, `prefix` before each command, `sbatch` its options."""

    jobs: int | None
    slurm: bool = False
    prefix: str = ""
    sbatch: Mapping[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return self.jobs or (SLURM_JOBS if self.slurm else len(gpus()) or cores())

    def executor(self, costs: Mapping[str, Cost]) -> Executor:
        """Raises UserError where there is no Slurm, and on this machine while Slurm may run jobs of this checkout."""
        if self.slurm:
            return Slurm(self.count, costs, on_gpu(costs), self.prefix, self.sbatch)
        if left := jobs_left():
            raise UserError(
                f"Slurm may be running jobs of this checkout: {', '.join(left)}; go on with "
                "--executor slurm, or end them with scancel and remove .state/launch/slurm"
            )
        return Local(self.count, gpus())


def launch(targets: Sequence[str], places: Places) -> int:
    """Run what is stale; returns the exit code."""
    with only_one():
        pipeline = Pipeline(targets)
        costs, jobs = costs_of(pipeline, places), places.count
        coordinator = Coordinator(pipeline, places.executor(costs), costs)
        with display(costs, jobs) as show:
            coordinator.run(show)
    states = coordinator.progress.states
    print(
        ", ".join(
            f"{count} {state}" for state in State if (count := list(states.values()).count(state))
        )
    )
    return 0 if all(state.is_good for state in states.values()) else 1


def dry_run(targets: Sequence[str], places: Places) -> None:
    """The stages that are stale, those that may become so, and what they cost."""
    pipeline = Pipeline(targets)
    costs, stale, jobs = costs_of(pipeline, places), stale_of(pipeline), places.count
    rows = [
        [name, minutes(costs[name].seconds), f"{costs[name].memory_gb:.1f}"]
        for name in stale
        if name in costs
    ]
    print(tabulate(rows, headers=["would run", "about", "memory (GB)"], disable_numparse=True))
    left = sum(costs[name].seconds for name in stale if name in costs) / jobs
    print(f"{len(stale)} of {len(pipeline.commands)} stages, {jobs} at once: about {minutes(left)}")


def status(targets: Sequence[str], places: Places) -> None:
    """How much of each part of the grid is up to date, stale, or failed when it last ran."""
    pipeline = Pipeline(targets)
    states = dict.fromkeys(pipeline.commands, State.FRESH)
    for name in stale_of(pipeline):
        states[name] = State.FAILED if failure_of(name).exists() else State.WAITING
    Console().print(grid(Progress(states, pipeline.records), costs_of(pipeline, places)))


def stale_of(pipeline: Pipeline) -> list[str]:
    """Stages that are stale, or depend on one that is."""
    stale: set[str] = set()
    for name, upstream in pipeline.upstream.items():
        if stale & {*upstream} or not pipeline.is_fresh(name):
            stale.add(name)
    return [name for name in pipeline.upstream if name in stale]


def costs_of(pipeline: Pipeline, places: Places) -> dict[str, Cost]:
    """The estimate of each stage that has one."""
    params, has_gpu = load_params(), places.slurm or gpus()
    costs = {}
    for name, profile in params.profiles.items():
        if any(f"@{name}" in stage for stage in pipeline.commands):
            # what counts is which of them take longer
            device = "H100" if has_gpu and profile.gpu != "none" else "cpu"
            costs.update(stage_costs(params, name, device))
    return costs


def on_gpu(costs: Collection[str]) -> set[str]:
    """The stages that compute on a GPU where there is one."""
    params = load_params()
    grid, profiles = params.grid, params.profiles
    computing = [
        grid.stage(kind, name, "")
        for kind in ON_GPU
        for name, one in profiles.items()
        if one.gpu != "none"
    ]
    return {stage for stage in costs if stage.startswith(tuple(computing))}


def gpus() -> list[str]:
    """Those that may be used, as CUDA_VISIBLE_DEVICES names them."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [device for device in visible.split(",") if device.strip()]
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    return [str(number) for number in range(pynvml.nvmlDeviceGetCount())]
