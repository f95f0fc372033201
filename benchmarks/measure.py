"""How a side is measured: in a process of its own, forked from one that has the models and all libraries."""

import multiprocessing
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import numpy as np
import torch
from accelerate.utils.memory import should_reduce_batch_size
from numpy.typing import NDArray

from benchmarks.shared import Material, Setting

Numbers = Mapping[str, NDArray[Any]]  # what a side computes, by name


@dataclass
class Clock:
    """Seconds of this process's CPU time and of the wall, while it runs; a GPU is waited for."""

    setting: Setting
    cpu: float = 0.0
    wall: float = 0.0

    def start(self) -> None:
        self._wait()
        self.cpu -= time.process_time()
        self.wall -= time.perf_counter()

    def stop(self) -> None:
        self._wait()
        self.cpu += time.process_time()
        self.wall += time.perf_counter()

    def __enter__(self) -> "Clock":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait(self) -> None:
        if self.setting.place.device.type == "cuda":
            torch.cuda.synchronize()


Side = Callable[[Material, Clock], Numbers]


@dataclass(frozen=True)
class Target:
    """Ours should be so many times as fast as the fastest of these sides."""

    name: str
    sides: Sequence[str]
    times: float


@dataclass(frozen=True)
class Task:
    """The same numbers, computed in our way and in others'; `tokens` are the real ones, in each model or condition."""

    name: str
    what: str
    tokens: int
    ours: Side
    others: Mapping[str, Side]
    targets: Sequence[Target]
    most_tokens: float | None = None  # target: computed per real token, of ours


@dataclass(frozen=True)
class Run:
    """One run of a side: seconds, tokens that went through a model, MiB at most of the process and of the GPU."""

    cpu: float
    wall: float
    tokens: int
    peak_mib: int
    gpu_mib: int
    numbers: Numbers = field(repr=False)


def run(side: Side, material: Material, memory_gb: float) -> Run | None:
    """Measure one run; None if it needs more memory than `memory_gb` (of a CPU), or than a GPU has."""
    forked = multiprocessing.get_context("fork")
    ours, theirs = forked.Pipe(duplex=False)
    child = forked.Process(target=_child, args=(theirs, side, material, memory_gb))
    child.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        child.join()
        raise RuntimeError(
            f"a side ended with exit code {child.exitcode}; its error is above"
        ) from None
    child.join()
    return found if isinstance(found, Run) else None


def _child(pipe: Connection, side: Side, material: Material, memory_gb: float) -> None:
    setting = material.setting
    torch.set_num_threads(setting.threads)
    torch.set_float32_matmul_precision("high" if setting.precision == "tf32" else "highest")
    if setting.place.device.type == "cpu":
        limit = int(memory_gb * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        pipe.send(_run(side, material))
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not should_reduce_batch_size(error):
            raise
        pipe.send("out of memory")


def _run(side: Side, material: Material) -> Run:
    models = (material.model, material.backbone)
    for model in models:
        model.to(material.setting.place.device)
    _warm_up(material)
    seen: list[int] = []
    for model in models:
        model.get_input_embeddings().register_forward_hook(
            lambda _module, inputs, _out: seen.append(inputs[0].numel())
        )
    clock = Clock(material.setting)
    numbers = side(material, clock)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    gpu = (
        torch.cuda.max_memory_allocated() >> 20
        if material.setting.place.device.type == "cuda"
        else 0
    )
    return Run(clock.cpu, clock.wall, sum(seen), peak, gpu, numbers)


def _warm_up(material: Material) -> None:
    """Libraries prepare on the first call, in which no side should be timed."""
    ids = torch.ones(2, 64, dtype=torch.int64, device=material.setting.place.device)
    with material.setting.place.computing():
        loss = material.model(input_ids=ids, attention_mask=ids, use_cache=False).logits.sum()
    loss.backward()
    material.model.zero_grad()


def distance(found: Numbers, expected: Numbers) -> float:
    """How far two sides' numbers are apart, as a share of how they vary: the largest over their names."""
    if set(found) != set(expected):
        raise ValueError(f"{sorted(found)} and {sorted(expected)} are not the same numbers")
    shares = []
    for name, b in expected.items():
        a, b = (np.asarray(one, dtype=np.float64).ravel() for one in (found[name], b))
        scale = np.linalg.norm(b - b.mean()) if b.size > 1 else abs(b.item())
        shares.append(float(np.linalg.norm(a - b) / scale))
    return max(shares)
