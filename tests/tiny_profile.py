"""The profile mini cut down to trios of a tiny model, and all its stages in one process."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from checkout import clone
from rm_tension.base.config import ROLES
from rm_tension.paper.pairs import SOURCES
from samples import only_mini
from small_repository import REPOSITORY, git

# As `rm-tension STAGE` for each of the lines, but with one import of the libraries
RUN = """
import sys
from rm_tension import cli
for line in sys.argv[1:]:
    cli.main(line.split())
"""
MADE = (
    *("data", "tokens", "models", "activations", "rewards", "margins"),
    *("results", "reports/mini"),
)
FEW = {"hh_percents": {"random": [10]}, "task_percents": {"magnitude": [10]}, "set_percents": [10]}
TEXTS = {
    "train_pairs": dict(zip(SOURCES, (4, 2, 2, 8), strict=True)),
    "test_pairs": dict(zip(SOURCES, (2, 1, 1, 2), strict=True)),
    "items_per_task": 1,
}


def tiny_params(
    backbones: Sequence[str], params: Path = REPOSITORY / "params.yaml"
) -> dict[str, Any]:
    """params.yaml, parsed, with a trio of each of the backbones and nothing else: seconds of work."""
    raw: dict[str, Any] = yaml.safe_load(params.read_text(encoding="utf-8"))
    mini = only_mini(raw, backbones, [0])
    for backbone in mini["backbones"].values():
        backbone["weights"] |= {"layers": 2, "width": 16, "heads": 2}
        backbone["weights"]["pretraining"] |= {"steps": 3, "length": 32, "chunks_per_step": 4}
    mini["data"]["source"] |= deepcopy(TEXTS)  # callers add to it
    mini["evaluate"] |= FEW
    return raw


def make_tiny(tmp_path_factory, raw: Mapping[str, Any]) -> Path:
    """A clone of this working tree with these parameters, of which nothing was run."""
    folder = clone(tmp_path_factory)
    (folder / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    (folder / "dvc.lock").unlink()
    git(folder, "commit", "--quiet", "--all", "--message", "tiny")
    return folder


def stages(backbone: str, objectives: Sequence[str] = ROLES) -> list[str]:
    """The command lines of the stages of one trio, without the profile."""
    cell = f"--backbone {backbone} --seed 0"
    training = [f"train {cell} --objective {objective}" for objective in objectives]
    return [f"backbone --backbone {backbone}", *training, f"activations {cell}", f"evaluate {cell}"]


def run_stages(
    folder: Path,
    lines: Sequence[str],
    variables: Mapping[str, str],
    emulator: Sequence[str] = (),
    umask: int = -1,
) -> None:
    """Run stages of the profile in one process, which knows no environment variables but these."""
    command = [*emulator, sys.executable, "-c", RUN, *(f"{line} --profile mini" for line in lines)]
    environment = {
        "PATH": os.environ["PATH"],
        "OMP_NUM_THREADS": "1",
        **variables,
        "PYTHONPATH": str(folder / "src"),
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        umask=umask,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, done.stderr


def made(folder: Path) -> dict[str, bytes]:
    """Every file that stages made, by name."""
    files = [file for place in MADE for file in (folder / place).rglob("*") if file.is_file()]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(files)}
