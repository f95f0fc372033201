"""How many claims, and how many parts of them, have which verdict."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from rm_tension.analyse.verdicts import DecidedClaim, Verdict

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class Tally:
    """Counts of parts; `unknown` are those of the `open` ones without a number or an interval."""

    hold: int
    contradicted: int
    open: int
    unknown: int

    @property
    def parts(self) -> int:
        return self.hold + self.contradicted + self.open


def tally(claims: Sequence[DecidedClaim]) -> Tally:
    """Count the parts of all claims by their verdicts."""
    counts = Counter(part.verdict for claim in claims for part in claim.parts)
    unknown = counts["not applicable"]
    still_open = counts["undecided"] + unknown
    return Tally(counts["reproduced"], counts["not reproduced"], still_open, unknown)


def summarise(claims: Sequence[DecidedClaim]) -> str:
    """Say in two sentences how many claims have which verdict, and how many parts hold."""
    counts, parts = Counter(claim.verdict for claim in claims), tally(claims)
    verdicts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS)
    unknown = (
        f" ({parts.unknown} of them without a number or without an interval)"
        if parts.unknown
        else ""
    )
    return (
        f"Of {len(claims)} claims: {verdicts}. Of their {parts.parts} parts, {parts.hold} hold, "
        f"{parts.contradicted} are contradicted, {parts.open} are open{unknown}."
    )
