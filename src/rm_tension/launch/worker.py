"""One job: a stage's own program, in a process that has imported the slow libraries before."""

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from multiprocessing.connection import wait
from pathlib import Path

from filelock import FileLock

# Of other people, and imported once for all jobs; our own modules are imported by each, as they are then.
PRELOADED = [
    "accelerate",
    "pandas",
    "pyarrow.parquet",
    "pydantic",
    "torch",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.llama.modeling_llama",
]


def work(command: list[str], log: Path, environment: Mapping[str, str], threads: int) -> None:
    """Run a stage's command with its output in `log`; ends with its exit code, and with the coordinator's end."""
    with log.open("a", buffering=1, encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ |= environment
    from rm_tension import cli

    threading.Thread(target=_end_with_the_coordinator, daemon=True).start()
    # of a coordinator that was killed, the worker may still be putting its state away
    with FileLock(log.with_suffix(".lock")):
        if command[0] != "rm-tension":
            sys.exit(_run(command))
        sys.modules["torch"].set_num_threads(threads)  # imported before OMP_NUM_THREADS was set
        try:
            cli.main(command[1:])
        finally:
            atexit._run_exitfuncs()  # what a process of its own would do, and one of multiprocessing does not


def _run(command: list[str]) -> int:
    """Run a program, and return its exit code. When this process is asked to end, so are all of the program."""
    program = subprocess.Popen(command, process_group=0)
    for asked in (signal.SIGTERM, signal.SIGINT):
        signal.signal(asked, lambda *_: os.killpg(program.pid, signal.SIGTERM))
    return program.wait()


def _end_with_the_coordinator() -> None:
    """Ask this process to end, so that it saves its state, once the one that started it is gone."""
    coordinator = multiprocessing.parent_process()
    if coordinator is not None:
        wait([coordinator.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
