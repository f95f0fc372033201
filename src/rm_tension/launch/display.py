"""What a run shows: a live table on a terminal, lines elsewhere."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
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
BESIDE_THE_TABLE = {State.WAITING, State.FAILED, State.SKIPPED}  # events; it shows the others


@contextmanager
def display(costs: Mapping[str, Cost], jobs: int) -> Iterator[Show]:
    """Yield a function to call after every change."""
    console = Console()
    if not console.is_terminal or console.is_dumb_terminal:
        yield lambda progress: _print_events(console, progress, {*State})
        return
    last, latest = 0.0, Progress({})
    with Live(console=console, auto_refresh=False) as live:

        def show(progress: Progress) -> None:
            nonlocal last, latest
            latest = progress
            if time.monotonic() - last >= REDRAW:
                last = time.monotonic()
                _print_events(live.console, progress, BESIDE_THE_TABLE)
                time_left = _time_left(progress, costs, jobs)
                live.update(Group(table(progress), time_left, *_running(progress)), refresh=True)

        yield show
        _print_events(live.console, latest, BESIDE_THE_TABLE)
        live.update(table(latest), refresh=True)


def _print_events(console: Console, progress: Progress, states: Collection[State]) -> None:
    """Print new events of these states, in one go: a live table is drawn again for each print."""
    lines = [text for state, text in progress.events if state in states]
    progress.events.clear()
    if lines:
        console.print(
            "\n".join(lines), markup=False, highlight=False, soft_wrap=not console.is_terminal
        )


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


def _running(progress: Progress) -> Iterator[Text]:
    """Yield a line for each running stage: for how long, its log, and the last line of it."""
    for stage, state in progress.states.items():
        if state is State.RUNNING:
            took = duration(time.monotonic() - progress.began[stage])
            last = "".join(last_lines(stage)[-1:]).strip()
            line = f"{took:>11}  {log_of(stage)}  {last}"
            yield Text(line, no_wrap=True, overflow="ellipsis")


def _time_left(progress: Progress, costs: Mapping[str, Cost], jobs: int) -> Text:
    """Say what is left by the estimate, corrected by how long the finished stages took."""
    open_states = (State.WAITING, State.RUNNING)
    left = [stage for stage, state in progress.states.items() if state in open_states]
    done = {stage: took for stage, took in progress.took.items() if stage in costs}
    factor = sum(done.values()) / seconds_of(done, costs) if done else 1.0
    seconds = factor * seconds_of(left, costs) / jobs
    return Text(f"{len(left)} stages left" + (f", about {duration(seconds)}" if seconds else ""))
