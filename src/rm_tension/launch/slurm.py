"""The nodes of a Slurm cluster that share this checkout, a job for each stage, through submitit.

Jobs outlive the coordinator; the next one finds them by what is written beside their results. What has become of them
is asked of `squeue`, which needs no accounting.
"""

import json
import math
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError, UncompletedJobError

from rm_tension.base.errors import UserError
from rm_tension.base.files import write_json
from rm_tension.cost import Cost
from rm_tension.launch.executor import End, Job, file_name
from rm_tension.launch.slurm_job import SlurmJob

FOLDER = Path(".state/launch/slurm")  # a folder for each stage: its job.json, and submitit's files
LOOK_EVERY = 10.0  # s between questions to Slurm, of jobs that leave no result
SAVING = 300  # s before the time limit, to save a state in
LEAST_MINUTES, MINUTES = 60, 4.0  # of a job, and for each minute of the estimate
LEAST_GB, GB = 8.0, 1.5  # of memory, and for each GB of the estimate
REQUEUES = 100  # after the time limit: the long stages go on from where they were
FORGOTTEN = "no longer known"  # minutes after its end
NOT_ITS_FAULT = {"BOOT_FAIL", "NODE_FAIL", "PREEMPTED"}  # where Slurm does not requeue
KILLED = {"OUT_OF_MEMORY", "TIMEOUT", FORGOTTEN}
OVER = {*NOT_ITS_FAULT, *KILLED, "CANCELLED", "COMPLETED", "DEADLINE", "FAILED"}

Submitted = submitit.Job[Any]
Queue = dict[str, tuple[str, str]]  # name and state by id


class Slurm:
    """Jobs in Slurm's queue, each in this folder and with this environment."""

    def __init__(
        self,
        jobs: int,
        costs: Mapping[str, Cost],
        on_gpu: Collection[str],
        prefix: str,
        options: Mapping[str, str],
    ) -> None:
        """Up to `jobs` at once, those of the stages `on_gpu` with a GPU each.

        `prefix` goes before each command, `options` are sbatch's, with _ for -, and win. Raises UserError where there
        is no Slurm.
        """
        if not shutil.which("sbatch"):
            raise UserError(
                "sbatch is not on the PATH: start the launcher where Slurm's commands are, or without it"
            )
        self._jobs, self._costs, self._on_gpu, self._prefix = (
            jobs,
            costs,
            on_gpu,
            shlex.split(prefix),
        )
        self._options = options
        self._running: dict[str, tuple[Job, Submitted]] = {}
        self._late: set[str] = set()  # over when Slurm was last asked, without a result
        self._asked = time.monotonic()

    def has_room_for(self, memory_gb: float) -> bool:
        return len(self._running) < self._jobs

    def start(self, job: Job) -> None:
        """Submit it; raises UserError with the words of sbatch."""
        self._cancel(job.name)
        folder = _folder_of(job.name)
        shutil.rmtree(folder, ignore_errors=True)
        job.log.parent.mkdir(parents=True, exist_ok=True)
        job.log.touch()
        executor = submitit.SlurmExecutor(
            folder, max_num_timeout=REQUEUES, python=f"exec {shlex.quote(sys.executable)}"
        )
        options = needs(job, self._costs.get(job.name), job.name in self._on_gpu) | {
            **self._options
        }
        executor.update_parameters(
            time=int(options.pop("time")),
            use_srun=False,
            stderr_to_stdout=True,
            additional_parameters=options,
        )
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": str(options["cpus_per_task"]),
            **({"RM_TENSION_HALF_BUDGET": "1"} if job.half else {}),
        }
        try:
            submitted = executor.submit(
                SlurmJob([*self._prefix, *job.command], job.log.absolute(), environment)
            )
        except (FailedJobError, FailedSubmissionError) as error:
            raise UserError(f"{job.name}: sbatch refused the job: {error}") from error
        write_json(
            folder / "job.json", {"id": submitted.job_id, **asdict(job), "log": str(job.log)}
        )
        self._running[job.name] = job, submitted
        self._late.discard(job.name)

    def found(self, name: str, inputs: Callable[[], str]) -> bool:
        folder = _folder_of(name)
        path = folder / "job.json"
        if not path.exists():
            return False
        record = json.loads(path.read_text(encoding="utf-8"))
        submitted: Submitted = submitit.SlurmJob(folder, record.pop("id"))
        job = Job(**record | {"log": Path(record["log"])})
        if job.inputs != inputs() or not (
            _has_result(submitted) or submitted.job_id in _active(name)
        ):
            self._cancel(name)
            shutil.rmtree(folder)
            return False
        self._running[name] = job, submitted
        return True

    def ended(self, timeout: float) -> Iterator[End]:
        time.sleep(timeout)
        queue = None
        if time.monotonic() - self._asked >= LOOK_EVERY:
            self._asked, queue = time.monotonic(), _queue()
        for name, (job, submitted) in list(self._running.items()):
            if _has_result(submitted):
                end = _result(job, submitted)
            elif queue is None:
                continue
            elif (state := _state(queue, submitted.job_id)) not in OVER:
                self._late.discard(name)
                continue
            elif name not in self._late:  # a shared file system may show a result late
                self._late.add(name)
                continue
            elif state in NOT_ITS_FAULT:
                self.start(job)
                continue
            else:
                end = _without_result(job, submitted, state)
            del self._running[name]
            yield end
            if name not in self._running:  # not started once more
                (_folder_of(name) / "job.json").unlink()

    def stop(self) -> None:
        """Leave the jobs: they are found again."""

    def _cancel(self, name: str) -> None:
        """End what an earlier coordinator left of a stage, and wait until it is gone."""
        while ids := _active(name):
            subprocess.run(["scancel", *ids], check=True)
            time.sleep(1)


