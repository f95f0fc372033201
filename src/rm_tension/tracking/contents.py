"""What each run of the store holds: from runs/, results/, dvc.lock and the report."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rm_tension.base.grid import Paths
from rm_tension.tracking.dvc_lock import Lock, Md5s
from rm_tension.tracking.names import STEP_METRICS, as_params, run_key, tags_of
from rm_tension.tracking.records import Record
from rm_tension.tracking.results import Point, Results

REPORT = ("tables/*.tex", "figures/*.png", "claims.md", "artifact.pdf", "index.html")


@dataclass(frozen=True)
class Content:
    """One run: all that the fill writes, except when, which `start` and `end` (s since 1970) say."""

    key: str
    name: str
    parent: str | None
    params: dict[str, str]
    tags: dict[str, str]
    metrics: list[Point]
    start: float
    end: float
    data: Md5s = field(default_factory=dict)
    files: list[tuple[Path, str]] = field(default_factory=list)  # and the folder to show each in

    @cached_property
    def sha256(self) -> str:
        """Equal if and only if a second fill would write the same."""
        digests = [(file.name, folder, hashlib.sha256(file.read_bytes()).hexdigest()) for file, folder in self.files]
        whole = [self.key, self.name, self.parent, self.params, self.tags, self.metrics, self.data, digests]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def contents(records: list[Record], lock: Lock | None, results: Results | None, paths: Paths) -> Iterator[Content]:
    """A run for each trio, then one for each record."""
    trios: dict[str, list[Record]] = {}
    for record in records:
        trios.setdefault(tags_of(record.stage, record.parameters, {}).get("trio", ""), []).append(record)
    yield from (_of_trio(trio, runs, results) for trio, runs in trios.items() if trio)
    for trio, runs in trios.items():
        for record in runs:
            parent = run_key(paths.profile, "trio", trio) if trio else None
            yield _of_record(record, parent, _origin(record, records), lock, results, paths)


def _of_record(
    record: Record, parent: str | None, origin: dict[str, Any], lock: Lock | None, results: Results | None, paths: Paths
) -> Content:
    training = record.stage == "train"
    data, tags = lock.inputs_and_tags(record) if lock else ({}, {})
    metrics = [Point(f"run/{key}", float(value)) for key, value in as_params(record.metrics).items() if value != "None"]
    if training and results:
        metrics += results.of_model(*(record.parameters[axis] for axis in ("backbone", "objective", "seed")))
    for step in record.steps:
        metrics += [Point(f"train/{name}", step[name], int(step["step"])) for name in STEP_METRICS if name in step]
    end = record.path.stat().st_mtime
    return Content(
        key=run_key(paths.profile, record.stage, record.cell),
        name=record.cell if training else "-".join(filter(None, (record.stage, record.cell))),
        parent=parent,
        params=as_params(record.parameters | origin),
        tags=tags_of(record.stage, record.parameters, record.environment) | tags,
        metrics=metrics,
        start=end - max(float(record.metrics.get(name, 0)) for name in ("seconds", "steps_seconds")),
        end=end,
        data=data,
        files=list(_report(paths)) if record.stage == "report" else [],
    )


def _of_trio(trio: str, runs: list[Record], results: Results | None) -> Content:
    """The parent of a trio's runs, with the numbers that compare its reward models."""
    parameters = {axis: runs[0].parameters[axis] for axis in ("profile", "backbone", "seed")}
    ends = [record.path.stat().st_mtime for record in runs]
    return Content(
        key=run_key(parameters["profile"], "trio", trio),
        name=f"trio-{trio}",
        parent=None,
        params=as_params(parameters),
        tags=tags_of("trio", parameters, {}),
        metrics=results.of_trio(parameters["backbone"], parameters["seed"]) if results else [],
        start=min(ends),
        end=max(ends),
    )


def _origin(record: Record, records: Iterable[Record]) -> dict[str, Any]:
    """Parameters of earlier stages that decide a training: which weights and data, at which revisions."""
    origin: dict[str, Any] = {}
    for other in records if record.stage == "train" else ():
        if other.stage == "data":
            origin |= {"data": other.parameters["data"]}
        if other.stage == "backbone" and other.cell == record.parameters["backbone"]:
            origin |= {"weights": other.parameters["backbones"]["weights"]}
    return origin


def _report(paths: Paths) -> Iterator[tuple[Path, str]]:
    for pattern in REPORT:
        folder = Path(pattern).parent.as_posix()
        yield from ((file, "" if folder == "." else folder) for file in sorted(paths.reports.glob(pattern)))
