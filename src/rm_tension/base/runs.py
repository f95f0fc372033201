"""Run records: what a stage did, and how it ran.

runs/<profile>/<stage>-<key>.json is decided by what the stage reads and is an output of DVC: the
same bytes wherever the results are the same. runs/<profile>/machine/<stage>-<key>.json tells of the
machine and differs each time; DVC does not know it.
"""

import importlib.metadata
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psutil

from rm_tension.base.errors import UserError
from rm_tension.base.files import write_json
from rm_tension.base.surroundings import recorded

# What runs change in a checkout, and the commit of their results should not be called changed for
WRITTEN = ("dvc.lock", "reports")
# Of a git hook, for one: they name another repository
GIT_VARIABLES = {
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR"),
    *("GIT_OBJECT_DIRECTORY", "GIT_PREFIX"),
}
LIBRARIES = (
    *("torch", "transformers", "accelerate", "tokenizers"),
    *("datasets", "numpy", "pandas", "dvc"),
)
# Metrics that tell of the machine; all others tell of the result
OF_THE_MACHINE = {
    *("seconds", "cpu_seconds", "steps_seconds", "tokens_per_second"),
    *("memory_mib", "peak_memory_mib"),
}


@contextmanager
def record(path: Path, parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Time a stage and yield its metrics; if it succeeds, write them to both records."""
    metrics: dict[str, Any] = {}
    started, start, computed = datetime.now(UTC), time.perf_counter(), time.process_time()
    yield metrics
    metrics["seconds"] = round(time.perf_counter() - start, 3)
    metrics["cpu_seconds"] = round(time.process_time() - computed, 3)
    metrics["peak_memory_mib"] = peak_memory_mib()
    of_result, of_machine = split(metrics)
    moments = {"started": started, "ended": datetime.now(UTC)}
    times = {name: moment.isoformat(timespec="seconds") for name, moment in moments.items()}
    write_json(machine_of(path), {**times, "metrics": of_machine, "environment": environment()})
    write_json(path, {"parameters": parameters, "metrics": of_result})


def split(metrics: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the metrics of the result and those OF_THE_MACHINE."""
    machine = {name: value for name, value in metrics.items() if name in OF_THE_MACHINE}
    return {name: value for name, value in metrics.items() if name not in machine}, machine


def machine_of(path: Path) -> Path:
    """Return the file beside a record that tells of the machine."""
    return path.parent / "machine" / path.name


def environment() -> dict[str, Any]:
    """Return where and with what this process runs."""
    values: dict[str, Any] = {
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
        values["accelerator"] = torch.cuda.get_device_name()
        values["accelerator_peak_mib"] = torch.cuda.max_memory_allocated() // 2**20
    return values


def cpu_model() -> str:
    """Return the name of the CPU, where the system says it."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8", errors="replace") if info.is_file() else ""
    name = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    return name[1] if name else platform.processor()


def peak_memory_mib() -> int:
    """Return the most that this process has held; macOS counts in bytes, Linux in KiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit


def memory_mib() -> int:
    """Return what this process holds now: of the accelerator's memory, else of the machine's."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return int(torch.cuda.memory_allocated()) // 2**20
    return int(psutil.Process().memory_info().rss) // 2**20


def git_commit() -> str:
    """Return the commit, with `+` if other files than WRITTEN are changed; else `unknown`."""
    if shutil.which("git") is None:
        return "unknown"
    commit = _git("rev-parse", "--short=12", "HEAD").stdout.strip()
    others = [":/", *(f":(top,exclude){path}" for path in WRITTEN)]
    changed = _git("diff", "--quiet", "HEAD", "--", *others).returncode
    return f"{commit}{'+' if changed else ''}" if commit else "unknown"


def commit_date() -> str:
    """Return the day of the commit, YYYY-MM-DD; outside a checkout, today."""
    day = _git("log", "-1", "--format=%cs").stdout.strip() if shutil.which("git") else ""
    return day or date.today().isoformat()


def git_output(*arguments: str, folder: Path = Path()) -> str:
    """Return what git prints; raise UserError, with what it says, if it fails or is missing."""
    try:
        done = _git(*arguments, folder=folder)
    except OSError as error:
        raise UserError(f"git: cannot be started ({error}); install it") from None
    if done.returncode:
        raise UserError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _git(*arguments: str, folder: Path = Path()) -> subprocess.CompletedProcess[str]:
    """Run git in the repository around a folder."""
    known = {name: value for name, value in os.environ.items() if name not in GIT_VARIABLES}
    how: dict[str, Any] = {"cwd": folder, "env": known, "capture_output": True, "text": True}
    return subprocess.run(["git", *arguments], check=False, **how)
