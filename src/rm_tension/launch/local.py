"""The cores or GPUs of this machine, a job on each."""

import os
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil

from rm_tension.launch.executor import End, Job
from rm_tension.launch.worker import PRELOADED, work

GB = 10**9


class Local:
    """Processes of a server that has imported torch and transformers once, so that a job starts in no time.

    Not a ProcessPoolExecutor, of which all jobs end when one is killed.
    """

    def __init__(self, jobs: int, devices: list[str]) -> None:
        """Up to `jobs` at once, each on its own of the `devices` (as CUDA_VISIBLE_DEVICES has them; [] for none)."""
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        self._free = list(range(jobs))
        self._devices = devices
        self._threads = max(1, cores() // jobs)
        self._running: dict[str, tuple[BaseProcess, int, Job]] = {}
        self._kills = out_of_memory_kills()

    def has_room_for(self, memory_gb: float) -> bool:
        """Whether a job of that size can be started; the only one always can."""
        return bool(self._free) and (not self._running or memory_gb <= self._memory_left_gb())

    def start(self, job: Job) -> None:
        slot = self._free.pop(0)
        environment = {"OMP_NUM_THREADS": str(self._threads)}
        if self._devices:
            environment["CUDA_VISIBLE_DEVICES"] = self._devices[slot % len(self._devices)]
        if job.half:
            environment["RM_TENSION_HALF_BUDGET"] = "1"
        job.log.parent.mkdir(parents=True, exist_ok=True)
        process = self._context.Process(
            target=work, args=(job.command, job.log, environment, self._threads)
        )
        process.start()
        self._running[job.name] = process, slot, job

    def found(self, name: str, inputs: Callable[[], str]) -> bool:
        """False: jobs end with their coordinator."""
        return False

    def ended(self, timeout: float) -> Iterator[End]:
        """Jobs that have ended, after at most `timeout` seconds."""
        wait([process.sentinel for process, _, _ in self._running.values()], timeout)
        kills, before = out_of_memory_kills(), self._kills
        for name, (process, slot, _) in list(self._running.items()):
            if not process.is_alive():
                process.join()
                code = process.exitcode or 0
                del self._running[name]
                self._free = sorted([*self._free, slot])
                self._kills = kills
                yield End(name, code, code == -9 and kills > before)

    def stop(self) -> None:
        """Ask the jobs to end, which saves what they would lose, and wait for them."""
        for process, _, _ in self._running.values():
            process.terminate()
        for process, _, _ in self._running.values():
            process.join()

    def _memory_left_gb(self) -> float:
        """Of what is free now, what the running jobs will not take yet."""
        left = psutil.virtual_memory().available / GB
        for process, _, job in self._running.values():
            if process.is_alive():
                left -= max(0.0, job.memory_gb - _rss_gb(process.pid))
        return left


def _rss_gb(pid: int | None) -> float:
    try:
        return float(psutil.Process(pid).memory_info().rss) / GB
    except psutil.NoSuchProcess:
        return 0.0


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def out_of_memory_kills() -> int:
    """How many processes the kernel has killed for want of memory since it started; 0 where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return 0
    return int(next((line.split()[1] for line in lines if line.startswith("oom_kill ")), 0))
