"""Time the training step, statistics, scoring and the ablation sweep beside the plain ways of doing the same."""

import argparse
import os
import platform
import sys
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # a process that has touched a GPU cannot fork

import numpy as np
import psutil
import torch
from transformers.utils import logging

from benchmarks import report, scoring, statistics, step, sweep
from benchmarks.measure import Run, Task, distance, run
from benchmarks.shared import (
    REAL,
    TINY,
    TINY_SHAPE,
    Material,
    Setting,
    Texts,
    make_material,
    real_shape,
)
from rm_tension.base.runs import git_commit

PAIRS_PER_STEP = 16
TOLERANCE = {"float32": 1e-4, "tf32": 1e-2, "bfloat16": 1e-1}  # distance of two sides' numbers
LIBRARIES = ("torch", "transformers", "trl", "accelerate")


def main() -> None:
    """Measure all tasks, and write what came of it."""
    options = _options()
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # TRL takes the GPU that it sees
    torch.set_num_threads(
        1
    )  # the sides are forked from this process, and would wait for ever for threads that are not
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings(
        "ignore", message=".*gradient_checkpointing|.*pin_memory"
    )  # of TRL's own settings
    setting = Setting(options.device, options.precision, options.threads, options.budget)
    shape = TINY_SHAPE if options.small else real_shape(options.blocks)
    texts = Texts(TINY if options.small else REAL, shape.vocabulary, np.random.default_rng(0))
    pairs = texts.hh_pairs(options.pairs)
    tasks = [
        step.task(texts.hh_pairs(PAIRS_PER_STEP)),
        statistics.task(texts.hh_pairs(options.statistics_pairs)),
        scoring.of_benchmarks(texts.benchmark_items(options.items)),
        scoring.of_pairs(pairs),
        sweep.task(pairs, shape.layers, shape.mlp),
    ]
    material, kind = make_material(shape, setting), "cpu" if options.device == "cpu" else "wall"
    found = {
        "machine": _machine(),
        "options": {name: value for name, value in vars(options).items() if name != "out"},
        "shape": vars(shape) | {"parameters": shape.parameters},
        "judged_by": kind,
        "tolerance": TOLERANCE[options.precision],
        "tasks": {task.name: _measured(task, material, options, kind) for task in tasks},
    }
    report.write(found, options.out)
    print(f"{report.table(found)}\n\n{report.targets(found)}\n\nwritten to {options.out}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--small",
        action="store_true",
        help="a tiny model and the miniature's lengths: shows nothing",
    )
    parser.add_argument(
        "--blocks", type=int, help="so many of the 30 blocks, with that share of the vocabulary"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=tuple(TOLERANCE), default="float32")
    parser.add_argument(
        "--budget", type=int, default=4096, help="tokens that go through a model together"
    )
    parser.add_argument(
        "--pairs", type=int, default=16, help="HH pairs that are scored, whole and under ablations"
    )
    parser.add_argument("--statistics-pairs", type=int, default=4)
    parser.add_argument("--items", type=int, default=6, help="benchmark items")
    available = psutil.virtual_memory().available / 2**30
    parser.add_argument(
        "--memory-gb",
        type=float,
        default=round(0.8 * available, 1),
        help="a side that needs more is left out",
    )
    parser.add_argument("--out", type=Path, default=Path("reports/bench"))
    return parser.parse_args()


def _machine() -> dict[str, Any]:
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),  # what else it did
        "git_commit": git_commit(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def _measured(
    task: Task, material: Material, options: argparse.Namespace, kind: str
) -> dict[str, Any]:
    """All sides in turn, in every repeat; raises SystemExit where a side's numbers are not ours."""
    sides = {"ours": task.ours, **task.others}
    runs: dict[str, list[Run]] = {name: [] for name in sides}
    distances: dict[str, float] = {}
    tolerance = TOLERANCE[options.precision]
    left = list(sides)
    for number in range(options.repeats):
        for name in list(left):
            measured = run(sides[name], material, options.memory_gb)
            if measured is None:
                print(f"{task.name}, {name}: out of memory", file=sys.stderr)
                left.remove(name)
                runs[name].clear()
                continue
            apart = distance(measured.numbers, (runs["ours"] or [measured])[0].numbers)
            distances[name] = max(apart, distances.get(name, 0.0))
            print(
                f"{task.name} {number + 1}/{options.repeats}, {name}: {measured.cpu:.2f} s of CPU time, "
                f"numbers within {apart:.1e} of ours (tolerance {tolerance:.0e})",
                file=sys.stderr,
            )
            if not apart <= tolerance:
                raise SystemExit(
                    f"{task.name}, {name}: not the same numbers as ours, so no ratio is made"
                )
            runs[name].append(measured)
    if not runs["ours"]:
        raise SystemExit(
            f"{task.name}: ours is out of memory with {options.memory_gb} GB; lower --budget"
        )
    found = {name: _side(one, runs["ours"], distances.get(name)) for name, one in runs.items()}
    judged = list(report.judged(task, found, kind))
    return {"what": task.what, "tokens": task.tokens, "sides": found, "targets": judged}


def _side(runs: list[Run], ours: list[Run], apart: float | None) -> Mapping[str, Any]:
    if not runs:
        return {"out_of_memory": True}
    pairs = list(zip(runs, ours, strict=True))
    return {
        "out_of_memory": False,
        "cpu_seconds": [one.cpu for one in runs],
        "wall_seconds": [one.wall for one in runs],
        "ratio": {
            "cpu": report.spread([one.cpu / our.cpu for one, our in pairs]),
            "wall": report.spread([one.wall / our.wall for one, our in pairs]),
        },
        "tokens": runs[0].tokens,
        "peak_mib": max(one.peak_mib for one in runs),
        "gpu_mib": max(one.gpu_mib for one in runs),
        "distance": apart,
    }


if __name__ == "__main__":
    main()
