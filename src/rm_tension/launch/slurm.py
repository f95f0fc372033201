"""One Slurm job per stage, through submitit, on nodes that share this checkout.

Jobs outlive the launcher; the next one finds them by the job.json beside submitit's files. What has
become of them is asked of `squeue`, which needs no accounting.
"""

import json
import math
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
from rm_tension.launch.scheduler import FOLDER, End, Job, file_name
from rm_tension.launch.slurm_job import SlurmJob
from rm_tension.launch.worker import KILLED, environment_of_jobs

JOBS = FOLDER / "slurm"  # a folder for each stage: its job.json, and submitit's files
LOOK_EVERY = 10.0  # s between questions to Slurm about jobs without a result
SAVING = 300  # s before the time limit, to save a state in
LEAST_MINUTES, MINUTES = 60, 4.0  # of a job, and for each minute of its estimate
LEAST_GB, GB = 8.0, 1.5  # of memory, and for each GB of the estimate
UNKNOWN = Cost(seconds=3600.0, gpu_gb=0.0, memory_gb=0.0)  # for a job without an estimate
REQUEUES = 100  # after the time limit: long stages go on from where they were
FORGOTTEN = "no longer known to Slurm"  # minutes after its end
RESUBMIT = {"BOOT_FAIL", "NODE_FAIL", "PREEMPTED"}  # where Slurm does not requeue by itself
TRY_AGAIN = {"TIMEOUT", FORGOTTEN}
OVER = {*RESUBMIT, *TRY_AGAIN, "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "OUT_OF_MEMORY"}
# Options of which sbatch takes one at a time: the user's one puts ours aside.
EXCLUSIVE = (
    {"mem", "mem_per_cpu", "mem_per_gpu"},
    {"cpus_per_task", "cpus_per_gpu"},
    {"gpus_per_node", "gpus", "gpus_per_task", "gpus_per_socket", "gres", "tres_per_task"},
    {"requeue", "no_requeue"},
)

Submitted = submitit.Job[Any]
Options = Mapping[str, str | bool | int]  # of sbatch, with _ for -; True for a bare flag
Queue = dict[str, tuple[str, str]]  # name and state by id


class Slurm:
    """Jobs in Slurm's queue, up to `jobs` at once; raise UserError where there is no Slurm.

    Those of the stages `on_gpu` have a GPU each. `prefix` goes before each command; the user's
    `options` win.
    """

    def __init__(
        self,
        jobs: int,
        costs: Mapping[str, Cost],
        on_gpu: Collection[str],
        prefix: str,
        options: Options,
    ) -> None:
        if not shutil.which("sbatch"):
            remedy = "start the launcher where Slurm's commands are, or without --executor slurm"
            raise UserError(f"sbatch is not on the PATH: {remedy}")
        self._jobs, self._costs, self._on_gpu, self._options = jobs, costs, on_gpu, options
        self._prefix = shlex.split(prefix)
        self._running: dict[str, tuple[Job, Submitted]] = {}
        self._missing: set[str] = set()  # over when Slurm was last asked, without a result
        self._asked = time.monotonic()

    def has_slot(self) -> bool:
        return len(self._running) < self._jobs

    def start(self, job: Job) -> None:
        """Submit a job; raise UserError with what sbatch says."""
        self._cancel(job.stage)
        folder = _folder_of(job.stage)
        shutil.rmtree(folder, ignore_errors=True)
        job.log.touch()
        cost = self._costs.get(job.stage, UNKNOWN)
        options = with_options(needs(job.stage, cost, job.stage in self._on_gpu), self._options)
        executor = submitit.SlurmExecutor(
            folder, max_num_timeout=REQUEUES, python=f"exec {shlex.quote(sys.executable)}"
        )
        executor.update_parameters(
            time=int(options.pop("time")),
            use_srun=False,
            stderr_to_stdout=True,
            additional_parameters=options,
        )
        command = [*self._prefix, *job.command]
        environment = environment_of_jobs(options.get("cpus_per_task"))
        try:
            submitted = executor.submit(SlurmJob(command, job.log.absolute(), environment))
        except (FailedJobError, FailedSubmissionError) as error:
            raise UserError(f"{job.stage}: sbatch refused the job: {error}") from error
        write_json(folder / "job.json", {"id": submitted.job_id, **asdict(job)})
        self._running[job.stage] = job, submitted
        self._missing.discard(job.stage)

    def adopt(self, stage: str, inputs: Callable[[], str]) -> bool:
        folder = _folder_of(stage)
        path = folder / "job.json"
        if not path.exists():
            return False
        record = json.loads(path.read_text(encoding="utf-8"))
        submitted: Submitted = submitit.SlurmJob(folder, record["id"])
        # other keys are of another version
        job = Job(record["stage"], record["command"], record["inputs"])
        is_there = _has_result(submitted) or submitted.job_id in _active(stage)
        if not is_there or job.inputs != inputs():
            self._cancel(stage)
            shutil.rmtree(folder)
            return False
        self._running[stage] = job, submitted
        return True

    def ended(self, timeout: float) -> Iterator[End]:
        time.sleep(timeout)
        queue = None
        if time.monotonic() - self._asked >= LOOK_EVERY:
            self._asked, queue = time.monotonic(), _queue()
        for stage, (job, submitted) in list(self._running.items()):
            if _has_result(submitted):
                if _was_not_requeued(submitted):
                    self.start(job)
                    continue
                end = _result(job, submitted)
            elif queue is None or (state := self._state_of_missing(stage, queue)) is None:
                continue
            elif state in RESUBMIT:
                self.start(job)
                continue
            else:
                _append(job.log, submitted.stdout() or "")
                end = End(stage, f"Slurm ended job {submitted.job_id}: {state}", state in TRY_AGAIN)
            del self._running[stage]
            yield end
            (_folder_of(stage) / "job.json").unlink()  # the end is noted now

    def stop(self) -> None:
        """Leave the jobs to themselves: the next launcher finds them."""

    def _state_of_missing(self, stage: str, queue: Queue) -> str | None:
        """Return the state of a job that was over without a result for two questions, else None.

        A shared file system may show a result late.
        """
        id_ = self._running[stage][1].job_id
        state = queue[id_][1] if id_ in queue else FORGOTTEN
        if state not in OVER:
            self._missing.discard(stage)
            return None
        if stage not in self._missing:
            self._missing.add(stage)
            return None
        return state

    def _cancel(self, stage: str) -> None:
        """End what an earlier launcher left of a stage, and wait until it is gone."""
        while ids := _active(stage):
            subprocess.run(["scancel", *ids], check=False)  # a busy controller is asked again
            time.sleep(1)


def needs(stage: str, cost: Cost, gpu: bool) -> dict[str, Any]:
    """Return sbatch's options for a stage, `time` in minutes."""
    return {
        "job_name": stage,
        "time": max(LEAST_MINUTES, math.ceil(MINUTES * cost.seconds / 60)),
        "mem": f"{math.ceil(max(LEAST_GB, GB * cost.memory_gb))}G",
        "cpus_per_task": 4 if gpu else 2,
        **({"gpus_per_node": 1} if gpu else {}),
        "requeue": True,
        "signal": f"B:USR2@{SAVING}",  # to submitit alone, which is the batch script
    }


def with_options(ours: Mapping[str, Any], users: Options) -> dict[str, Any]:
    """Return the user's options, and those of ours that none of them excludes."""
    put_aside: set[str] = set()
    for name, value in users.items():
        if name in ("gres", "tres_per_task") and "gpu" not in str(value):
            continue  # something else than a GPU, beside which ours stands
        put_aside |= {other for group in EXCLUSIVE if name in group for other in group}
    return {name: value for name, value in ours.items() if name not in put_aside} | dict(users)


def jobs_left() -> list[str]:
    """Return the stages of which Slurm has, or where it does not answer may have, a job."""
    paths = JOBS.glob("*/job.json")
    names = sorted(json.loads(path.read_text(encoding="utf-8"))["stage"] for path in paths)
    queue = _queue() if names and shutil.which("squeue") else None
    if queue is None:
        return names
    active = {name for name, state in queue.values() if state not in OVER}
    return [name for name in names if name in active]


def _folder_of(stage: str) -> Path:
    return JOBS / file_name(stage)


def _queue() -> Queue | None:
    """Return this checkout's jobs, also ones that ended minutes ago; None without an answer."""
    command = ["squeue", "--me", "--states=all", "--noheader", "--format=%i|%T|%Z|%j"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return None  # a controller that starts again
    rows = [line.split("|", 3) for line in done.stdout.splitlines()]
    return {id_: (name, state) for id_, state, folder, name in rows if folder == str(Path.cwd())}


def _active(stage: str) -> list[str]:
    """Return the ids of a stage's jobs that wait or run; raise UserError without an answer."""
    queue = _queue()
    if queue is None:
        raise UserError("squeue does not answer: start this again when it does; jobs go on")
    return [id_ for id_, (name, state) in queue.items() if name == stage and state not in OVER]


def _has_result(submitted: Submitted) -> bool:
    return bool(submitted.paths.result_pickle.exists())


def _was_not_requeued(submitted: Submitted) -> bool:
    """Return whether a job saved its state, and Slurm refused to requeue it (`no_requeue`)."""
    error = submitted.exception()
    return isinstance(error, FailedJobError) and "'scontrol', 'requeue'" in str(error)


def _result(job: Job, submitted: Submitted) -> End:
    try:
        code = submitted.result()
    except UncompletedJobError as error:  # not the stage's: submitit's own
        _append(job.log, str(error))
        return End(job.stage, "submitit failed")
    if code in KILLED:
        return End(job.stage, "killed by signal 9", killed=True)
    return End(job.stage, f"exit code {code}" if code else None)


def _append(log: Path, text: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{text}\n" if text else "")
