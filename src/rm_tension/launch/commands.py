"""What the command line does: run, say what would run, say what there is."""

import os
from collections.abc import Sequence

import pynvml
from rich.console import Console
from tabulate import tabulate

from rm_tension.base.config import load_params
from rm_tension.estimate import Cost, estimate, makespan, published
from rm_tension.launch.coordinator import Coordinator, Progress, State, failure_of, only_one
from rm_tension.launch.display import display, grid, minutes
from rm_tension.launch.local import Local, cores
from rm_tension.launch.pipeline import Pipeline


def launch(targets: Sequence[str], jobs: int | None) -> int:
    """Run what is stale; returns the exit code."""
    with only_one():
        pipeline = Pipeline(targets)
        devices = gpus()
        jobs = jobs or len(devices) or cores()
        costs = costs_of(pipeline)
        coordinator = Coordinator(pipeline, Local(jobs, devices), costs)
        with display(costs, jobs) as show:
            coordinator.run(show)
    states = coordinator.progress.states
    print(", ".join(f"{count} {state}" for state in State if (count := list(states.values()).count(state))))
    return 0 if all(state.is_good for state in states.values()) else 1


def dry_run(targets: Sequence[str], jobs: int | None) -> None:
    """The stages that are stale, those that may become so, and what they cost."""
    pipeline = Pipeline(targets)
    jobs = jobs or len(gpus()) or cores()
    costs, stale = costs_of(pipeline), stale_of(pipeline)
    rows = [[name, minutes(costs[name].seconds), f"{costs[name].host_gb:.1f}"] for name in stale if name in costs]
    print(tabulate(rows, headers=["would run", "about", "memory (GB)"], disable_numparse=True))
    known = [costs[name] for name in stale if name in costs]
    print(f"{len(stale)} of {len(pipeline.commands)} stages, {jobs} at once: about {minutes(makespan(known, jobs))}")


def status(targets: Sequence[str]) -> None:
    """How much of each part of the grid is up to date, stale, or failed when it last ran."""
    pipeline = Pipeline(targets)
    states = dict.fromkeys(pipeline.commands, State.FRESH)
    for name in stale_of(pipeline):
        states[name] = State.FAILED if failure_of(name).exists() else State.WAITING
    Console().print(grid(Progress(states, pipeline.records), costs_of(pipeline)))


def stale_of(pipeline: Pipeline) -> list[str]:
    """Stages that are stale, or depend on one that is."""
    stale: set[str] = set()
    for name, upstream in pipeline.upstream.items():
        if stale & {*upstream} or not pipeline.is_fresh(name):
            stale.add(name)
    return [name for name in pipeline.upstream if name in stale]


def costs_of(pipeline: Pipeline) -> dict[str, Cost]:
    """The estimate of each stage that has one."""
    params = load_params()
    speed = published("H100" if gpus() else "cpu")  # what counts is which of them take longer
    profiles = [profile for profile in params.profiles if any(f"@{profile}" in name for name in pipeline.commands)]
    return {cost.stage: cost for profile in profiles for cost in estimate(params, profile, speed)}


def gpus() -> list[str]:
    """Those that may be used, as CUDA_VISIBLE_DEVICES names them."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [device for device in visible.split(",") if device.strip()]
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    return [str(number) for number in range(pynvml.nvmlDeviceGetCount())]
