"""What a Slurm job runs: a stage, asked to end before the time limit, begun again after it."""

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from submitit.helpers import DelayedSubmission

from rm_tension.launch.program import ASKED, Program

SIGNALLED = 5.0  # s that Slurm may need to signal all processes of a job


class SlurmJob:
    """Run a stage; submitit calls `checkpoint` before the time limit, and requeues its result."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        ended: int | None = None,
    ) -> None:
        """Take the exit code of a program that ended while the job was being requeued."""
        self._command, self._log, self._environment = command, log, environment
        self._ended = ended
        self._program: Program | None = None

    def __call__(self) -> int:
        """Return the program's exit code, or minus the signal that killed it."""
        if self._ended is not None:
            return self._ended
        signal.signal(signal.SIGTERM, self._killed)
        with self._log.open("ab") as log:
            environment = {**os.environ, **self._environment}
            self._program = Program(self._command, env=environment, stdout=log, stderr=log)
        code = self._program.wait()
        if code in ASKED:  # by whoever ends the job, too: Slurm signals one process after the other
            time.sleep(SIGNALLED)
        return code

    def checkpoint(self) -> DelayedSubmission:
        """Have the program save what it would lose; return what goes on after the requeue."""
        code = self._ended
        if self._program:  # else the job has hardly begun
            self._program.ask_to_end()
            code = self._program.wait()
        ended = None if code in ASKED else code
        return DelayedSubmission(SlurmJob(self._command, self._log, self._environment, ended))

    def _killed(self, number: int, frame: FrameType | None) -> None:
        """End without a result: Slurm ends the job's processes, and may begin it again."""
        if self._program:
            self._program.wait()
        sys.exit(128 + number)
