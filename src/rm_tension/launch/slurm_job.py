"""What a Slurm job runs: a stage's own program, which is asked to end in time and begun again after a requeue."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from submitit.helpers import DelayedSubmission

from rm_tension.launch.local import out_of_memory_kills

ASKED = (128 + signal.SIGTERM, -signal.SIGTERM)  # how a program ends that was asked to
KILLED = (128 + signal.SIGKILL, -signal.SIGKILL)  # the first by a shell or a container


class SlurmJob:
    """Called in the job by submitit, which calls `checkpoint` before the time limit and requeues what that returns."""

    def __init__(
        self,
        words: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        ended: int | None = None,
    ) -> None:
        """`ended`: the exit code of the program, if it ended while the job was being requeued."""
        self._words, self._log, self._environment, self._ended = words, log, environment, ended
        self._program: subprocess.Popen[bytes] | None = None

    def __call__(self) -> tuple[int, bool]:
        """The exit code, or minus the signal that killed the program, and whether the node's memory was short."""
        if self._ended is not None:
            return self._ended, False
        signal.signal(signal.SIGTERM, self._killed)
        kills = out_of_memory_kills()
        with self._log.open("ab") as log:
            environment = {**os.environ, **self._environment}
            self._program = subprocess.Popen(self._words, env=environment, stdout=log, stderr=log)
        code = _end_of(self._program)
        if code in KILLED:
            return -signal.SIGKILL, out_of_memory_kills() > kills
        return code, False

    def checkpoint(self) -> DelayedSubmission:
        """Have the program save what it would lose; returns what goes on after the requeue."""
        code = self._ended
        if self._program:  # else the job has hardly begun
            self._program.terminate()
            code = _end_of(self._program)
        return DelayedSubmission(
            SlurmJob(self._words, self._log, self._environment, None if code in ASKED else code)
        )

    def _killed(self, number: int, frame: FrameType | None) -> None:
        """Slurm ends all processes of the job, and knows why and whether it begins again: so there is no result."""
        if self._program:
            _end_of(self._program)
        sys.exit(128 + number)


def _end_of(program: subprocess.Popen[bytes]) -> int:
    """Its exit code. In a thread: a signal's handler cannot wait where it has interrupted Popen.wait."""
    waiting = threading.Thread(target=program.wait)
    waiting.start()
    waiting.join()
    return int(program.returncode)
