"""One live table on a terminal, lines of text elsewhere."""

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rm_tension.base.config import load_params
from rm_tension.base.lockfile import kind_of
from rm_tension.base.runs import machine_of
from rm_tension.cost import Cost
from rm_tension.launch.coordinator import Progress, State, log_of

Show = Callable[[Progress], None]  # how far it is
AROUND = 5  # lines of a terminal: the frame and header of the table, and the time left


@contextmanager
def display(costs: Mapping[str, Cost], jobs: int) -> Iterator[Show]:
    """Yield what is to be called with every change."""
    console = Console()
    if not console.is_terminal or console.is_dumb_terminal:
        yield _lines(console)
        return
    with Live(console=console, auto_refresh=False) as live:

        def show(progress: Progress) -> None:
            while progress.messages:
                live.console.print(progress.messages.pop(0), markup=False, highlight=False)
            running = _running(progress)
            table = grid(progress, costs, rows=console.height - AROUND - len(running))
            # the last lines are cut where there are too many
            live.update(Group(_left(progress, costs, jobs), table, *running), refresh=True)

        yield show


def grid(progress: Progress, costs: Mapping[str, Cost], rows: float = math.inf) -> Table:
    """How many stages are in which state, and how fast those that are done were trained.

    By kind and backbone, or, where that makes more than `rows`, by kind alone.
    """
    keys = load_params().grid.whole.backbones
    backbones = {name: key for key in keys for name in costs if f"-{key}-" in f"{name}-"}
    columns, cells = (
        ["stage", "backbone"],
        _cells(progress, backbones),
    )
    if len(cells) > rows:
        columns, cells = ["stage"], _cells(progress, {})
    shown = [state for state in State if state in progress.states.values()]
    table = Table(*columns, *map(str, shown), "steps", "tokens/s")
    for cell, names in cells.items():
        counts = Counter(progress.states[name] for name in names)
        numbers = (str(counts[state] or "") for state in shown)
        table.add_row(*cell[: len(columns)], *numbers, *_speed(progress, names))
    return table


def _cells(progress: Progress, backbones: Mapping[str, str]) -> dict[tuple[str, str], list[str]]:
    """The stages of each kind and backbone ("" without one), kinds in their order, backbones in that of `backbones`."""
    kinds, names = (
        dict.fromkeys(map(kind_of, progress.states)),
        dict.fromkeys(["", *backbones.values()]),
    )
    cells: dict[tuple[str, str], list[str]] = {(kind, name): [] for kind in kinds for name in names}
    for stage in progress.states:
        cells[kind_of(stage), backbones.get(stage, "")].append(stage)
    return {cell: stages for cell, stages in cells.items() if stages}


def _speed(progress: Progress, names: list[str]) -> tuple[str, str]:
    """Steps and tokens per second, from the records of trainings in runs/."""
    steps = tokens = seconds = 0.0
    for path in [progress.records[name] for name in names if progress.states[name].is_good]:
        if path.is_file() and machine_of(path).is_file():  # what came from a cache brings no times
            metrics = _metrics(path) | _metrics(machine_of(path))
            if metrics.get("steps_seconds"):
                steps, tokens = steps + metrics["steps"], tokens + metrics["tokens"]
                seconds += metrics["steps_seconds"]
    return (f"{steps:,.0f}", f"{tokens / seconds:,.0f}") if seconds else ("", "")


def _metrics(path: Path) -> dict[str, float]:
    return dict(json.loads(path.read_text(encoding="utf-8"))["metrics"])


def _running(progress: Progress) -> list[Text]:
    now = time.monotonic()
    names = [name for name, state in progress.states.items() if state is State.RUNNING]
    return [Text(f"{minutes(now - progress.began[name]):>7}  {log_of(name)}") for name in names]


def _left(progress: Progress, costs: Mapping[str, Cost], jobs: int) -> Text:
    """By the estimate, corrected by how long what is done has taken."""
    left = [
        costs[name].seconds
        for name, state in progress.states.items()
        if not state.is_over and name in costs
    ]
    done = {name: took for name, took in progress.took.items() if name in costs}
    factor = sum(done.values()) / sum(costs[name].seconds for name in done) if done else 1.0
    return Text(
        f"{len(left)} stages left, about {minutes(factor * sum(left) / jobs)}" if left else ""
    )


def _lines(console: Console) -> Show:
    said: dict[str, State] = {}

    def show(progress: Progress) -> None:
        for name, state in progress.states.items():
            if state not in (State.WAITING, State.FRESH) and said.get(name) is not state:
                console.print(f"{name}: {state}", markup=False, highlight=False, soft_wrap=True)
                said[name] = state
        while progress.messages:
            console.print(progress.messages.pop(0), markup=False, highlight=False, soft_wrap=True)

    return show


def minutes(seconds: float) -> str:
    """As a person says it."""
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
