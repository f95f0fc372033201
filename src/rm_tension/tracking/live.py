"""Stream a training's step metrics to the MLflow server of MLFLOW_TRACKING_URI while it runs.

It only watches: MLflow sends in the background, and a server that is slow, down or full costs points and never the
training. The fill makes the run whole from runs/ later.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rm_tension.base.errors import without_passwords

URI = "MLFLOW_TRACKING_URI"
REQUEST = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",  # s: at the start and the end a training waits so long for a silent server
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ASYNC_LOGGING_BUFFERING_SECONDS": "1",  # steps that come meanwhile go in one request
}


@contextmanager
def stream(cell: str, parameters: dict[str, Any]) -> Iterator[Callable[[dict[str, float]], None]]:
    """Yield what to call after every step; it does nothing unless MLFLOW_TRACKING_URI is set."""
    uri = os.environ.get(URI)
    if not uri:
        yield lambda step: None
        return
    os.environ.update(REQUEST)
    # Imported here, for it takes seconds; and it gives MLflow's logger a handler of its own, which ours replaces.
    from rm_tension.tracking.store import StreamedRun

    warning = _OneWarning()
    logging.getLogger("mlflow").handlers = [warning]  # where MLflow says what it could not send
    run = warning.instead(lambda: StreamedRun(uri, cell, parameters))
    status = "FAILED"
    try:
        yield run.log if run else lambda step: None
        status = "FINISHED"
    finally:
        if run:
            warning.instead(lambda: run.end(status))


class _OneWarning(logging.Handler):
    """Says once that something could not be sent, whatever it was."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._said = False

    def instead(self, action: Callable[[], Any]) -> Any:
        """The action's result; or a warning and None."""
        try:
            return action()
        except Exception as error:  # of MLflow, HTTP, sqlite: the training goes on
            self._say(f"{type(error).__name__}: {error}")
            return None

    def emit(self, record: logging.LogRecord) -> None:
        self._say(record.getMessage())

    def _say(self, why: str) -> None:
        if not self._said:
            self._said = True
            why = without_passwords(" ".join(why.split()))[:300]
            message = f"MLflow does not get all steps ({why}); the training goes on, `make mlflow` adds them later"
            print(f"\nwarning: {message}", file=sys.stderr, flush=True)
