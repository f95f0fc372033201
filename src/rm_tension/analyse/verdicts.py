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
ROUNDING = 1e-9  # how far float64 sums leave a number that lies on a bound from it, and more
EQUAL = 9  # decimals of points, in which means of equal numbers agree
Z = float(ndtri(INTERVAL[1] / 100))  # of a normal distribution
Interval = tuple[float, float]
UNIT: Interval = (0.0, 1.0)
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
        """Return the mean over the parts (tasks, backbones) and percents that have a value."""
        parts = [parts] if isinstance(parts, str) else parts
        columns = [
            self.get(measure, objective, kind, part, percent)
            for percent, part in product(percents, parts)
        ]
        return pd.concat(columns, axis=1).mean(axis=1) if columns else self._nothing

    def percents(self, measure: str, kind: str) -> set[int]:
        """Return those at which a kind of ablation has a measure."""
        return {column[4] for column in self._columns if (column[0], column[2]) == (measure, kind)}

    def parts(self, measure: str) -> list[str]:
        """Return the parts of a measure, in order."""
        return list(dict.fromkeys(column[3] for column in self._columns if column[0] == measure))


@dataclass(frozen=True)
class Part:
    """One number of a claim, by `Replicates.index`; it holds between `low` and `high`, not on them.

    `scale` makes the number of its values, which are logarithms of a ratio: of these the
    intervals are made. `within` is what such a number can be, beyond which no interval goes.
    `of_sets` says that the number compares sets of neurons by scores averaged over seeds. Such
    numbers are biased under resampling: where a seed is drawn twice, fewer are averaged, so that
    sets agree less. Their intervals are corrected.
    """

    name: str
    values: pd.Series
    low: float = -math.inf
    high: float = math.inf
    within: Interval = (-math.inf, math.inf)
    of_sets: bool = False
    scale: Callable[[float], float] = float

    @property
    def effect(self) -> float:
        """Return the point estimate."""
        return float(self.scale(self._value))

    @property
    def _value(self) -> float:
        return float(self.values.iloc[0])

    @cached_property
    def interval(self) -> Interval:
        """Return the 95% interval with the backbones fixed, which decides.

        It is made of the percentiles of the draws of items and seeds, widened around the effect by
        t / z, with the degrees of freedom that few seeds leave (`_degrees_of_freedom`). NaN if a
        single value has no spread.
        """
        low, high = self._percentiles(DRAWN)
        if math.isnan(low):
            return UNKNOWN_INTERVAL
        spread = (high - low) / (2 * Z)
        freedom = _degrees_of_freedom(self._rows(LEFT_OUT), spread)
        widening = stdtrit(freedom, INTERVAL[1] / 100) / Z
        value = self._value
        return self._shown(value - widening * (value - low), value + widening * (high - value))

    @cached_property
    def interval_over_backbones(self) -> Interval:
        """Return the percentiles where backbones are drawn as well; of six, only nominally 95%."""
        return self._shown(*self._percentiles(DRAWN_BACKBONES))

    @property
    def margin(self) -> float:
        """Return how far inside the bounds the number lies."""
        return min(self.effect - self.low, self.high - self.effect)

    @property
    def published_verdict(self) -> PublishedVerdict:
        """Return the verdict by the number alone: the published ones have no intervals."""
        if math.isnan(self.effect):
            return None
        return "holds" if self.margin > ROUNDING else "does not hold"

    @property
    def verdict(self) -> Verdict:
        """Return what effect and interval both say, else undecided.

        Not applicable without a value or an interval.
        """
        low, high = self.interval
        if not math.isfinite(self.effect + low + high):
            return "not applicable"
        if min(self.margin, low - self.low, self.high - high) > ROUNDING:
            return "reproduced"
        if self.margin <= ROUNDING and max(self.low - high, low - self.high) > ROUNDING:
            return "not reproduced"
        return "undecided"

    def _rows(self, what: str) -> pd.Series:
        return self.values[self.values.index.get_level_values(0) == what].dropna()

    def _percentiles(self, what: str) -> Interval:
        replicates = self._rows(what)
        # a few draws may have what the data themselves lack
        if replicates.empty or not math.isfinite(self._value):
            return UNKNOWN_INTERVAL
        with np.errstate(invalid="ignore"):  # between two infinite ones, of a ratio to nothing
            low, high = np.percentile(replicates, INTERVAL)
        if not math.isfinite(low + high):
            return UNKNOWN_INTERVAL
        bias = float(replicates.median()) - self._value if self.of_sets else 0.0
        return float(low) - bias, float(high) - bias

    def _shown(self, low: float, high: float) -> Interval:
        low, high = np.clip([self.scale(low), self.scale(high)], *self.within).tolist()
        return low, high

    @property
    def lacks(self) -> str:
        """Say why it has no effect or no interval."""
        if not math.isfinite(self.effect):
            return "There is no such number."
        if self._rows(DRAWN).empty:
            return "A single value says nothing of its spread."
        return "Too many draws have nothing to divide by."


