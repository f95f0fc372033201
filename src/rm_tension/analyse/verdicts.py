"""From the bootstrap values of a claim's parts to its verdict (METHOD.md section 7)."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd

# Whether the published numbers fulfil a predicate; None where they are not all known.
PublishedVerdict = Literal["holds", "does not hold"] | None
Verdict = Literal["reproduced", "not reproduced", "undecided", "not applicable"]
# The verdict of a claim is the first of these that any of its parts has.
WORST_FIRST: tuple[Verdict, ...] = ("not reproduced", "not applicable", "undecided", "reproduced")
INTERVAL = (2.5, 97.5)  # percentiles


class Evidence:
    """A frame of `evidence`, read by column; what is not in it is NaN."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._columns: dict[Any, pd.Series] = dict(frame.items())
        self._nothing = pd.Series(math.nan, index=frame.index)

    def get(self, measure: str, objective: str = "", kind: str = "", part: str = "", percent: int = 0) -> pd.Series:
        return self._columns.get((measure, objective, kind, part, percent), self._nothing)

    def mean(
        self, measure: str, objective: str, kind: str, parts: str | Iterable[str], percents: Iterable[int] = (0,)
    ) -> pd.Series:
        """The mean over those of the parts (tasks, backbones) and percents that have a value."""
        parts = [parts] if isinstance(parts, str) else parts
        found = [self.get(measure, objective, kind, part, percent) for percent, part in product(percents, parts)]
        return pd.concat(found, axis=1).mean(axis=1) if found else self._nothing

    def percents(self, measure: str, kind: str) -> set[int]:
        """At which a kind of ablation has a measure."""
        return {percent for name, _, its, _, percent in self._columns if (name, its) == (measure, kind)}

    def parts(self, measure: str) -> list[str]:
        """The parts of a measure, in order."""
        return list(dict.fromkeys(part for name, _, _, part, _ in self._columns if name == measure))


@dataclass(frozen=True)
class Part:
    """One number of a claim, by `bootstrap` row; it holds if the number lies strictly between `low` and `high`."""

    name: str
    values: pd.Series
    low: float = -math.inf
    high: float = math.inf

    @property
    def effect(self) -> float:
        return float(self.values.iloc[0])

    @property
    def interval(self) -> tuple[float, float]:
        resamples = self.values.iloc[1:].dropna()
        if resamples.empty or math.isnan(self.effect):  # a few resamples may have what the data themselves lack
            return math.nan, math.nan
        low, high = np.percentile(resamples, INTERVAL)
        return float(low), float(high)

    @property
    def margin(self) -> float:
        """How far inside the bounds the number lies."""
        return min(self.effect - self.low, self.high - self.effect)

    @property
    def published_verdict(self) -> PublishedVerdict:
        """By the number alone, because the published ones have no intervals."""
        if math.isnan(self.effect):
            return None
        return "holds" if self.margin > 0 else "does not hold"

    @property
    def verdict(self) -> Verdict:
        """Undecided if the interval holds a bound; not applicable without a value or an interval."""
        low, high = self.interval
        if not math.isfinite(self.effect + low + high):
            return "not applicable"
        if self.low < low and high < self.high:
            return "reproduced"
        return "not reproduced" if high < self.low or low > self.high else "undecided"


UNKNOWN = Part("", pd.Series([math.nan]))


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper and the predicate that decides it: all of its parts must hold."""

    id: str
    claim: str
    predicate: str
    unit: str
    parts: Callable[[Evidence], list[Part]]
    note: Callable[[Evidence], str] = lambda _: ""


@dataclass(frozen=True)
class DecidedPart:
    """What stands in claims.json of a part of a claim; None is what is not known.

    `published` is the paper's number, and `published_verdict` says whether the predicate holds of it.
    """

    part: str
    effect: float | None
    interval: tuple[float | None, float | None]
    published: float | None
    published_verdict: PublishedVerdict
    verdict: Verdict


@dataclass(frozen=True)
class DecidedClaim:
    """What stands in claims.json of a claim; its numbers are those of the part that `decides`, which is its name."""

    id: str
    claim: str
    predicate: str
    effect: float | None
    unit: str
    interval: tuple[float | None, float | None]
    published: float | None
    published_verdict: PublishedVerdict
    verdict: Verdict
    decides: str
    detail: str
    required: bool
    parts: list[DecidedPart]


def decide(claim: Claim, ours: Evidence, published: Evidence, required: bool) -> DecidedClaim:
    """A claim as it stands in claims.json.

    Effect, interval and published value are those of the part that decides: of the parts with the verdict that
    counts, the one least inside its bounds. `published_verdict` is what the paper's own numbers say.
    """
    parts = claim.parts(ours)
    known = {part.name: part for part in claim.parts(published)}
    theirs = [known.get(part.name, UNKNOWN) for part in parts]
    verdict = min((part.verdict for part in parts), key=WORST_FIRST.index)
    place = min(
        (place for place, part in enumerate(parts) if part.verdict == verdict),
        key=lambda place: _last_if_nan(parts[place].margin),
    )
    rows = [
        DecidedPart(
            part=part.name,
            effect=_number(part.effect),
            interval=(_number(part.interval[0]), _number(part.interval[1])),
            published=_number(paper.effect),
            published_verdict=paper.published_verdict,
            verdict=part.verdict,
        )
        for part, paper in zip(parts, theirs, strict=True)
    ]
    shown = rows[place]
    return DecidedClaim(
        id=claim.id,
        claim=claim.claim,
        predicate=claim.predicate,
        effect=shown.effect,
        unit=claim.unit,
        interval=shown.interval,
        published=shown.published,
        published_verdict=_published_verdict([paper.published_verdict for paper in theirs]),
        verdict=verdict,
        decides=shown.part,
        detail=" ".join(filter(None, (_detail(parts[place], len(parts)), claim.note(ours)))),
        required=required,
        parts=rows,
    )


def _published_verdict(of_parts: list[PublishedVerdict]) -> PublishedVerdict:
    """One part that fails decides; otherwise all must be known."""
    if "does not hold" in of_parts:
        return "does not hold"
    return None if None in of_parts else "holds"


def _detail(deciding: Part, parts: int) -> str:
    which = f"The part that decides, of {parts}: {deciding.name}."
    if deciding.verdict != "not applicable":
        return which
    why = "A single value says nothing of its spread." if math.isfinite(deciding.effect) else "There is no such number."
    return f"{which} {why}"


def _last_if_nan(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
