"""The process that runs one stage, forked from a server that has imported the slow libraries."""

import atexit
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Mapping
from multiprocessing.connection import wait
from pathlib import Path

from filelock import FileLock

from rm_tension.launch.program import Program

# Other people's, imported once for all jobs. Our own modules are imported by each job, as they are
# then.
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
KILLED = (128 + signal.SIGKILL, -signal.SIGKILL)  # the first by a shell or a container


def environment_of_jobs(threads: int | None) -> dict[str, str]:
    """Return every job's variables: the environment's programs, threads, unfragmented memory."""
    allocator = os.environ.get("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTORCH_ALLOC_CONF": allocator,
        **({"OMP_NUM_THREADS": str(threads)} if threads else {}),
    }


def work(command: list[str], log: Path, environment: Mapping[str, str]) -> None:
    """Run a stage's command with its output in `log`; end as it does, or when the launcher ends."""
    os.setpgid(0, 0)  # a terminal's Ctrl-C and its end are for the launcher, which asks us to end
    with log.open("a", buffering=1, encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ |= environment
    from rm_tension import cli

    threading.Thread(target=_end_with_the_launcher, daemon=True).start()
    # the job of a launcher that was killed may still be saving its state
    with FileLock(log.with_suffix(".lock")):
        if command[0] != "rm-tension":
            sys.exit(_run(command))
        try:
            cli.main(command[1:])
        finally:
            atexit._run_exitfuncs()  # multiprocessing skips them


def _run(command: list[str]) -> int:
    """Run a program and return its exit code, or end by the signal that killed it.

    Whoever asks this process to end asks all of the program.
    """
    program = Program(command)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: program.ask_to_end())
    code = program.wait()
    if code in KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _end_with_the_launcher() -> None:
    """Ask this process to end, so that it saves its state, once the launcher is gone."""
    launcher = multiprocessing.parent_process()
    if launcher is not None:
        wait([launcher.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
