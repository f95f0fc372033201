"""`rm-tension cost`: the estimate of a profile as a table.

Apart from the arithmetic, which the report uses: this may measure the device at hand.
"""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from json import dumps
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from tabulate import tabulate

from rm_tension.base.config import Profile, load_params
from rm_tension.base.errors import UserError
from rm_tension.base.files import write_json
from rm_tension.cost import (
    BEST,
    DEVICES,
    HOUR,
    WORST,
    Cost,
    Rate,
    Work,
    all_works,
    cost_of,
    roofline,
    shortest,
)


def table(works: Mapping[str, Work], costs: Mapping[str, Cost]) -> str:
    """Return a line for each stage and backbone, one for each stage, and one for all."""

    def line(kind: str, backbone: str) -> list[str | int | float]:
        stages = [
            stage
            for stage, work in works.items()
            if kind in (work.kind, "all") and backbone in (work.backbone, "all")
        ]
        tokens = sum(works[stage].tokens for stage in stages) / 1e6
        hours = sum(costs[stage].seconds for stage in stages) / HOUR
        peak = max(costs[stage].gpu_gb or costs[stage].memory_gb for stage in stages)
        return [kind, backbone, len(stages), tokens, hours, peak]

    lines = []
    for kind in dict.fromkeys(work.kind for work in works.values()):
        backbones = dict.fromkeys(work.backbone for work in works.values())
        lines += [line(kind, backbone) for backbone in [*backbones, "all"]]
    lines.append(line("all", "all"))
    headers = ["stage", "backbone", "cells", "M tokens", "hours", "peak GB"]
    return tabulate(lines, headers, floatfmt=("", "", "", ",.0f", ".2f", ".1f"))


def main(
    *,
    profile: str,
    gpu: str = "auto",
    jobs: int = 1,
    json: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
) -> None:
    """Estimate hours, memory and disk of a profile, by stage and backbone, before it runs.

    Args:
        profile: A profile of params.yaml.
        gpu: The device: H100, A100, 4090 or cpu; auto measures the device at hand.
        jobs: Stages that run at once, each on a device of its own.
        json: Write the cost of every stage to this JSON file; - prints it instead of the table.
    """
    params = load_params()
    params.refuse_unknown([profile])
    if jobs < 1:
        raise UserError(f"--jobs {jobs}: at least one device is needed")
    works, unknown = all_works(params, profile)
    rate, on_gpu = _rate_on(gpu, params.profiles[profile])
    costs = {stage: cost_of(work, rate, on_gpu) for stage, work in works.items()}
    by_stage = {stage: asdict(cost) for stage, cost in costs.items()}
    if json == "-":
        print(dumps(by_stage, indent=2))
        return
    if json:
        write_json(Path(json), by_stage)
    if works:
        print(table(works, costs))
    for reason in unknown:
        print(f"not known, so not counted: {reason}")
    hours = shortest(works, costs, jobs) / HOUR
    print(f"{jobs} at a time: at least {hours:.1f} hours{_between(works, gpu, jobs)}")
    own = params.profiles[profile]
    beside = f"a GPU of {own.needs.gpu_gb} GB, " if on_gpu else ""
    print(f"needed: {beside}{own.memory_gb(on_gpu)} GB of memory, {own.needs.disk_gb} GB of disk")


def _rate_on(gpu: str, profile: Profile) -> tuple[Rate, bool]:
    """Return how long a batch takes on what --gpu names, and whether that is a GPU."""
    if gpu == "auto":
        from rm_tension.calibration import calibrated  # imports torch, which takes seconds

        return calibrated(profile)
    if gpu not in DEVICES:
        raise UserError(f"--gpu {gpu}: not known; there are auto, {', '.join(DEVICES)}")
    return partial(roofline, DEVICES[gpu]), DEVICES[gpu].gpu


def _between(works: Mapping[str, Work], gpu: str, jobs: int) -> str:
    """Return the range of hours that we expect of a GPU, in words; of others nothing."""
    if gpu not in DEVICES or not DEVICES[gpu].gpu:
        return ""
    ends = []
    for bound in (BEST, WORST):
        rate = partial(roofline, bound(DEVICES[gpu]))
        costs = {stage: cost_of(work, rate, True) for stage, work in works.items()}
        ends.append(f"{shortest(works, costs, jobs) / HOUR:.1f}")
    return f", probably between {' and '.join(ends)}"