def needs(job: Job, cost: Cost | None, gpu: bool) -> dict[str, Any]:
    """The options of sbatch for a job, with _ for -; `time` is in minutes."""
    minutes = MINUTES * cost.seconds / 60 if cost else 0.0
    return {
        "job_name": job.name,
        "time": max(LEAST_MINUTES, math.ceil(minutes)),
        "mem": f"{math.ceil(max(LEAST_GB, GB * job.memory_gb))}G",
        "cpus_per_task": 4 if gpu else 2,
        **({"gpus_per_node": 1} if gpu else {}),
        "requeue": True,
        "signal": f"B:USR2@{SAVING}",  # to submitit alone, which is the batch script
    }


def jobs_left() -> list[str]:
    """Stages of which Slurm has a job that waits or runs, or may have, where it cannot be asked."""
    names = sorted(
        json.loads(path.read_text(encoding="utf-8"))["name"] for path in FOLDER.glob("*/job.json")
    )
    queue = _queue() if names and shutil.which("squeue") else None
    if queue is None:
        return names
    return [
        name
        for name in names
        if any(one == name and state not in OVER for one, state in queue.values())
    ]


def _folder_of(name: str) -> Path:
    return FOLDER / file_name(name)


def _queue() -> Queue | None:
    """This checkout's jobs, also those that ended minutes ago; None if Slurm does not answer."""
    command = ["squeue", "--me", "--states=all", "--noheader", "--format=%i|%T|%Z|%j"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return None  # a controller that starts again
    rows = [line.split("|", 3) for line in done.stdout.splitlines()]
    return {id_: (name, state) for id_, state, folder, name in rows if folder == str(Path.cwd())}


def _state(queue: Queue, id_: str) -> str:
    return queue[id_][1] if id_ in queue else FORGOTTEN


def _active(name: str) -> list[str]:
    """The ids of a stage's jobs that wait or run. Raises UserError if Slurm does not answer."""
    queue = _queue()
    if queue is None:
        raise UserError(
            "squeue does not answer: wait until Slurm does, and start this again; jobs that run go on"
        )
    return [id_ for id_, (one, state) in queue.items() if one == name and state not in OVER]


def _has_result(submitted: Submitted) -> bool:
    return bool(submitted.paths.result_pickle.exists())


def _result(job: Job, submitted: Submitted) -> End:
    try:
        code, out_of_memory = submitted.result()
    except UncompletedJobError as error:  # not the stage's: submitit's own
        _append(job.log, str(error))
        return End(job.name, 1, False)
    return End(job.name, code, out_of_memory)


def _without_result(job: Job, submitted: Submitted, state: str) -> End:
    """Of a job that Slurm, or the node's kernel, ended whole."""
    words = submitted.stdout() or ""
    _append(job.log, f"{words}job {submitted.job_id} of Slurm ended without a result: {state}")
    return End(job.name, -9 if state in KILLED else 1, state == "OUT_OF_MEMORY")


def _append(log: Path, text: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")
