"""Print what a profile costs before it runs: tokens, FLOP, hours, memory and disk, by stage and backbone."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from tabulate import tabulate

from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.base.files import write_json
from rm_tension.estimate import Cost, calibrated, estimate, makespan, named, needs

HOUR = 3600


def table(costs: Sequence[Cost]) -> str:
    """A line for each stage and backbone, one for each stage, and one for all."""
    groups: dict[tuple[str, str], list[Cost]] = {}
    for stage in dict.fromkeys(cost.kind for cost in costs):
        of_stage = [cost for cost in costs if cost.kind == stage]
        for cost in of_stage:
            groups.setdefault((stage, cost.backbone), []).append(cost)
        groups[stage, "all"] = of_stage
    lines = [_line(*names, group) for names, group in groups.items()] + [_line("all", "all", costs)]
    headers = ["stage", "backbone", "cells", "tokens", "FLOP", "hours", "peak GB", "disk GB"]
    return tabulate(
        lines, headers, disable_numparse=True, colalign=("left", "left", *["right"] * 6)
    )


def _line(stage: str, backbone: str, costs: Sequence[Cost]) -> list[str]:
    """Of some cells the sums, and of memory the largest: the GPU's or, where none is used, the machine's."""
    peak = max(cost.memory_gb or cost.host_gb for cost in costs)
    hours, disk = sum(cost.seconds for cost in costs) / HOUR, sum(cost.disk_gb for cost in costs)
    counts = sum(cost.tokens for cost in costs), sum(cost.flop for cost in costs)
    return [
        stage,
        backbone,
        str(len(costs)),
        *map(_short, counts),
        f"{hours:.2f}",
        f"{peak:.1f}",
        f"{disk:.2f}",
    ]


def _short(number: float) -> str:
    """Three digits, as 1.23e+10 would be: 12.3 G."""
    number = float(f"{number:.3g}")
    thousands = int(math.log10(max(number, 1)) // 3)
    return (
        f"{number / 1000**thousands:.3g}{['', ' k', ' M', ' G', ' T', ' P', ' E', ' Z'][thousands]}"
    )


def main(
    *,
    profile: str,
    gpu: str = "auto",
    jobs: int = 1,
    json: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
) -> None:
    """Print what a profile costs before it runs: tokens, FLOP, hours, memory and disk, by stage and backbone.

    Args:
        profile: Of params.yaml.
        gpu: A GPU that the estimate knows, such as H100, or auto, which measures the device at hand.
        jobs: Cells side by side, each on a device of its own.
        json: Write every cell to this file, or instead of the table to -.
    """
    params = load_params()
    params.refuse_unknown([profile])
    if jobs < 1:
        raise UserError(f"--jobs {jobs}: at least one device is needed")
    speed = calibrated() if gpu == "auto" else named(gpu)
    costs = estimate(params, profile, speed)
    seconds, needed = makespan(costs, jobs), needs(costs, params.profiles[profile])
    bill = {
        "profile": profile,
        "speed": speed.name,
        "jobs": jobs,
        "seconds": seconds,
        "needs": asdict(needed),
        "cells": [asdict(cost) for cost in costs],
    }
    if json == "-":
        print(dumps(bill, indent=2))
        return
    if json:
        write_json(Path(json), bill)
    print(speed.name)
    print(table(costs))
    on_gpu = f"a GPU of {needed.gpu_memory} GB and " if speed.gpu else ""
    print(
        f"{jobs} at a time: {seconds / HOUR:.2f} hours, each with {on_gpu}{needed.memory} GB of memory"
    )
    print(f"disk, with DVC's cache, downloads and scratch: {needed.disk} GB")
