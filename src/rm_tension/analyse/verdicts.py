"""From the bootstrap values of a claim's parts to its verdict (METHOD.md section 7)."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtrit

from rm_tension.analyse.bootstrap import DRAWN, DRAWN_BACKBONES, LEFT_OUT

# Whether the published numbers fulfil a predicate; None where they are not all known.
PublishedVerdict = Literal["holds", "does not hold"] | None
Verdict = Literal["reproduced", "not reproduced", "undecided", "not applicable"]
# The verdict of a claim is the first of these that any of its parts has.
WORST_FIRST: tuple[Verdict, ...] = ("not reproduced", "not applicable", "undecided", "reproduced")
INTERVAL = (2.5, 97.5)  # percentiles
Z = float(ndtri(INTERVAL[1] / 100))  # of a normal distribution
Interval = tuple[float, float]
UNKNOWN_INTERVAL: Interval = (math.nan, math.nan)


class Evidence:
    """A frame of `evidence`, read by column; what is not in it is NaN."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._columns: dict[Any, pd.Series] = dict(frame.items())
        self._nothing = pd.Series(math.nan, index=frame.index)

    def get(
        self, measure: str, objective: str = "", kind: str = "", part: str = "", percent: int = 0
    ) -> pd.Series:
        return self._columns.get((measure, objective, kind, part, percent), self._nothing)

    def mean(
        self,
        measure: str,
        objective: str,
        kind: str,
        parts: str | Iterable[str],
        percents: Iterable[int] = (0,),
    ) -> pd.Series:
        """The mean over those of the parts (tasks, backbones) and percents that have a value."""
        parts = [parts] if isinstance(parts, str) else parts
        found = [
            self.get(measure, objective, kind, part, percent)
            for percent, part in product(percents, parts)
        ]
        return pd.concat(found, axis=1).mean(axis=1) if found else self._nothing

    def percents(self, measure: str, kind: str) -> set[int]:
        """At which a kind of ablation has a measure."""
        return {
            percent for name, _, its, _, percent in self._columns if (name, its) == (measure, kind)
        }

    def parts(self, measure: str) -> list[str]:
        """The parts of a measure, in order."""
        return list(dict.fromkeys(part for name, _, _, part, _ in self._columns if name == measure))


@dataclass(frozen=True)
class Part:
    """One number of a claim, by `Replicates.index`; it holds if the number lies strictly between `low` and `high`.

    `of_sets` says that the number compares sets of neurons by scores averaged over seeds. Such numbers are biased under
    resampling: where a seed is drawn twice, fewer are averaged, so that sets agree less. Their intervals are corrected.
    """

    name: str
    values: pd.Series
    low: float = -math.inf
    high: float = math.inf
    of_sets: bool = False

    @property
    def effect(self) -> float:
        """The point estimate."""
        return float(self.values.iloc[0])

    @cached_property
    def interval(self) -> Interval:
        """Return the 95% interval with the backbones fixed, which decides; NaN if a single value has no spread.

        The percentiles of the draws of items and seeds, widened around the effect by t / z, with the degrees of freedom
        that few seeds leave (`_degrees_of_freedom`).
        """
        low, high = self._percentiles(DRAWN)
        if math.isnan(low):
            return UNKNOWN_INTERVAL
        spread = (high - low) / (2 * Z)
        widening = stdtrit(_degrees_of_freedom(self._rows(LEFT_OUT), spread), INTERVAL[1] / 100) / Z
        return self.effect - widening * (self.effect - low), self.effect + widening * (
            high - self.effect
        )

    @cached_property
    def interval_over_backbones(self) -> Interval:
        """Return the percentiles where backbones are drawn as well; of six, they are only nominally 95%."""
        return self._percentiles(DRAWN_BACKBONES)

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
        """Return what effect and interval both say, else undecided; not applicable without a value or an interval."""
        low, high = self.interval
        if not math.isfinite(self.effect + low + high):
            return "not applicable"
        if self.margin > 0 and self.low < low and high < self.high:
            return "reproduced"
        if self.margin <= 0 and (high < self.low or low > self.high):
            return "not reproduced"
        return "undecided"

    def _rows(self, what: str) -> pd.Series:
        return self.values[self.values.index.get_level_values(0) == what].dropna()

    def _percentiles(self, what: str) -> Interval:
        replicates = self._rows(what)
        if replicates.empty or math.isnan(
            self.effect
        ):  # a few draws may have what the data themselves lack
            return UNKNOWN_INTERVAL
        low, high = np.percentile(replicates, INTERVAL)
        bias = float(replicates.median()) - self.effect if self.of_sets else 0.0
        return float(low) - bias, float(high) - bias


def _degrees_of_freedom(left_out: pd.Series, spread: float) -> float:
    """Return those of a standard error `spread` of which the jackknife of each backbone's seeds explains a part.

    `left_out` has a statistic without one trio, by backbone and seed. With V the part of the variance that a backbone's
    n seeds make, the seeds together have sum(V)^2 / sum(V^2 / (n - 1)) degrees of freedom (Satterthwaite, 1946); items
    have so many that theirs count as infinite.
    """
    by_backbone = left_out.groupby(level=1)
    n = by_backbone.size()
    variances = (n - 1) * by_backbone.var(ddof=0)
    variances = variances[variances > 0]
    if variances.empty:
        return math.inf
    total = float(variances.sum())
    of_seeds = total**2 / float((variances**2 / (n - 1)).sum())
    return of_seeds * max(1.0, spread**2 / total) ** 2


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

    `interval` decides, with the backbones fixed; `interval_over_backbones` is of draws of backbones as well.
    `published` is the paper's number, and `published_verdict` says whether the predicate holds of it.
    The part holds where its number lies strictly between `low` and `high`; None is no bound.
    """

    part: str
    effect: float | None
    interval: tuple[float | None, float | None]
    interval_over_backbones: tuple[float | None, float | None]
    published: float | None
    published_verdict: PublishedVerdict
    verdict: Verdict
    low: float | None = None
    high: float | None = None


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
            interval=_numbers(part.interval),
            interval_over_backbones=_numbers(part.interval_over_backbones),
            published=_number(paper.effect),
            published_verdict=paper.published_verdict,
            verdict=part.verdict,
            low=_number(part.low),
            high=_number(part.high),
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
    why = (
        "A single value says nothing of its spread."
        if math.isfinite(deciding.effect)
        else "There is no such number."
    )
    return f"{which} {why}"


def _last_if_nan(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _numbers(interval: Interval) -> tuple[float | None, float | None]:
    return _number(interval[0]), _number(interval[1])


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
