"""A stage's program: all processes of a command, which are asked to end and waited for as one.

A shell that is asked to end does so at once, and leaves its command behind, saving its state.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

ASKED = (128 + signal.SIGTERM, -signal.SIGTERM)  # how a program ends that was asked to


class Program:
    """A command in a process group of its own."""

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        """Start it, with other options of subprocess.Popen; raise OSError if that fails."""
        self._ends, held = os.pipe()  # nobody writes: its end comes when the last process has ended
        try:
            self._process = subprocess.Popen(command, process_group=0, pass_fds=[held], **options)
        finally:
            os.close(held)

    def ask_to_end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)

    def wait(self) -> int:
        """Return the command's exit code, or minus the signal that ended it.

        Of a command that was asked to end, wait for the processes that it leaves behind. May be
        called by a signal handler that interrupts it: threads wait, since Popen.wait cannot.
        """
        waiting = threading.Thread(target=self._process.wait)
        waiting.start()
        waiting.join()
        code = int(self._process.returncode)
        if code in ASKED:
            os.read(self._ends, 1)
        return code
