"""What a cell of the grid costs, what a machine needs for all of them, and how long several machines take."""

import heapq
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from rm_tension.base.config import HubData, Profile
from rm_tension.base.lockfile import kind_of

DATA = 3.0  # GB of the real data: the hub's cache, data/ and tokens/, and DVC's copies


@dataclass(frozen=True)
class Cost:
    """One stage of dvc.yaml. `memory_gb` is the peak on the device, `host_gb` the machine's.

    `tokens` go through a model, padding included. `after` are the stages of this kind that must be done before it.
    """

    stage: str
    backbone: str
    seconds: float
    memory_gb: float
    host_gb: float
    disk_gb: float
    tokens: int
    flop: float
    after: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The stage without the cell: train."""
        return kind_of(self.stage)


@dataclass(frozen=True)
class Needs:
    """What a machine must have for the largest cell, and the disk for all; GB, rounded up."""

    gpu_memory: int
    memory: int
    disk: int


def needs(costs: Collection[Cost], profile: Profile) -> Needs:
    """Of a whole profile, one cell at a time on a machine."""
    disks = [cost.disk_gb for cost in costs]
    # DVC's cache holds a copy of all; a training that goes on keeps three times its weights, and writes new ones
    disk = 2 * sum(disks) + 4 * max(disks)
    if isinstance(profile.data.source, HubData):
        disk += DATA + sum(cost.disk_gb for cost in costs if cost.kind == "backbone")
    gpu_memory = max(cost.memory_gb for cost in costs)
    return Needs(
        math.ceil(gpu_memory), math.ceil(max(cost.host_gb for cost in costs)), math.ceil(disk)
    )


def makespan(costs: Iterable[Cost], jobs: int) -> float:
    """Seconds until all is done on `jobs` devices: whichever is free takes the longest cell of those that are ready."""
    waiting = sorted(costs, key=lambda cost: -cost.seconds)
    running: list[tuple[float, str]] = []
    done: set[str] = set()
    now = 0.0
    while waiting or running:
        for cost in [cost for cost in waiting if done.issuperset(cost.after)][
            : jobs - len(running)
        ]:
            waiting.remove(cost)
            heapq.heappush(running, (now + cost.seconds, cost.stage))
        now, stage = heapq.heappop(running)
        done.add(stage)
    return now
