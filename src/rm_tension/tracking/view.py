"""Show runs/ and results/ in MLflow (`rm-tension mlflow`).

The store in .mlflow/ is a throw-away view: deleted and filled anew each time. What a stage recorded
becomes an MLflow run, a trained reward model also a LoggedModel. docs/TRACKING.md lists the names.
"""

import fcntl
import os
import shutil
import socket
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.entities import LoggedModelOutput, Metric, Param
from mlflow.exceptions import MlflowException
from pydantic import TypeAdapter
from tqdm import tqdm

from rm_tension.base.config import Params, load_params
from rm_tension.base.errors import UserError
from rm_tension.base.files import read_json
from rm_tension.base.grid import Model, Paths
from rm_tension.base.runs import machine_of
from rm_tension.base.tables import damaged, read_table
from rm_tension.paper.tasks import TASKS
from rm_tension.tracking.live import curves, experiment_name, flat, run_tags

STORE = Path(".mlflow")
LOCK = Path(".state/mlflow.lock")  # outside the store, which is deleted
URI = f"sqlite:///{STORE}/mlflow.db"  # relative: a URI cannot hold the name of every folder
HOST = "127.0.0.1"  # MLflow's server asks for no password
CURVE_POINTS = 1000  # at most, of a training: a chart draws fewer, and a long one has 20,000 steps
# Of the UI's page of trainings; without the first two the UI opens its pages for chats.
CHARTS = (
    "workflowType=machine_learning&compareRunsMode=CHART"
    "&searchFilter=tags.stage%20%3D%20%27train%27"
)
GROUPS = {task.key: task.group for task in TASKS}
STEP = TypeAdapter(dict[str, float])
MODEL = ("backbone", "objective", "seed", "kind", "percent")
COLUMNS = {
    "accuracy": (*MODEL, "task", "accuracy"),
    "group_accuracy": (*MODEL, "group", "accuracy"),
    "hh_accuracy": (*MODEL, "subset", "accuracy"),
    "retention": ("backbone", "seed", "kind", "task", "retention"),
}
Point = tuple[str, float, int]  # name, value, and training step or percent of neurons ablated


@dataclass
class Record:
    """What runs/ has of a stage: its file, that of the machine, and the steps of a training."""

    parameters: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    steps: list[dict[str, float]] = field(default_factory=list)


def main(*, fill_only: bool = False, port: int = 0) -> None:
    """Fill .mlflow/ anew from runs/ and results/, then serve MLflow's UI on this machine.

    Exit with 1 if a file could not be read, after filling in all others; the UI does not start.

    Args:
        fill_only: Do not serve the UI.
        port: Port of the UI; 0 takes a free one.
    """
    params = load_params()
    lock_store()
    try:
        pages, problems = fill(params)
    except (MlflowException, OSError) as error:
        raise UserError(
            f"{STORE}: cannot be filled ({error}); make room or move it away"
        ) from error
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    if not fill_only:
        serve(port or _free_port(), pages)


def lock_store() -> None:
    """Lock the store until this process ends, or the server that it becomes.

    Raise UserError if another process has it.
    """
    LOCK.parent.mkdir(exist_ok=True)
    lock = os.open(LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"{STORE}: another `rm-tension mlflow` fills or serves it; end that one (Ctrl-C) first"
        ) from None
    os.set_inheritable(lock, True)  # else execve closes it


def fill(params: Params) -> tuple[dict[str, str], list[str]]:
    """Make the store anew; return the UI's page by profile, and what could not be read."""
    if STORE.exists():
        shutil.rmtree(STORE)
    STORE.mkdir()
    mlflow.set_tracking_uri(URI)
    pages: dict[str, str] = {}
    problems: list[str] = []
    for profile, settings in params.profiles.items():
        if Path("runs", profile).is_dir():
            tags = {
                "mlflow.note.content": f"{settings.title}; docs/TRACKING.md explains the names",
                "mlflow.experimentKind": "custom_model_development",  # else the UI asks
            }
            experiment = mlflow.MlflowClient().create_experiment(
                experiment_name(profile), (STORE.absolute() / "artifacts").as_uri(), tags
            )
            count = fill_profile(experiment, Paths(profile), problems)
            print(f"{profile}: {count} runs", flush=True)
            pages[profile] = f"#/experiments/{experiment}/runs?{CHARTS}"
    return pages, problems


def fill_profile(experiment: str, paths: Paths, problems: list[str]) -> int:
    """Fill one experiment; return its number of runs, and add what cannot be read to `problems`."""
    results: dict[str, list[Point]] = defaultdict(list)
    if paths.results.is_dir():
        try:
            for run, point in list(read_results(paths.results)):
                results[run].append(point)
        except UserError as error:
            problems.append(str(error))
    count = 0
    files = sorted(paths.run("*").parent.glob("*.json"))
    for path in tqdm(files, desc=paths.profile, unit="run", leave=False, disable=None):
        try:
            record = read_record(path, paths)
        except UserError as error:
            problems.append(str(error))
        else:
            log_run(experiment, path, record, results[path.stem])
            count += 1
    return count


