"""Progress of long loops: a bar on a terminal, a line a minute in a log."""

import sys
import time
from typing import ClassVar

from tqdm import tqdm

MINUTE = 60.0  # s


class Progress:
    """A progress bar on a terminal; elsewhere a line on stderr every `every` seconds."""

    _last_line: ClassVar[float] = time.monotonic()  # of all loops: short ones share the minute

    def __init__(self, label: str, total: int, done: int = 0, every: float = MINUTE) -> None:
        """Begin after `done` of `total` steps, such as those of an interrupted run."""
        self._label, self._total, self._first, self._every = label, total, done, every
        self._steps = self._tokens = 0
        self._began = time.monotonic()
        self._bar = tqdm(
            desc=label, total=total, initial=done, unit="step", leave=False, disable=None
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def advance(self, steps: int = 1, *, tokens: int, **numbers: float) -> None:
        """Count steps that are done and their tokens, and show numbers such as the loss."""
        self._steps, self._tokens = self._steps + steps, self._tokens + tokens
        self._bar.set_postfix({name: f"{number:.3f}" for name, number in numbers.items()}, False)
        self._bar.update(steps)
        now = time.monotonic()
        if self._bar.disable and now - Progress._last_line >= self._every:
            Progress._last_line = now
            print(self._line(now - self._began, numbers), file=sys.stderr, flush=True)

    def _line(self, seconds: float, numbers: dict[str, float]) -> str:
        step = self._first + self._steps
        left = seconds / max(self._steps, 1) * (self._total - step)
        parts = [
            f"step {step:,} of {self._total:,}",
            *(f"{name} {number:.3f}" for name, number in numbers.items()),
            f"{self._tokens / max(seconds, 1e-9):,.0f} tokens/s",
            f"{duration(left)} left",
        ]
        return f"{self._label}: {', '.join(parts)}"


def duration(seconds: float) -> str:
    """Return a duration as a person says it: 42 s, 5 min 12 s, 3 h 5 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
