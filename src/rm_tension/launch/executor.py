"""What the coordinator asks of the machine or cluster that runs the jobs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote


@dataclass(frozen=True)
class Job:
    """A stage to run. `memory_gb`: what it may need of a machine's memory; `half`: half as many tokens at a time.

    `command` are its words. `inputs` is the command and the hashes of all that the stage depends on, as they are when
    it begins.
    """

    name: str
    command: list[str]
    log: Path
    memory_gb: float
    inputs: str
    half: bool = False


@dataclass(frozen=True)
class End:
    """How a job ended: `code` is the exit code, or minus the signal that killed it."""

    name: str
    code: int
    out_of_memory: bool


def file_name(stage: str) -> str:
    """Return the name of a stage as that of a file: `sub/dvc.yaml:stage` of a subfolder has a slash."""
    return quote(stage, safe="@").replace("%", "+")  # Slurm has its own meaning for %


class Executor(Protocol):
    """Runs jobs side by side."""

    def has_room_for(self, memory_gb: float) -> bool:
        """Whether a job of that size can be started."""

    def start(self, job: Job) -> None: ...

    def found(self, name: str, inputs: Callable[[], str]) -> bool:
        """Whether a coordinator before this one started the job with these inputs; `ended` tells of it, too, then."""

    def ended(self, timeout: float) -> Iterator[End]:
        """Jobs that have ended, after at most about `timeout` seconds."""

    def stop(self) -> None:
        """The coordinator ends, and nobody will ask any more."""
