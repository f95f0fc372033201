"""Decide which stage runs when: once all that it depends on is up to date, the longest first."""

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from filelock import FileLock, Timeout

from rm_tension.base.errors import UserError
from rm_tension.cost import Cost
from rm_tension.launch.pipeline import Pipeline

FOLDER = Path(".state/launch")  # logs, and who runs
LAST_LINES, TAIL = 12, 10_000  # of a failed stage's log; bytes that hold them
TICK = 1.0  # s between looks at what runs


@dataclass(frozen=True)
class Job:
    """A stage to run: the words of its command, and its `Pipeline.inputs`."""

    stage: str
    command: list[str]
    inputs: str

    @property
    def log(self) -> Path:
        return log_of(self.stage)


@dataclass(frozen=True)
class End:
    """How a job ended; `failure` says why, and `killed` that another try may succeed."""

    stage: str
    failure: str | None = None
    killed: bool = False


class Executor(Protocol):
    """Runs jobs in parallel."""

    def has_slot(self) -> bool:
        """Return whether one more job may start."""

    def start(self, job: Job) -> None:
        """Start a job, which takes a slot."""

    def adopt(self, stage: str, inputs: Callable[[], str]) -> bool:
        """Return whether a job of an earlier launcher computes the stage from the same inputs."""

    def ended(self, timeout: float) -> Iterator[End]:
        """Yield the jobs that have ended, adopted ones too, after `timeout` seconds at most."""

    def stop(self) -> None:
        """End what runs, if it is to end with the launcher: nobody will ask any more."""


class State(StrEnum):
    """Of a stage, in the order of the table's columns."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FRESH = "up to date"
    RESTORED = "from the cache"
    FAILED = "failed"
    SKIPPED = "skipped"


GOOD = {State.DONE, State.FRESH, State.RESTORED}


@dataclass
class Progress:
    """How far a run is, by stage in the order of `dvc repro`."""

    states: dict[str, State]
    began: dict[str, float] = field(default_factory=dict)  # s, monotonic
    took: dict[str, float] = field(default_factory=dict)  # s
    failures: dict[str, str] = field(default_factory=dict)  # in one line
    events: list[tuple[State, str]] = field(default_factory=list)  # not yet shown


class Scheduler:
    """Runs a pipeline's stale stages and records each that ends well; shows every change."""

    def __init__(
        self,
        pipeline: Pipeline,
        executor: Executor,
        costs: Mapping[str, Cost],
        show: Callable[[Progress], None],
    ) -> None:
        self._pipeline, self._executor, self._costs, self._show = pipeline, executor, costs, show
        self._ready: list[str] = []
        self._retried: set[str] = set()
        self._sorter = TopologicalSorter(pipeline.upstream)
        self._sorter.prepare()
        self.progress = Progress(dict.fromkeys(pipeline.upstream, State.WAITING))

    def run(self) -> Progress:
        """Run until nothing is left to do. Whatever ends it, dvc.lock has what is recorded."""
        states = self.progress.states
        try:
            while self._sorter.is_active():
                for stage in self._sorter.get_ready():
                    self._examine(stage)
                self._start_ready()
                self._pipeline.write_if_due()
                self._show(self.progress)
                if State.RUNNING in states.values():
                    for end in self._executor.ended(TICK):
                        self._end(end)
        finally:
            self._executor.stop()
            self._pipeline.write()
        return self.progress

    def _examine(self, stage: str) -> None:
        """Decide whether a stage, all of whose dependencies are over, has to run."""
        states = self.progress.states
        bad = [name for name in self._pipeline.upstream[stage] if states[name] not in GOOD]
        if bad:
            self._over(stage, State.SKIPPED, f"depends on {', '.join(bad)}")
        elif self._pipeline.is_fresh(stage):
            self._over(stage, State.FRESH)
        elif not self._pipeline.commands[stage]:
            self._pipeline.record(stage)
            self._over(stage, State.DONE)
        elif self._executor.adopt(stage, lambda: self._pipeline.inputs_now(stage)):
            self._runs(stage)
        else:
            self._ready.append(stage)

    def _start_ready(self) -> None:
        costs = self._costs
        # ties by name, so that a run that is started again goes on with the stage it was at
        self._ready.sort(key=lambda name: (-costs[name].seconds if name in costs else 0.0, name))
        while self._ready and self._executor.has_slot():
            stage = self._ready.pop(0)
            if not self._pipeline.begin(stage):
                self._over(stage, State.RESTORED)
                continue
            log_of(stage).unlink(missing_ok=True)
            failure_of(stage).unlink(missing_ok=True)
            command, inputs = self._pipeline.commands[stage], self._pipeline.inputs(stage)
            self._executor.start(Job(stage, command, inputs))
            self._runs(stage)

    def _runs(self, stage: str) -> None:
        self.progress.began[stage] = time.monotonic()
        self._set(stage, State.RUNNING)

    def _end(self, end: End) -> None:
        stage = end.stage
        if end.failure is None:
            if refusal := self._pipeline.finish(stage):
                self._fail(stage, refusal)
                return
            self.progress.took[stage] = time.monotonic() - self.progress.began[stage]
            self._over(stage, State.DONE)
        elif end.killed and stage not in self._retried:
            self._retried.add(stage)
            self.progress.states[stage] = State.WAITING
            text = f"{stage}: {end.failure}: started once more"
            self.progress.events.append((State.WAITING, text))
            self._ready.append(stage)
        else:
            lines = last_lines(stage)
            failure_of(stage).touch()
            last = lines[-1].strip() if lines else "no output"
            self._fail(stage, f"{end.failure}: {last}", *lines[-LAST_LINES:])

    def _fail(self, stage: str, failure: str, *log: str) -> None:
        self.progress.failures[stage] = failure
        self._over(stage, State.FAILED, "\n  ".join([failure, *log]))

    def _over(self, stage: str, state: State, detail: str = "") -> None:
        self._sorter.done(stage)
        self._set(stage, state, detail)

    def _set(self, stage: str, state: State, detail: str = "") -> None:
        self.progress.states[stage] = state
        if state is not State.FRESH:
            text = ": ".join(filter(None, [stage, state, detail]))
            self.progress.events.append((state, text))
        self._show(self.progress)


def file_name(stage: str) -> str:
    """Return a stage's name as that of a file: `sub/dvc.yaml:stage` of a subfolder has a slash."""
    return quote(stage, safe="@").replace("%", "+")  # Slurm has its own meaning for %


def log_of(stage: str) -> Path:
    """Return the file with what the last run of a stage printed."""
    return FOLDER / f"{file_name(stage)}.log"


def last_lines(stage: str) -> list[str]:
    """Return the last lines of a stage's log that are not empty."""
    try:
        with log_of(stage).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:  # the job has hardly begun
        return []
    return [line for line in text.splitlines() if line.strip()]


def failure_of(stage: str) -> Path:
    """Return the file that is there if the last run of a stage failed."""
    return FOLDER / f"{file_name(stage)}.failed"


@contextmanager
def single_launcher() -> Iterator[None]:
    """Raise UserError, with the name of the other, if another launcher runs in this checkout."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    owner = FOLDER / "launcher"
    try:
        with FileLock(FOLDER / "launcher.lock", timeout=0):
            owner.write_text(f"{platform.node()}, pid {os.getpid()}", encoding="utf-8")
            yield
    except Timeout:
        raise UserError(
            f"another launcher runs in this checkout: {owner.read_text(encoding='utf-8')}; "
            "wait for its end, or end it"
        ) from None
