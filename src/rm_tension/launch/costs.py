"""What the launcher takes from the estimate: order, time left, what a Slurm job asks for."""

from collections.abc import Collection, Iterable, Mapping

import psutil

from rm_tension.base.config import Params
from rm_tension.base.errors import UserError
from rm_tension.base.lockfile import first_of, kind_of
from rm_tension.cost import Cost, stage_costs
from rm_tension.preflight import memory_limit

ON_GPU = ("train", "activations", "evaluate")
BYTES = 1e9  # of a GB


def costs_of(params: Params, stages: Collection[str], has_gpu: bool) -> dict[str, Cost]:
    """Return the cost of each of the stages that the estimate knows."""
    costs: dict[str, Cost] = {}
    for name in {profile_of(params, stage) for stage in stages} - {None}:
        uses_gpu = has_gpu and params.profiles[str(name)].gpu != "none"
        costs |= stage_costs(params, str(name), "H100" if uses_gpu else "cpu")
    return {stage: costs[stage] for stage in stages if stage in costs}


def profile_of(params: Params, stage: str) -> str | None:
    """Return the profile of a stage such as train@paper-gpt2-small-mixed-0; None of others' own."""
    return first_of(stage.partition("@")[2], params.profiles)


def is_of(params: Params, stage: str, backbones: Collection[str]) -> bool:
    """Return whether a stage is of one of the backbones, or of none; of any without `backbones`.

    Raise UserError for a backbone that no profile has.
    """
    known = {*params.grid.full.backbones, *params.grid.subset.backbones}
    if unknown := {*backbones} - known:
        raise UserError(f"--only {', '.join(unknown)}: params.yaml has {', '.join(sorted(known))}")
    cell = stage.partition("@")[2].removeprefix(f"{profile_of(params, stage)}-")
    own = first_of(cell, known)
    return not backbones or own is None or own in backbones


def on_gpu(params: Params, stages: Collection[str]) -> set[str]:
    """Return the stages that compute on a GPU where there is one."""
    return {
        stage
        for stage in stages
        if kind_of(stage) in ON_GPU
        and (name := profile_of(params, stage))
        and params.profiles[name].gpu != "none"
    }


def for_cpus(params: Params, stages: Collection[str]) -> bool:
    """Return whether all stages are of profiles that leave GPUs alone, so that cores count."""
    profiles = {profile_of(params, stage) for stage in stages}
    return all(name is not None and params.profiles[name].gpu == "none" for name in profiles)


def seconds_of(stages: Iterable[str], costs: Mapping[str, Cost]) -> float:
    """Return the seconds of the stages that have an estimate, one after the other."""
    return sum(costs[stage].seconds for stage in stages if stage in costs)


def fitting_jobs(costs: Mapping[str, Cost], cores: int) -> int:
    """Return how many of the largest stage fit the memory: at least one, at most one per core."""
    largest = max((cost.memory_gb for cost in costs.values()), default=0.0)
    if largest == 0:
        return cores
    free = min(psutil.virtual_memory().available, memory_limit())
    return max(1, min(cores, int(free / BYTES / largest)))
