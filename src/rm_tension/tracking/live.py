"""Stream a training's step metrics to the MLflow server of MLFLOW_TRACKING_URI while it runs.

It only watches: MLflow sends in the background, and a server that is slow, down or full costs points and never the
training. The fill makes the run whole from runs/ later.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rm_tension.base.errors import without_passwords
from rm_tension.base.runs import environment
from rm_tension.tracking.names import KEY, SHA256, STEP_METRICS, as_params, is_shown, run_key, tags_of

URI = "MLFLOW_TRACKING_URI"
REQUEST = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",  # s: at the start and the end a training waits so long for a silent server
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ASYNC_LOGGING_BUFFERING_SECONDS": "1",  # steps that come meanwhile go in one request
}
Step = dict[str, float]


@contextmanager
def stream(cell: str, parameters: dict[str, Any]) -> Iterator[Callable[[Step], None]]:
    """Yield what to call after every step; it does nothing unless MLFLOW_TRACKING_URI is set."""
    uri = os.environ.get(URI)
    if not uri:
        yield lambda step: None
        return
    os.environ.update(REQUEST)
    import mlflow  # noqa: F401 (here: it takes seconds, and sets its own handlers, which ours must follow)

    warning = _OneWarning()
    logging.getLogger("mlflow").handlers = [warning]  # where MLflow says what it could not send
    run = warning.instead(lambda: _Run(uri, cell, parameters))
    if run is None:
        yield lambda step: None
        return
    try:
        yield run.log
    except BaseException:
        warning.instead(lambda: run.end("FAILED"))
        raise
    warning.instead(lambda: run.end("FINISHED"))


class _OneWarning(logging.Handler):
    """Says once that something could not be sent, whatever it was."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._said = False

    def emit(self, record: logging.LogRecord) -> None:
        self._say(record.getMessage())

    def instead(self, action: Callable[[], Any]) -> Any:
        """The action's result; or a warning and None."""
        try:
            return action()
        except Exception as error:  # of MLflow, HTTP, sqlite: the training goes on
            self._say(words_of(error))
            return None

    def _say(self, why: str) -> None:
        if not self._said:
            self._said = True
            message = f"MLflow does not get all steps ({_in_one_line(why)}); the training goes on"
            print(f"\nwarning: {message}, `make mlflow` adds them later", file=sys.stderr, flush=True)


def words_of(error: Exception) -> str:
    """What an error says, in one line, without the password of an address in it."""
    return _in_one_line(f"{type(error).__name__}: {error}")


def _in_one_line(text: str) -> str:
    return without_passwords(" ".join(text.split()))[:300]


class _Run:
    """The run of the server that this training writes to; those of attempts that were killed go."""

    def __init__(self, uri: str, cell: str, parameters: dict[str, Any]):
        from mlflow import MlflowClient
        from mlflow.entities import Param

        from rm_tension.tracking.store import experiment_of, runs_of

        self._client = MlflowClient(uri)
        key = run_key(parameters["profile"], "train", cell)
        experiment = experiment_of(self._client, parameters["profile"])
        for other in runs_of(self._client, experiment, f"tags.`{KEY}` = '{key}'"):
            if SHA256 not in other.data.tags:
                self._client.delete_run(other.info.run_id)
        tags = {KEY: key} | tags_of("train", parameters, environment())
        self._id = self._client.create_run(experiment.experiment_id, tags=tags, run_name=cell).info.run_id
        self._client.log_batch(self._id, params=[Param(*item) for item in as_params(parameters).items()])

    def log(self, step: Step) -> None:
        """Hand a step to MLflow, which sends it in the background."""
        from mlflow.entities import Metric

        number, moment = int(step["step"]), int(1000 * time.time())
        if is_shown(number):
            metrics = [Metric(f"train/{name}", step[name], moment, number) for name in STEP_METRICS]
            self._client.log_batch(self._id, metrics=metrics, synchronous=False)

    def end(self, status: str) -> None:
        """Say that the training is over."""
        self._client.set_terminated(self._id, status)
