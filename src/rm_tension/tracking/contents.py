"""What each run of the store holds: from runs/, results/, dvc.lock and the report."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rm_tension.base.grid import Paths
from rm_tension.base.lockfile import file_md5, stage_named, stages_of
from rm_tension.base.runs import machine_of
from rm_tension.tracking.names import STEP_METRICS, as_params, is_shown, tags_of
from rm_tension.tracking.results import Point, read_results

Texts = dict[str, str]
ODD = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RecursionError,
)  # of JSON other than the stages write

PRECISION = "computes_in"  # the one metric that is no number


@dataclass(frozen=True)
class Content:
    """One run: all that the fill writes. `start` and `end` are s since 1970."""

    key: str
    parent: str | None
    params: Texts
    tags: Texts
    metrics: list[Point]
    start: float
    end: float
    data: Texts = field(default_factory=dict)  # md5s by path in DVC
    artifacts: Path | None = None  # a folder

    @cached_property
    def sha256(self) -> str:
        """Equal if and only if a second fill would write the same, whenever the files were written."""
        files = (
            [path for path in sorted(self.artifacts.rglob("*")) if path.is_file()]
            if self.artifacts
            else []
        )
        digests = [
            (path.as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files
        ]
        whole = [self.key, self.params, self.tags, self.metrics, self.parent, self.data, digests]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Record:
    """What `runs.record` writes of a stage, both sides, and the steps of a training that a chart can show.

    The machine's side, `environment` and times, is missing of what was pulled from a cache.
    """

    parameters: dict[str, Any]
    metrics: dict[str, Any]
    environment: dict[str, Any] = field(default_factory=dict)
    steps: list[dict[str, float]] = field(default_factory=list)


def contents(paths: Paths, problems: list[str]) -> list[Content]:
    """A run for each trio, then one for each record; what cannot be read is named in `problems` and left out."""
    records, lock = _records(paths, problems), _stages(paths.root / "dvc.lock", problems)
    results = read_results(paths.results, problems)
    runs: list[Content] = []
    trios: dict[str, list[Content]] = {}
    for key in records:
        try:
            run = _of_record(key, records, lock, results, paths)
        except ODD as error:
            problems.append(f"{paths.run(key)}: {_not_a_record(error)}")
            continue
        runs.append(run)
        if run.parent:
            trios.setdefault(run.parent, []).append(run)
    return [
        *(_of_trio(key, children, results.get(key, [])) for key, children in trios.items()),
        *runs,
    ]


def _of_record(
    key: str,
    records: dict[str, Record],
    lock: dict[str, Any],
    results: dict[str, list[Point]],
    paths: Paths,
) -> Content:
    record = records[key]
    stage, _, cell = key.partition("-")
    path, tags = paths.run(key), tags_of(stage, record.parameters, record.environment)
    data, md5s = _md5s(lock, stage, "-".join(filter(None, (paths.profile, cell))), path)
    end = path.stat().st_mtime
    return Content(
        key=key,
        parent=f"trio-{tags['trio']}" if "trio" in tags else None,
        params=as_params(record.parameters | _origin(key, records)),
        tags=tags
        | md5s
        | {key: str(value) for key, value in record.metrics.items() if key == PRECISION},
        metrics=[*_measured(record), *results.get(key, [])],
        data=data,
        artifacts=paths.reports if stage == "report" and paths.reports.is_dir() else None,
        start=end
        - max(float(record.metrics.get(name, 0)) for name in ("seconds", "steps_seconds")),
        end=end,
    )


def _not_a_record(error: Exception) -> str:
    return (
        f"cannot be read: {type(error).__name__}: {error}; `dvc checkout` it or run its stage again"
    )


def _records(paths: Paths, problems: list[str]) -> dict[str, Record]:
    """By key."""
    found: dict[str, Record] = {}
    for path in sorted(paths.run("*").parent.glob("*.json")):
        key, reading = path.stem, path
        try:
            content = json.loads(path.read_bytes())
            if (reading := machine_of(path)).is_file():
                machine = json.loads(reading.read_bytes())
                content |= machine | {"metrics": content["metrics"] | machine["metrics"]}
            if key.startswith("train-"):
                reading = paths.histories / f"{key.removeprefix('train-')}.jsonl"
                content["steps"] = _steps(reading, machine_of(paths.histories) / reading.name)
            found[key] = Record(**content)
        except (OSError, *ODD) as error:
            problems.append(f"{reading}: {_not_a_record(error)}")
    return found


def _steps(history: Path, of_machine: Path) -> list[dict[str, float]]:
    """The steps that a chart can show."""
    steps = [json.loads(line) for line in history.read_bytes().splitlines()]
    if of_machine.is_file():
        times = [json.loads(line) for line in of_machine.read_bytes().splitlines()]
        steps = [step | time for step, time in zip(steps, times, strict=True)]
    return [step for step in steps if is_shown(step["step"]) or step is steps[-1]]


def _stages(lock: Path, problems: list[str]) -> dict[str, Any]:
    try:
        return stages_of(lock.read_text(encoding="utf-8")) if lock.is_file() else {}
    except ValueError as error:
        problems.append(f"{lock}: {error}; `git checkout {lock}`")
        return {}


def _md5s(stages: dict[str, Any], kind: str, cell: str, record: Path) -> tuple[Texts, Texts]:
    """Of the data that a stage read; and of what it wrote, as tags.

    Empty if dvc.lock does not speak of this very record: the stage ran without DVC, or again since.
    """
    stage = stage_named(stages, kind, cell)
    entry = stages[stage] if stage else {}
    read, wrote = (
        {file["path"]: file["md5"] for file in entry.get(end, ()) if "md5" in file}
        for end in ("deps", "outs")
    )
    if wrote.get(record.as_posix()) != file_md5(record):
        return {}, {}
    tags = {"dvc.stage": str(stage)}
    for path, md5 in wrote.items():
        if not path.startswith("runs/"):
            tags |= {"output": path, "output.md5": md5}
    return {
        path: md5 for path, md5 in read.items() if not path.startswith(("models/", "src/", "runs/"))
    }, tags


def _origin(key: str, records: dict[str, Record]) -> dict[str, Any]:
    """Parameters of earlier stages that decide a training: which data and weights, at which revisions."""
    origin: dict[str, Any] = {}
    if key.startswith("train-"):
        backbone = records[key].parameters["backbone"]
        if found := records.get("data"):
            origin["data"] = found.parameters["data"]
        if found := records.get(f"backbone-{backbone}"):
            origin["weights"] = found.parameters["backbones"]["weights"]
    return origin


def _measured(record: Record) -> Iterator[Point]:
    for key, value in as_params(record.metrics).items():
        if value != "None" and key != PRECISION:
            yield Point(f"run/{key}", float(value))
    for step in record.steps:
        yield from (
            Point(f"train/{key}", step[key], int(step["step"]))
            for key in STEP_METRICS
            if key in step
        )


def _of_trio(key: str, children: list[Content], metrics: list[Point]) -> Content:
    """The parent of a trio's runs, with the numbers that compare its reward models."""
    parameters = {axis: children[0].tags[axis] for axis in ("profile", "backbone", "seed")}
    start, end = min(child.start for child in children), max(child.end for child in children)
    return Content(key, None, parameters, tags_of("trio", parameters, {}), metrics, start, end)
