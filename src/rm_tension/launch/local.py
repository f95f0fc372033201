"""One process per core or GPU of this machine."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import get_context, util
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

import pynvml

from rm_tension.launch.scheduler import End, Job
from rm_tension.launch.worker import PRELOADED, environment_of_jobs, work

LONGEST_TMPDIR = 75  # characters: behind it comes a socket's name, and its path may have 107


class Local:
    """Processes forked from a server that has imported torch and transformers; saves 3 s a stage.

    No process pool: it breaks when one of its processes is killed.
    """

    def __init__(self, jobs: int, gpus: list[str], preload: bool) -> None:
        """Run up to `jobs` at once, each on one of the GPUs (by CUDA_VISIBLE_DEVICES' names)."""
        _shorten_temporary_folder()
        os.environ |= environment_of_jobs(max(1, cores() // jobs))
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED if preload else [])
        self._free: list[Mapping[str, str]] = [
            {"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} if gpus else {} for slot in range(jobs)
        ]
        self._running: dict[str, tuple[BaseProcess, Mapping[str, str]]] = {}

    def has_slot(self) -> bool:
        return bool(self._free)

    def start(self, job: Job) -> None:
        environment = self._free.pop(0)
        process = self._context.Process(target=work, args=(job.command, job.log, environment))
        process.start()
        self._running[job.stage] = process, environment

    def adopt(self, stage: str, inputs: Callable[[], str]) -> bool:
        return False  # jobs end with their launcher

    def ended(self, timeout: float) -> Iterator[End]:
        wait([process.sentinel for process, _ in self._running.values()], timeout)
        for stage, (process, environment) in list(self._running.items()):
            if process.is_alive():
                continue
            process.join()
            del self._running[stage]
            self._free.append(environment)
            code = process.exitcode or 0
            if code < 0:
                yield End(stage, f"killed by signal {-code}", killed=True)
            else:
                yield End(stage, f"exit code {code}" if code else None)

    def stop(self) -> None:
        """Ask the jobs to end, which saves what they would lose, and wait for them."""
        for process, _ in self._running.values():
            process.terminate()
        for process, _ in self._running.values():
            process.join()


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES admits, by its names; CUDA stops at a -1."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        devices = [device.strip() for device in visible.split(",")]
        stop = next((i for i, name in enumerate(devices) if name in ("", "-1")), len(devices))
        return devices[:stop]
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    return [str(number) for number in range(pynvml.nvmlDeviceGetCount())]


def _shorten_temporary_folder() -> None:
    """Have multiprocessing put its sockets into /tmp where TMPDIR is too long for their paths."""
    folder = tempfile.gettempdir()
    if len(folder) > LONGEST_TMPDIR:
        tempfile.tempdir = "/tmp"  # noqa: S108  (mkdtemp makes a folder of its own in it)
        util.get_temp_dir()  # which multiprocessing remembers and removes
        tempfile.tempdir = folder
