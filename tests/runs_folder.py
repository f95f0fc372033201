"""A small runs/ and results/ of the mini profile, as the stages write them, made without running any."""

import json
from pathlib import Path

import pandas as pd

from rm_tension.base.grid import Paths, Trio
from rm_tension.base.runs import machine_of, split
from rm_tension.paper.tasks import TASKS

OBJECTIVES = ("helpful", "harmless", "mixed")
ENVIRONMENT = {
    "git_commit": "0123456789ab+",
    "host": "node-7",
    "python": "3.11.7",
    "machine": "x86_64",
    "cpus": 2,
    "accelerator": None,
    "libraries": {"torch": "2.13.0"},
}
RECIPE = {
    "learning_rate": 0.001,
    "betas": [0.9, 0.999],
    "weights": "float32",
    "precision": "float32",
}


def write_record(path: Path, parameters: dict, metrics: dict) -> None:
    of_result, of_machine = split(metrics)
    machine_of(path).parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"parameters": {"profile": "mini", **parameters}, "metrics": of_result})
    )
    machine_of(path).write_text(json.dumps({"metrics": of_machine, "environment": ENVIRONMENT}))


def make_steps(count: int, start: float = 0.7) -> list[dict[str, float]]:
    """As `training.train` returns them."""
    names = (
        "accuracy",
        "margin",
        "learning_rate",
        "gradient_norm",
        "tokens_per_second",
        "memory_mib",
    )
    return [
        {"step": n, "epoch": 0, "loss": start / (1 + n / count), **dict.fromkeys(names, n / count)}
        for n in range(count)
    ]


def write_training(paths: Paths, trio: Trio, objective: str, steps: list[dict[str, float]]) -> None:
    model = trio.model(objective)
    cell = {"backbone": model.backbone, "objective": objective, "seed": model.seed}
    history = paths.history(model)
    of_result, of_machine = zip(*map(split, steps), strict=True)
    for path, lines in (
        (history, of_result),
        (machine_of(history.parent) / history.name, of_machine),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    metrics = {"steps": len(steps), "seconds": 3.5, "peak_memory_mib": 500}
    write_record(paths.run("train", model.key), cell | {"train": RECIPE, "epochs": 2}, metrics)


def write_runs(root: Path, trios: list[Trio], steps: int = 30) -> Paths:
    """Every stage's records of the given trios."""
    paths = Paths("mini", root)
    write_record(
        paths.run("data"),
        {"data": {"source": {"kind": "miniature"}}},
        {"rows": {"train": 9}, "seconds": 1},
    )
    for trio in trios:
        weights = {"weights": {"kind": "hub", "repo": "some/model", "revision": "abc"}}
        write_record(
            paths.run("backbone", trio.backbone),
            {"backbone": trio.backbone, "backbones": weights},
            {},
        )
        for stage in ("activations", "evaluate"):
            cell = {"backbone": trio.backbone, "seed": trio.seed}
            write_record(paths.run(stage, trio.key), cell | {stage: {}}, {"seconds": 2})
        for objective in OBJECTIVES:
            write_training(paths, trio, objective, make_steps(steps))
    return paths


def write_results(paths: Paths, trios: list[Trio]) -> None:
    """The tables that MLflow is filled from, with numbers that tell where they came from."""
    models = [(trio.backbone, objective, trio.seed) for trio in trios for objective in OBJECTIVES]
    tables = {
        "accuracy": [
            (*m, *c, task.key, a) for m in models for c, a in CONDITIONS.items() for task in TASKS
        ],
        "group_accuracy": [
            (*m, *c, g, a) for m in models for c, a in CONDITIONS.items() for g in GROUPS
        ],
        "hh_accuracy": [(*m, *c, "own", a) for m in models for c, a in CONDITIONS.items()],
        "ablation_magnitude": [(*m, 10, task.key, -5.0) for m in models for task in TASKS],
        "retention": [
            (t.backbone, t.seed, *c, task.key, 0.9)
            for t in trios
            for c in CONDITIONS
            for task in TASKS
        ],
    }
    model = ["backbone", "objective", "seed"]
    columns = {
        "accuracy": [*model, "kind", "percent", "task", "accuracy"],
        "group_accuracy": [*model, "kind", "percent", "group", "accuracy"],
        "hh_accuracy": [*model, "kind", "percent", "subset", "accuracy"],
        "ablation_magnitude": [*model, "percent", "task", "delta"],
        "retention": ["backbone", "seed", "kind", "percent", "task", "retention"],
    }
    paths.results.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        pd.DataFrame(rows, columns=columns[name]).to_csv(paths.results / f"{name}.csv", index=False)


CONDITIONS = {("none", 0): 80.0, ("magnitude", 10): 75.0, ("magnitude", 2): 78.0}
GROUPS = ("helpfulness", "harmlessness")
