"""Stream a training's step metrics to the MLflow server of MLFLOW_TRACKING_URI while it runs.

It only watches: a thread sends what is in a bounded queue, so that a server that is slow, down or full costs points and
never the training. The fill completes the run from runs/ later.
"""

import logging
import os
import queue
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rm_tension.base.errors import without_passwords
from rm_tension.base.runs import environment
from rm_tension.tracking.records import (
    KEY,
    SHA256,
    STEP_METRICS,
    as_params,
    axis_tags,
    environment_tags,
    run_key,
    source_tags,
)

URI = "MLFLOW_TRACKING_URI"
ATTEMPT = "rm_tension.attempt"
QUEUE = 10_000  # steps
STEPS_IN_REQUEST = 900 // len(STEP_METRICS)  # MLflow takes 1,000 points
SECONDS_BETWEEN = 1.0  # requests
SECONDS_AFTER_FAILURE = 10.0
SECONDS_AT_END = 10.0  # to send the rest, if the server has answered so far
REQUEST = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # a request without an answer may have been served
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
}


@contextmanager
def stream(cell: str, parameters: dict[str, Any]) -> Iterator[Callable[[dict[str, float]], None]]:
    """Yield what to call after every step; it does nothing unless MLFLOW_TRACKING_URI is set."""
    uri = os.environ.get(URI)
    if not uri:
        yield lambda step: None
        return
    os.environ.update(REQUEST)
    sender = Sender(uri, cell, parameters)
    sender.start()
    try:
        yield sender.put
    except BaseException:
        sender.finish("FAILED")
        raise
    sender.finish("FINISHED")


class Sender(threading.Thread):
    """Sends the steps of one training to its run; warns once when it cannot, and tries again later."""

    def __init__(self, uri: str, cell: str, parameters: dict[str, Any]):
        super().__init__(name="mlflow", daemon=True)  # a request that hangs does not keep the process
        self._uri, self._cell, self._parameters = uri, cell, parameters
        self._attempt = uuid.uuid4().hex
        self._queue: queue.Queue[tuple[int, dict[str, float]]] = queue.Queue(QUEUE)
        self._ended = threading.Event()
        self._status = ""
        self._first: float | None = None
        self._failing = self._warned = False
        self._run: _Run | None = None

    def put(self, step: dict[str, float]) -> None:
        """Queue the step, or drop it if the queue is full; returns at once."""
        if self._first is None:
            self._first = step["step"]
        try:
            self._queue.put_nowait((int(1000 * time.time()), dict(step)))
        except queue.Full:
            self._warn("more steps wait than there is room for")

    def finish(self, status: str) -> None:
        """Wait a little for the rest to be sent, but not for a server that does not answer."""
        self._status = status
        self._ended.set()
        self.join(0 if self._failing else SECONDS_AT_END)

    def run(self) -> None:
        while not self._ended.is_set() or not (self._queue.empty() or self._failing):
            self._ended.wait(SECONDS_AFTER_FAILURE if self._failing else SECONDS_BETWEEN)
            self._try(self._send)
        if self._run and not self._failing:
            self._try(self._run.end, self._status)

    def _try(self, action: Callable[..., None], *arguments: Any) -> None:
        try:
            action(*arguments)
            self._failing = False
        except Exception as error:  # whatever it is, the training goes on
            self._warn(words_of(error))
            self._failing = True  # after the warning, for which `finish` would not wait

    def _send(self) -> None:
        while not self._queue.empty():
            batch = [self._queue.get_nowait() for _ in range(min(STEPS_IN_REQUEST, self._queue.qsize()))]
            self._run = self._run or _Run(self._uri, self._cell, self._parameters, self._attempt, bool(self._first))
            self._run.log(batch)

    def _warn(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            message = f"MLflow does not get all steps ({why}); the training goes on, `make mlflow` adds them later"
            print(f"\nwarning: {message}", file=sys.stderr, flush=True)


def words_of(error: Exception) -> str:
    """What an error says, in one line, without the password of an address in it."""
    return without_passwords(" ".join(f"{type(error).__name__}: {error}".split()))[:300]


class _Run:
    """The run of the server that this training writes to."""

    def __init__(self, uri: str, cell: str, parameters: dict[str, Any], attempt: str, resumed: bool):
        # Here, not above: importing mlflow takes seconds, which a training without a server does not pay.
        from mlflow.entities import Param

        from rm_tension.tracking.store import connect, experiment_of, logged_steps, runs_of

        logging.getLogger("mlflow").setLevel(logging.ERROR)  # we warn, and once
        self._client = connect(uri)
        key = run_key(parameters["profile"], "train", cell)
        experiment = experiment_of(self._client, parameters["profile"])
        open_runs = [
            run for run in runs_of(self._client, experiment, f"tags.`{KEY}` = '{key}'") if SHA256 not in run.data.tags
        ]
        own = [run for run in open_runs if resumed or run.data.tags.get(ATTEMPT) == attempt][:1]
        tags = {KEY: key, ATTEMPT: attempt} | axis_tags("train", parameters)
        tags |= environment_tags(environment()) | source_tags("train")
        run = own[0] if own else self._client.create_run(experiment.experiment_id, tags=tags, run_name=cell)
        self._id = run.info.run_id
        self._sent = max(logged_steps(self._client, run), default=-1)
        self._client.update_run(self._id, "RUNNING")
        params = [Param(*item) for item in as_params(parameters).items() if item[0] not in run.data.params]
        self._client.log_batch(self._id, params=params)
        for other in open_runs:
            if other.info.run_id != self._id:  # an attempt that was killed before it could be continued
                self._client.delete_run(other.info.run_id)
        self._uri = uri
        self._watch_system(bool(own))

    def _watch_system(self, resumed: bool) -> None:
        from mlflow.system_metrics import system_metrics_monitor

        monitor: Any = system_metrics_monitor.SystemMetricsMonitor  # untyped
        self._system = monitor(self._id, resume_logging=resumed, tracking_uri=self._uri)
        self._system.start()

    def log(self, batch: list[tuple[int, dict[str, float]]]) -> None:
        """Send steps that the server does not have; those of one step always go together."""
        from mlflow.entities import Metric

        new = [(moment, step) for moment, step in batch if step["step"] > self._sent]
        metrics = [
            Metric(f"train/{name}", step[name], moment, int(step["step"]))
            for moment, step in new
            for name in STEP_METRICS
        ]
        if metrics:
            self._client.log_batch(self._id, metrics=metrics)
            self._sent = metrics[-1].step
        if not self._system._process.is_alive():  # it ends for good when the server fails once
            self._watch_system(resumed=True)

    def end(self, status: str) -> None:
        """Say that the training is over."""
        self._system.finish()
        self._client.set_terminated(self._id, status)
