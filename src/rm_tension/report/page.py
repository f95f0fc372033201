"""What the page shows beside tables and figures, and what its script filters by."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from rm_tension.analyse.tally import tally
from rm_tension.analyse.verdicts import DecidedClaim, DecidedPart
from rm_tension.paper.tasks import GROUPS
from rm_tension.report.contents import Report
from rm_tension.report.drawing import Drawing
from rm_tension.report.explorer import Rewards
from rm_tension.report.summary import estimate
from rm_tension.report.table import Cell, Table
from rm_tension.report.tables import GROUP_LABELS, task_columns

MARGIN = 6.0  # percent of a claim's axis that stays free at either end
AXES = ("backbone", "objective", "task")
IN_ATTRIBUTE = " !()*+,-./:;=?@[]_|{}"  # what a data URI in quotes may hold as it is
SIGNS = {"reproduced": "✓", "not reproduced": "✗", "undecided": "?", "not applicable": "–"}


def axes(table: Table, key: Sequence[str], first: int = 0) -> dict[str, str]:
    """Return `data-backbone` and the like of a row's key, or with `first` = -1 of a column's."""
    names = table.cells.index.names[first:]
    return {f"data-{name}": value for name, value in zip(names, key, strict=False) if name in AXES}


def choices(report: Report) -> dict[str, dict[str, dict[str, str]]]:
    """Return what each axis can be filtered by: labels by key, under the heading of their group."""
    backbones: dict[str, str] = {}
    for table in report.tables:
        if isinstance(table, Table) and table.cells.index.names[-1] == "backbone":
            backbones |= table.columns
    return {
        "backbone": {"": backbones},
        "objective": {"": report.labels},
        "task": {GROUP_LABELS[group]: task_columns(group) for group in GROUPS},
    }


def plain(cell: Cell, digits: int) -> str:
    """Return a number as plain text, e.g. `81.0* ± 1.2`."""
    if math.isnan(cell.value):
        return "–"
    spread = "" if math.isnan(cell.spread) else f" ± {cell.spread:.{digits}f}"
    return f"{cell.text(digits)}{'*' if cell.partial else ''}{spread}"


def outcome(rewards: Rewards) -> str:
    """Return whether an RM is right of an item, whole and then ablated, as two signs."""
    if not rewards:
        return "–"
    return "".join(
        "✓" if chosen > rejected else "✗" for chosen, rejected in (rewards[:2], rewards[2:])
    )


def squares(claims: Sequence[DecidedClaim]) -> list[tuple[str, str, str]]:
    """Return id, verdict and the verdict's sign of each claim."""
    return [(claim.id, claim.verdict, SIGNS[claim.verdict]) for claim in claims]


def tiles(report: Report) -> list[tuple[str, str, str]]:
    """Return what the first screen says in numbers: a title, the number and what it means."""
    verdicts = [claim.verdict for claim in report.claims]
    parts = tally(report.claims)
    reproduced, against = verdicts.count("reproduced"), verdicts.count("not reproduced")
    trios = len(report.context.trios)
    rms = len(report.labels)  # of a trio
    models, missing = rms * trios, rms * len(report.context.missing_trios)
    shown = [
        (
            f"of {len(verdicts)} claims reproduced",
            str(reproduced),
            f"{against} not, {len(verdicts) - reproduced - against} open",
        ),
        (
            f"of {parts.parts} parts of claims hold",
            str(parts.hold),
            f"{parts.contradicted} contradicted, {parts.open} open",
        ),
    ]
    for group, (ours, paper) in report.retention.items():
        shown.append(
            (
                f"of what a single RM gets right the mixed RM keeps, {group} tasks",
                "–" if math.isnan(ours) else f"{100 * ours:.0f}%",
                "" if math.isnan(paper) else f"the paper's: {100 * paper:.0f}%",
            )
        )
    every = f"{missing} of the grid missing" if missing else "all of the grid"
    shown.append(("reward models compared", str(models), every))
    if report.estimate:
        hours, device, note = report.estimate.hours, report.estimate.device, report.estimate.note
        measured = f"measured: runs/{report.context.profile}/machine/"
        shown.append((f"of {device} is our estimate of the cost", hours, f"{note}; {measured}"))
    return shown


def embedded(drawing: Drawing, folder: Path) -> str:
    """Return a saved figure as a data URI, so that the page shows it wherever it is sent.

    Percent-encoding takes a third less room than base64; nothing is left that HTML would read.
    """
    svg = (folder / "figures" / f"{drawing.name}.svg").read_text(encoding="utf-8")
    return f"data:image/svg+xml,{quote(' '.join(svg.split()), safe=IN_ATTRIBUTE)}"


@dataclass(frozen=True)
class Dots:
    """Positions on an axis, in percent of its width; None is not known.

    `holds` is the stretch in which the part holds, `bounds` are its ends within the axis. `text`
    says the same in words.
    """

    effect: float | None
    interval: tuple[float, float] | None
    published: float | None
    holds: tuple[float, float] | None
    bounds: list[float]
    text: str


def dots(part: DecidedPart, unit: str) -> Dots:
    """Place a part's numbers on an axis that just holds them all."""
    low, high = part.interval
    bounds = [bound for bound in (part.low, part.high) if bound is not None]
    numbers = [part.effect, low, high, part.published, *bounds]
    known = [number for number in numbers if number is not None]
    start, span = (min(known), max(known) - min(known)) if known else (0.0, 0.0)

    def place(number: float) -> float:
        share = (number - start) / span if span else 0.5
        return round(MARGIN + (100 - 2 * MARGIN) * share, 1)

    first = 0.0 if part.low is None else place(part.low)
    last = 100.0 if part.high is None else place(part.high)
    return Dots(
        None if part.effect is None else place(part.effect),
        None if low is None or high is None else (place(low), place(high)),
        None if part.published is None else place(part.published),
        (first, last) if bounds else None,
        [place(bound) for bound in bounds],
        _said(part, unit),
    )


def _said(part: DecidedPart, unit: str) -> str:
    """Say what the axis shows."""
    effect, interval = estimate(part.effect, part.interval, unit)
    published, _ = estimate(part.published, (None, None))
    sentences = [f"ours {effect}", f"interval {interval}", f"published {published}"]
    sentences += [] if part.low is None else [f"holds above {part.low:.3g}"]
    sentences += [] if part.high is None else [f"holds below {part.high:.3g}"]
    return ", ".join(sentences).replace("--", "not known")
