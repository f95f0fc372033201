"""Signals that ask a program to end, kept until it has put away what it would lose."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def noted_signals() -> Iterator[list[signal.Signals]]:
    """Yield a list that each SIGINT and SIGTERM goes into, in the place of its effect.

    One wish to end may come as several signals: of a terminal or Slurm to all processes, and of the
    launcher to its jobs. Whoever cannot wait has SIGQUIT, or SIGKILL.
    """
    noted: list[signal.Signals] = []
    before = {
        number: signal.signal(number, lambda got, frame: noted.append(signal.Signals(got)))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
