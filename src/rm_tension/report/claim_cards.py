"""The parts of claims as dots on an axis: ours with its interval, the bound, the paper's value."""

from dataclasses import dataclass

from rm_tension.analyse.verdicts import DecidedPart
from rm_tension.report.summary import estimate

MARGIN = 6.0  # percent of the axis that stays free at either end


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
        _text(part, unit),
    )


def _text(part: DecidedPart, unit: str) -> str:
    """Say what the axis shows."""
    effect, interval = estimate(part.effect, part.interval, unit)
    published, _ = estimate(part.published, (None, None))
    sentences = [f"ours {effect}", f"interval {interval}", f"published {published}"]
    sentences += [] if part.low is None else [f"holds above {part.low:.3g}"]
    sentences += [] if part.high is None else [f"holds below {part.high:.3g}"]
    return ", ".join(sentences).replace("--", "not known")
