"""What a run shows: a live table on a terminal, lines elsewhere, and at the end where to look."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rm_tension.base.lockfile import kind_of
from rm_tension.base.progress import duration
from rm_tension.cost import Cost
from rm_tension.launch.costs import seconds_of
from rm_tension.launch.scheduler import Progress, State, last_lines, log_of

Show = Callable[[Progress], None]
REDRAW = 0.25  # s between two drawings of the table at least


@contextmanager
def display(costs: Mapping[str, Cost], jobs: int) -> Iterator[Show]:
    """Yield a function to call after every change."""
    console = Console()
    if not console.is_terminal or console.is_dumb_terminal:
        yield _lines(console)
        return
    last, latest = 0.0, Progress({})

    def draw() -> Group:
        running = [Text(line, no_wrap=True, overflow="ellipsis") for line in _running(latest)]
        return Group(table(latest), _time_left(latest, costs, jobs), *running)

    with Live(console=console, auto_refresh=False) as live:

        def flush() -> None:  # in one go, for each print draws the table again
            if latest.messages:
                live.console.print("\n".join(latest.messages), markup=False, highlight=False)
                latest.messages.clear()

        def show(progress: Progress) -> None:
            nonlocal last, latest
            latest = progress
            if time.monotonic() - last >= REDRAW:
                last = time.monotonic()
                flush()
                live.update(draw(), refresh=True)

        yield show
        flush()
        live.update(table(latest), refresh=True)


def table(progress: Progress) -> Table:
    """Return how many stages of each kind are in which state."""
    shown = [state for state in State if state in progress.states.values()]
    counts: dict[str, Counter[State]] = {}
    for stage, state in progress.states.items():
        counts.setdefault(kind_of(stage), Counter())[state] += 1
    result = Table("stage", *(str(state) for state in shown))
    for kind, count in counts.items():
        result.add_row(kind, *(str(count[state] or "") for state in shown))
    return result


def _running(progress: Progress) -> Iterator[str]:
    """Yield a line for each running stage: for how long, its log, and the last line of it."""
    now = time.monotonic()
    for stage, state in progress.states.items():
        if state is State.RUNNING:
            took = duration(now - progress.began[stage])
            last = "".join(last_lines(stage)[-1:]).strip()
            yield f"{took:>11}  {log_of(stage)}  {last}"


def _time_left(progress: Progress, costs: Mapping[str, Cost], jobs: int) -> Text:
    """Say what is left by the estimate, corrected by how long the finished stages took."""
    left = [
        stage for stage, state in progress.states.items() if state in (State.WAITING, State.RUNNING)
    ]
    done = {stage: took for stage, took in progress.took.items() if stage in costs}
    factor = sum(done.values()) / seconds_of(done, costs) if done else 1.0
    seconds = factor * seconds_of(left, costs) / jobs
    return Text(f"{len(left)} stages left" + (f", about {duration(seconds)}" if seconds else ""))


def _lines(console: Console) -> Show:
    said: dict[str, State] = {}

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(progress: Progress) -> None:
        for stage, state in progress.states.items():
            if state not in (State.WAITING, State.FRESH) and said.get(stage) is not state:
                said[stage] = state
                if state not in (State.FAILED, State.SKIPPED):  # which have a message
                    say(f"{stage}: {state}")
        while progress.messages:
            say(progress.messages.pop(0))

    return show