def read_record(path: Path, paths: Paths) -> Record:
    """Read what is in runs/ of a stage; raise UserError that names the damaged file."""
    record = read_json(path, Record)
    record.parameters["profile"] = paths.profile
    if machine_of(path).exists():  # only where it ran
        machine = read_json(machine_of(path), Record)
        record.metrics |= machine.metrics
        record.environment = machine.environment
    if path.stem.startswith("train-"):
        history = paths.histories / f"{path.stem.removeprefix('train-')}.jsonl"
        record.steps = read_steps(history)
        if (timings := machine_of(paths.histories) / history.name).exists():
            for step, timing in zip(record.steps, read_steps(timings), strict=False):
                step.update(timing)
    return record


def read_steps(path: Path) -> list[dict[str, float]]:
    """Read one JSON object a line, of a training step each; raise UserError."""
    try:  # not by pandas, which is off in the last digits
        return [STEP.validate_json(line) for line in path.read_bytes().splitlines()]
    except (OSError, ValueError) as error:
        raise damaged(path, " ".join(str(error).split())) from None


def log_run(experiment: str, path: Path, record: Record, results: list[Point]) -> None:
    """Write a record and its results as an MLflow run, of a training also as a LoggedModel."""
    client, (stage, _, key) = mlflow.MlflowClient(), path.stem.partition("-")
    params = {name: str(value) for name, value in flat(record.parameters).items()}
    tags = run_tags(stage, record.parameters, record.environment)
    measured = {f"run/{name}": value for name, value in flat(record.metrics).items()}
    numbers = {name: value for name, value in measured.items() if isinstance(value, int | float)}
    end = path.stat().st_mtime
    start = end - numbers.get("run/steps_seconds", numbers.get("run/seconds", 0))
    started, ended = int(1000 * start), int(1000 * end)
    name = path.stem.removeprefix("train-")
    run = client.create_run(experiment, started, tags, run_name=name).info.run_id
    model = log_model(experiment, run, key, params, tags) if stage == "train" else None
    metrics = [Metric(name, value, ended, 0) for name, value in numbers.items()]
    metrics += [Metric(name, value, ended, at, model_id=model) for name, value, at in results]
    last = len(record.steps) - 1
    for number, step in enumerate(record.steps):
        if number % (1 + last // CURVE_POINTS) == 0 or number == last:
            moment = started + (ended - started) * (number + 1) // (last + 1)
            metrics += [Metric(*item, moment, number) for item in curves(step).items()]
    client.log_batch(run, metrics, [Param(*item) for item in params.items()])
    client.set_terminated(run, end_time=ended)


def log_model(
    experiment: str, run: str, key: str, params: dict[str, str], tags: dict[str, str]
) -> str:
    """Register a trained reward model, whose files stay in DVC; return its id."""
    model = Model(tags["backbone"], tags["objective"], int(tags["seed"]))
    logged = mlflow.create_external_model(
        name=key.replace(".", "_"),  # MLflow allows no dot
        source_run_id=run,
        tags=tags,
        params=params | {"dvc.path": str(Paths(tags["profile"]).reward_model(model))},
        model_type="reward model",
        experiment_id=experiment,
    )
    mlflow.MlflowClient().log_outputs(run, [LoggedModelOutput(logged.model_id, 0)])
    return str(logged.model_id)


def read_results(folder: Path) -> Iterator[tuple[str, Point]]:
    """Yield the run and the point of every accuracy and retention in results/<profile>/."""
    tables = {name: read_table(folder / f"{name}.csv", COLUMNS[name]) for name in COLUMNS}
    hh = tables["hh_accuracy"]
    own = hh[hh["subset"] == "own"]
    start = own[own["kind"] == "none"]  # of each ablation curve
    for kind, curve in own[~own["kind"].isin(["none", "all"])].groupby("kind"):
        curve = pd.concat([start, curve]).assign(kind=kind)
        yield from _points(curve, "ablation/{kind}", "accuracy", "percent")
    full = {name: table[table["kind"] == "none"] for name, table in tables.items()}
    yield from _points(full["accuracy"], "accuracy/{task}", "accuracy")
    yield from _points(full["group_accuracy"], "group/{group}", "accuracy")
    yield from _points(full["hh_accuracy"], "hh/{subset}", "accuracy")
    yield from _points(full["retention"], "retention/{task}", "retention")
    tasks = full["retention"].assign(group=full["retention"]["task"].map(GROUPS))
    means = tasks.groupby(["backbone", "seed", "group"])["retention"].mean().reset_index()
    yield from _points(means, "retention/{group}", "retention")


def _points(
    table: pd.DataFrame, metric: str, value: str, step: str = ""
) -> Iterator[tuple[str, Point]]:
    """Yield the run and the point of each row that has a value; `metric` takes the row's cells."""
    run = "train-{backbone}-{objective}-{seed}"
    if "objective" not in table:
        run = "evaluate-{backbone}-{seed}"
    for row in table.dropna(subset=[value]).to_dict("records"):
        cells = {str(column): cell for column, cell in row.items()}
        number = int(cells[step]) if step else 0
        yield run.format(**cells), (metric.format(**cells), float(cells[value]), number)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def serve(port: int, pages: dict[str, str]) -> None:
    """Become `mlflow server` on the store, on this machine only."""
    for profile, page in (pages or {"no runs": ""}).items():
        print(f"http://{HOST}:{port}/{page} ({profile})")
    print("MLflow answers there in some seconds. Ctrl-C ends it.", flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", URI]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--no-serve-artifacts", "--uvicorn-opts", "--log-level warning"]
    os.execv(sys.executable, command)  # noqa: S606
