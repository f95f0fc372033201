"""`rm-tension mlflow` in a process of its own."""

import os
import re
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE = 300  # seconds, on a slow machine
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path("src").absolute())}
COMMAND = [sys.executable, "-m", "rm_tension", "mlflow"]


def fill(folder):
    """Fill the store of a folder; return the ended process with what it printed."""
    return subprocess.run(
        [*COMMAND, "--fill-only"], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True
    )


@contextmanager
def serve(folder):
    """Serve the store of a folder; yield the process and the server's address."""
    with subprocess.Popen(
        COMMAND, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            printed = ""
            while not (address := re.search(r"^http://[^/\s]+", printed, re.MULTILINE)):
                line = process.stdout.readline()
                assert line, f"ended without an address:\n{printed}"
                printed += line
            deadline = time.monotonic() + PATIENCE
            while not _is_up(address[0]):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield process, address[0]
        finally:
            process.terminate()
            process.communicate()


def _is_up(address):
    with suppress(OSError), urllib.request.urlopen(f"{address}/health") as answer:  # noqa: S310
        return answer.status == 200
    return False
