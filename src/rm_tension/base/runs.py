"""What a stage did, runs/<profile>/<stage>-<key>.json, and how it ran, runs/<profile>/machine/<stage>-<key>.json.

The first is decided by what the stage reads and is an output of DVC: the same bytes wherever the results are the same.
The second tells of the machine and differs each time; DVC does not know it.
"""

import importlib.metadata
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from rm_tension.base.files import write_json
from rm_tension.base.surroundings import recorded

# What runs change in a checkout, and the commit of their results should not be called changed for
WRITTEN = ("dvc.lock", "reports")
ELSEWHERE = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
)
LIBRARIES = (
    "torch",
    "transformers",
    "accelerate",
    "tokenizers",
    "datasets",
    "numpy",
    "pandas",
    "dvc",
)


# Metrics that tell of the machine; all others tell of the result
OF_THE_MACHINE = {
    "seconds",
    "cpu_seconds",
    "steps_seconds",
    "peak_memory_mib",
    "tokens_per_second",
    "memory_mib",
}


@contextmanager
def record(path: Path, parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Time a stage and yield the dict of its metrics; if the stage succeeds, write them to `path` and `machine_of`."""
    metrics: dict[str, Any] = {}
    start, computed = time.perf_counter(), time.process_time()
    yield metrics
    metrics["seconds"] = round(time.perf_counter() - start, 3)
    metrics["cpu_seconds"] = round(
        time.process_time() - computed, 3
    )  # whatever else the machine does
    metrics["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    of_result, of_machine = split(metrics)
    write_json(machine_of(path), {"metrics": of_machine, "environment": environment()})
    write_json(path, {"parameters": parameters, "metrics": of_result})


def split(metrics: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the metrics of the result and those OF_THE_MACHINE."""
    machine = {name: value for name, value in metrics.items() if name in OF_THE_MACHINE}
    return {name: value for name, value in metrics.items() if name not in machine}, machine


def machine_of(path: Path) -> Path:
    """Return the file beside a record that tells of the machine."""
    return path.parent / "machine" / path.name


def environment() -> dict[str, Any]:
    """Where and with what this process runs."""
    found: dict[str, Any] = {
        "git_commit": git_commit(),
        "host": platform.node(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "accelerator": None,
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        **recorded(),
    }
    torch = sys.modules.get("torch")  # stages without torch must not pay for its import
    if torch is not None and torch.cuda.is_available():
        found["accelerator"] = torch.cuda.get_device_name()
        found["accelerator_peak_mib"] = torch.cuda.max_memory_allocated() // 2**20
    return found


def cpu_model() -> str:
    """What the CPU calls itself, where the system says it."""
    info = Path("/proc/cpuinfo")
    lines = (
        info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    )
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def memory_mib() -> int:
    """What this process holds now: of the accelerator's memory where torch uses one, else of the machine's."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return int(torch.cuda.memory_allocated()) // 2**20
    return int(psutil.Process().memory_info().rss) // 2**20


def git_commit() -> str:
    """The commit of the working tree, with `+` if it has other changes than WRITTEN; `unknown` outside a checkout."""
    if shutil.which("git") is None:
        return "unknown"
    commit = _git("rev-parse", "--short=12", "HEAD").stdout.strip()
    changed = _git(
        "diff", "--quiet", "HEAD", "--", ":/", *(f":(top,exclude){path}" for path in WRITTEN)
    ).returncode
    return f"{commit}{'+' if changed else ''}" if commit else "unknown"


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In the repository around the working folder; a git hook, for one, sets variables that name another."""
    environment = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    return subprocess.run(
        ["git", *arguments], env=environment, capture_output=True, text=True, check=False
    )