def _degrees_of_freedom(left_out: pd.Series, spread: float) -> float:
    """Return those of a standard error of which seeds make a part (Satterthwaite, 1946).

    `left_out` has a statistic without one trio, by backbone and seed: the jackknife. With V the
    part of the variance that a backbone's n seeds make, the seeds together have sum(V)^2 / sum(V^2
    / (n - 1)) degrees of freedom; items have so many that theirs count as infinite.
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
    where: str  # the paper's tables and figures that show it
    predicate: str
    unit: str
    parts: Callable[[Evidence], Iterable[Part]]
    note: Callable[[Evidence], str] = lambda _: ""


@dataclass(frozen=True)
class DecidedPart:
    """A part of a claim in claims.json; None is what is not known.

    `interval` decides, with the backbones fixed; `interval_over_backbones` is of draws of backbones
    as well. `published` is the paper's number, and `published_verdict` says whether the predicate
    holds of it. The part holds where its number lies strictly between `low` and `high`; None is no
    bound.
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

    @classmethod
    def of(cls, part: Part, paper: Part) -> "DecidedPart":
        """Round our number and the paper's, of which only the effect is known."""
        return cls(
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


@dataclass(frozen=True)
class DecidedClaim:
    """A claim in claims.json.

    Effect, interval, published value are those of the part that `decides`, which is its name: of
    the parts with the verdict that counts, the one least inside its bounds. `published_verdict` is
    what the paper's own numbers say.
    """

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
    """Return a claim as it stands in claims.json."""
    parts = list(claim.parts(ours))
    of_paper = {part.name: part for part in claim.parts(published)}
    decided = [DecidedPart.of(part, of_paper.get(part.name, UNKNOWN)) for part in parts]
    verdict = min((part.verdict for part in parts), key=WORST_FIRST.index)
    candidates = [place for place, part in enumerate(parts) if part.verdict == verdict]
    deciding = min(candidates, key=lambda place: _last_if_nan(parts[place].margin))
    shown = decided[deciding]
    note = claim.note(ours)
    return DecidedClaim(
        id=claim.id,
        claim=claim.claim,
        predicate=claim.predicate,
        effect=shown.effect,
        unit=claim.unit,
        interval=shown.interval,
        published=shown.published,
        published_verdict=_published_verdict([part.published_verdict for part in decided]),
        verdict=verdict,
        decides=shown.part,
        detail=" ".join(filter(None, (_detail(parts[deciding], len(parts)), note))),
        required=required,
        parts=decided,
    )


def _published_verdict(of_parts: list[PublishedVerdict]) -> PublishedVerdict:
    """Return that of all parts: one that fails decides; otherwise all must be known."""
    if "does not hold" in of_parts:
        return "does not hold"
    return None if None in of_parts else "holds"


def _detail(deciding: Part, parts: int) -> str:
    which = f"The part that decides, of {parts}: {deciding.name}."
    if deciding.verdict != "not applicable":
        return which
    return f"{which} {deciding.lacks}"


def _last_if_nan(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _numbers(interval: Interval) -> tuple[float | None, float | None]:
    return _number(interval[0]), _number(interval[1])


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
