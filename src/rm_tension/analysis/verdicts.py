"""From the bootstrap values of a claim's parts to its verdict (METHOD.md section 7)."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

Verdict = Literal["reproduced", "not reproduced", "undecided", "not applicable"]
# The verdict of a claim is the first of these that any of its parts has.
WORST_FIRST: tuple[Verdict, ...] = ("not reproduced", "not applicable", "undecided", "reproduced")
INTERVAL = (2.5, 97.5)  # percentiles


class Evidence:
    """A frame of `evidence`, read by column; what is not in it is NaN."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._columns: dict[Any, pd.Series] = dict(frame.items())
        self._nothing = pd.Series(math.nan, index=frame.index)

    def get(self, measure: str, objective: str = "", condition: str = "", part: str = "") -> pd.Series:
        return self._columns.get((measure, objective, condition, part), self._nothing)

    def mean(self, measure: str, objective: str, condition: str, tasks: Iterable[str]) -> pd.Series:
        """The mean over those of the tasks that have a value."""
        return pd.concat([self.get(measure, objective, condition, task) for task in tasks], axis=1).mean(axis=1)

    def parts(self, measure: str) -> list[str]:
        """The parts of a measure, in order."""
        return list(dict.fromkeys(part for name, _, _, part in self._columns if name == measure))


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
        if resamples.empty:
            return math.nan, math.nan
        low, high = np.percentile(resamples, INTERVAL)
        return float(low), float(high)

    @property
    def margin(self) -> float:
        """How far inside the bounds the number lies."""
        return min(self.effect - self.low, self.high - self.effect)

    @property
    def verdict(self) -> Verdict:
        """Undecided if the interval holds a bound; not applicable without a value or an interval."""
        low, high = self.interval
        if not math.isfinite(self.effect + low + high):
            return "not applicable"
        if self.low < low and high < self.high:
            return "reproduced"
        return "not reproduced" if high < self.low or low > self.high else "undecided"


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper and the predicate that decides it: all of its parts must hold."""

    id: str
    claim: str
    predicate: str
    unit: str
    parts: Callable[[Evidence], list[Part]]
    note: Callable[[Evidence], str] = lambda _: ""


def decide(claim: Claim, ours: Evidence, published: Evidence, required: bool) -> dict[str, Any]:
    """A claim as it stands in claims.json.

    Effect, interval and published value are those of the part that decides: of the parts with the verdict that
    counts, the one least inside its bounds.
    """
    parts = claim.parts(ours)
    theirs = {part.name: part.effect for part in claim.parts(published)}
    verdict = min((part.verdict for part in parts), key=WORST_FIRST.index)
    place = min(
        (place for place, part in enumerate(parts) if part.verdict == verdict),
        key=lambda place: _last_if_nan(parts[place].margin),
    )
    rows = [
        {
            "part": part.name,
            "effect": _number(part.effect),
            "interval": [_number(end) for end in part.interval],
            "published": _number(theirs.get(part.name, math.nan)),
            "verdict": part.verdict,
        }
        for part in parts
    ]
    shown = rows[place]
    return {
        "id": claim.id,
        "claim": claim.claim,
        "predicate": claim.predicate,
        "effect": shown["effect"],
        "unit": claim.unit,
        "interval": shown["interval"],
        "published": shown["published"],
        "verdict": verdict,
        "detail": " ".join(filter(None, (_detail(parts[place], len(parts)), claim.note(ours)))),
        "required": required,
        "parts": rows,
    }


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
