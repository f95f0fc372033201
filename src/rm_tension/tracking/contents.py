"""What each run of the store holds: from runs/, results/, dvc.lock and the report."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rm_tension.base.grid import Paths
from rm_tension.tracking.dvc_lock import Lock
from rm_tension.tracking.records import (
    Record,
    Steps,
    as_params,
    axis_tags,
    environment_tags,
    flat,
    run_key,
    source_tags,
)
from rm_tension.tracking.results import Point, Results

ARTEFACTS = ("tables/*.tex", "figures/*.png", "claims.md", "artifact.pdf", "index.html")


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
    without_results: bool = False  # they are not there, or damaged
    steps: Steps = field(default_factory=list)
    data: dict[str, str] = field(default_factory=dict)  # path in DVC: md5
    artefacts: list[tuple[Path, str]] = field(default_factory=list)  # file, folder to show it in

    @cached_property
    def sha256(self) -> str:
        """Equal if and only if a second fill would write the same."""
        digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file, _ in self.artefacts]
        files = [(file.name, folder, digest) for (file, folder), digest in zip(self.artefacts, digests, strict=True)]
        whole = [self.key, self.name, self.params, self.tags, self.metrics, self.steps, self.data, files]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def of_record(
    record: Record, steps: Steps, extra: dict[str, Any], lock: Lock | None, results: Results | None, paths: Paths
) -> Content:
    """The run of one stage. `steps` only of a training; `extra`: parameters of earlier stages that decided it."""
    artefacts = lock.artefacts(record) if lock else None
    end = record.path.stat().st_mtime
    metrics = [Point(f"run/{key}", float(value)) for key, value in flat(record.metrics).items() if value is not None]
    if record.stage == "train" and results:
        metrics += results.of_model(*(record.parameters[axis] for axis in ("backbone", "objective", "seed")))
    return Content(
        key=record.key,
        name=record.cell if record.stage == "train" else "-".join(filter(None, (record.stage, record.cell))),
        parent=run_key(record.profile, "trio", record.trio) if record.trio else None,
        params=as_params(record.parameters | extra),
        tags=axis_tags(record.stage, record.parameters)
        | environment_tags(record.environment)
        | source_tags(record.stage)
        | (artefacts.tags() if artefacts else {}),
        metrics=metrics,
        start=end - max(float(record.metrics.get(name, 0)) for name in ("seconds", "steps_seconds")),
        end=end,
        without_results=record.stage == "train" and results is None,
        steps=steps,
        data=artefacts.data() if artefacts else {},
        artefacts=list(_report(paths)) if record.stage == "report" else [],
    )


def of_trio(records: Iterable[Record], results: Results | None) -> Content:
    """The parent of a trio's runs, with the numbers that compare its reward models."""
    runs = list(records)
    first = runs[0]
    parameters = {axis: first.parameters[axis] for axis in ("profile", "backbone", "seed")}
    ends = [record.path.stat().st_mtime for record in runs]
    return Content(
        key=run_key(first.profile, "trio", first.trio),
        name=f"trio-{first.trio}",
        parent=None,
        params=as_params(parameters),
        tags=axis_tags("trio", parameters),
        metrics=results.of_trio(parameters["backbone"], parameters["seed"]) if results else [],
        start=min(ends),
        end=max(ends),
        without_results=results is None,
    )


def _report(paths: Paths) -> Iterator[tuple[Path, str]]:
    for pattern in ARTEFACTS:
        folder = Path(pattern).parent.as_posix()
        yield from ((file, "" if folder == "." else folder) for file in sorted(paths.reports.glob(pattern)))
