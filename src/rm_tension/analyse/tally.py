"""How many claims and how many parts of them are decided, and how: what every summary says beside the verdicts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from rm_tension.analyse.verdicts import DecidedClaim, Verdict

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class Tally:
    """Counts of parts. `unknown` are those among the `open` ones that have no number, or no interval."""

    hold: int
    contradicted: int
    open: int
    unknown: int

    @property
    def parts(self) -> int:
        return self.hold + self.contradicted + self.open


def tally(claims: Sequence[DecidedClaim]) -> Tally:
    """Count the parts of all claims by their verdicts."""
    found = Counter(part.verdict for claim in claims for part in claim.parts)
    unknown = found["not applicable"]
    return Tally(
        found["reproduced"], found["not reproduced"], found["undecided"] + unknown, unknown
    )


def summarise(claims: Sequence[DecidedClaim]) -> str:
    """Say in two plain sentences how many claims have which verdict, and how many of their parts hold."""
    found, parts = Counter(claim.verdict for claim in claims), tally(claims)
    verdicts = ", ".join(f"{found[verdict]} {verdict}" for verdict in VERDICTS)
    unknown = (
        f" ({parts.unknown} of them without a number or without an interval)"
        if parts.unknown
        else ""
    )
    return (
        f"Of {len(claims)} claims: {verdicts}. Of their {parts.parts} parts, {parts.hold} hold, "
        f"{parts.contradicted} are contradicted, {parts.open} are open{unknown}."
    )
