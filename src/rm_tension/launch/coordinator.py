"""Which stage runs when: it is ready when all that it depends on is over; of the ready ones the longest is first."""

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from graphlib import TopologicalSorter
from pathlib import Path

from filelock import FileLock, Timeout

from rm_tension.base.errors import UserError
from rm_tension.cost import Cost
from rm_tension.launch.executor import End, Executor, Job, file_name
from rm_tension.launch.pipeline import Pipeline

FOLDER = Path(".state/launch")  # logs, and who coordinates
LAST_LINES = 12  # of a failed job's log
TICK = 1.0  # s between looks at what runs


class State(StrEnum):
    """Of a stage."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FRESH = "up to date"
    RESTORED = "from the cache"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def is_over(self) -> bool:
        return self not in (State.WAITING, State.RUNNING)

    @property
    def is_good(self) -> bool:
        return self in (State.DONE, State.FRESH, State.RESTORED)


@dataclass
class Progress:
    """What is shown, by stage, in the order of `dvc repro`."""

    states: dict[str, State]
    records: Mapping[str, Path]  # in runs/
    began: dict[str, float] = field(default_factory=dict)  # s, monotonic
    took: dict[str, float] = field(default_factory=dict)  # s
    messages: list[str] = field(default_factory=list)  # not yet said


class Coordinator:
    """Runs a pipeline's stale stages on an executor and records each that ends well."""

    def __init__(self, pipeline: Pipeline, executor: Executor, costs: Mapping[str, Cost]) -> None:
        self._pipeline = pipeline
        self._executor = executor
        self._costs = costs
        self._ready: list[str] = []
        self._tried: set[str] = set()  # once more, after a job was killed
        self._sorter = TopologicalSorter(pipeline.upstream)
        self._sorter.prepare()
        self.progress = Progress(dict.fromkeys(pipeline.upstream, State.WAITING), pipeline.records)

    def run(self, show: Callable[[Progress], None]) -> None:
        """Until nothing is left to do. `show` is called whenever something may have changed.

        Whatever ends it, what is recorded is in dvc.lock, and jobs that run have put away what they would lose.
        """
        states = self.progress.states
        try:
            while self._sorter.is_active():
                for name in self._sorter.get_ready():
                    self._look_at(name)
                self._start_what_fits()
                self._pipeline.write_if_due()
                show(self.progress)
                if State.RUNNING in states.values():
                    for end in self._executor.ended(TICK):
                        self._take(end)
        finally:
            self._executor.stop()
            self._pipeline.write()
            show(self.progress)

    def _look_at(self, name: str) -> None:
        """A stage of which all that it depends on is over: does it have to run?"""
        bad = [up for up in self._pipeline.upstream[name] if not self.progress.states[up].is_good]
        if bad:
            self._over(name, State.SKIPPED, f"skipped, because it depends on {', '.join(bad)}")
        elif self._pipeline.is_fresh(name):
            self._over(name, State.FRESH)
        elif not self._pipeline.commands[name]:
            self._pipeline.record(name)
            self._over(name, State.DONE)
        elif self._executor.found(name, lambda: self._pipeline.remember(name)):
            self._runs(name)
        else:
            self._ready.append(name)

    def _start_what_fits(self) -> None:
        self._ready.sort(key=lambda name: -self._seconds(name))
        for name in list(self._ready):
            if self._executor.has_room_for(self._memory(name)):
                self._ready.remove(name)
                if not self._pipeline.begin(name):
                    self._over(name, State.RESTORED)
                    continue
                log_of(name).unlink(missing_ok=True)
                failure_of(name).unlink(missing_ok=True)
                self._start(name)

    def _start(self, name: str, half: bool = False) -> None:
        command, inputs = self._pipeline.commands[name], self._pipeline.inputs(name)
        self._executor.start(Job(name, command, log_of(name), self._memory(name), inputs, half))
        self._runs(name)

    def _runs(self, name: str) -> None:
        self.progress.states[name] = State.RUNNING
        self.progress.began[name] = time.monotonic()

    def _take(self, end: End) -> None:
        name = end.name
        if end.code == 0:
            if changed := self._pipeline.finish(name):
                what = f"{', '.join(changed)} changed while it ran, so it is not recorded: run this again"
                self._over(name, State.FAILED, what)
            else:
                self.progress.took[name] = time.monotonic() - self.progress.began[name]
                self._over(name, State.DONE)
        elif end.code < 0 and name not in self._tried:
            self._tried.add(name)
            why = f"killed by signal {-end.code}{', out of memory' if end.out_of_memory else ''}"
            how = ", with half as many tokens at a time" if end.out_of_memory else ""
            self._say(name, f"{why}: started once more{how}")
            self._pipeline.clear(name)
            self._start(name, half=end.out_of_memory)
        else:
            failure_of(name).touch()
            last = (
                log_of(name)
                .read_text(encoding="utf-8", errors="replace")
                .splitlines()[-LAST_LINES:]
            )
            self._over(
                name,
                State.FAILED,
                "\n  ".join([f"failed with exit code {end.code}; {log_of(name)}:", *last]),
            )

    def _over(self, name: str, state: State, message: str | None = None) -> None:
        self.progress.states[name] = state
        self._sorter.done(name)
        if message:
            self._say(name, message)
        self._pipeline.write_if_due()

    def _say(self, name: str, message: str) -> None:
        self.progress.messages.append(f"{name}: {message}")

    def _seconds(self, name: str) -> float:
        return self._costs[name].seconds if name in self._costs else 0.0

    def _memory(self, name: str) -> float:
        return self._costs[name].memory_gb if name in self._costs else 0.0


def log_of(name: str) -> Path:
    """What the last run of a stage printed, and while it runs what it prints."""
    return FOLDER / f"{file_name(name)}.log"


def failure_of(name: str) -> Path:
    """Is there if the last run of a stage failed."""
    return FOLDER / f"{file_name(name)}.failed"


@contextmanager
def only_one() -> Iterator[None]:
    """Be the only coordinator of this checkout; raises UserError with the name of the other."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    who = FOLDER / "coordinator"
    try:
        with FileLock(FOLDER / "coordinator.lock", timeout=0):
            who.write_text(f"{platform.node()}, pid {os.getpid()}", encoding="utf-8")
            yield
    except Timeout:
        raise UserError(
            f"this checkout has a coordinator already: {who.read_text(encoding='utf-8')}; wait for its end, or end it"
        ) from None
