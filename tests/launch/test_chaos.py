"""Killed at random moments and started again, the launcher ends with the bytes of an undisturbed `dvc repro`."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml

from checkout import clone, dvc
from samples import only_mini

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("RM_TENSION_KILLS", "4"))  # of jobs and of launchers; more by hand
LONGEST = 6.0  # seconds between a start, the kill of a job and that of the launcher
TARGET = "evaluate@mini-gpt2-small-0"
RESULTS = ("models/mini/backbones", "models/mini/reward", "activations/mini", "rewards/mini")


def small(tmp_path_factory) -> Path:
    """A clone whose grid is one trio of a smaller miniature, which saves its state after every step."""
    folder = clone(tmp_path_factory)
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    mini = only_mini(params, ["gpt2-small"], [0])
    mini["backbones"]["gpt2-small"]["weights"]["pretraining"]["steps"] = 10
    source = mini["data"]["source"]
    source |= {"train_pairs": dict.fromkeys(source["train_pairs"], 60), "items_per_task": 4}
    mini["train"]["save_every_minutes"] = 0
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    (folder / "dvc.lock").unlink()
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Of all results, by name."""
    files = [path for place in RESULTS for path in (folder / place).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def kill_a_job(launcher: psutil.Process) -> None:
    """Kill one of its jobs, if any: they are children of the server that they are forked from."""
    with suppress(psutil.NoSuchProcess):
        jobs = [job for server in launcher.children() for job in server.children()]
        if jobs:
            jobs[0].kill()


@pytest.mark.pipeline
def test_kills_at_random_moments_change_no_byte(tmp_path_factory, monkeypatch):
    serial, chaotic = small(tmp_path_factory), small(tmp_path_factory)
    dvc("repro", TARGET, folder=serial)
    monkeypatch.setenv("PYTHONPATH", str(chaotic / "src"))
    command = [sys.executable, "-m", "rm_tension", "run", TARGET, "--jobs", "2"]
    moments = np.random.default_rng(20260613)
    for _ in range(KILLS):
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        launcher = psutil.Popen(command, cwd=chaotic, **silent)
        time.sleep(moments.uniform(0, LONGEST))
        kill_a_job(launcher)
        time.sleep(moments.uniform(0, LONGEST))
        launcher.kill()
        launcher.wait()
    last = subprocess.run(command, cwd=chaotic, capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stdout + last.stderr
    assert contents(chaotic) == contents(serial)
    assert "up to date" in dvc("status", "--with-deps", TARGET, folder=chaotic)
