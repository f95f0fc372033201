"""What a reader wants to know first: verdicts on the paper's claims, and agreement with its tables."""

import math

from rm_tension.analyse.verdicts import DecidedClaim, DecidedPart
from rm_tension.report.notes import INTERVALS
from rm_tension.report.source import Source
from rm_tension.report.table import Table, TextTable

QUANTITIES = ["Verdict", "Effect", "Interval", "Published", "Paper's own"]


def agreement(number: str, source: Source, tables: list[Table]) -> TextTable:
    """How much of each published table ours agree with, by the rule of `comparison.beside`."""
    found = source.table(
        "means/agreement", "table", "cells", "agreeing", "share", "difference"
    ).set_index("table")
    counts = {str(number): row for number, row in found.to_dict("index").items()}
    rows = [
        [
            table.label,
            table.heading,
            f"{row['cells']:.0f}",
            "--" if math.isnan(row["agreeing"]) else f"{row['agreeing']:.0f} ({row['share']:.0f}%)",
            f"{row['difference']:.{table.digits}f}",
        ]
        for table in tables
        if (row := counts.get(table.number))
    ]
    return TextTable(
        number,
        "Agreement with the published tables",
        "Of the cells that have a value on both sides, those that agree within max(3 points, 3 standard errors of the "
        "difference). A mean over n seeds, ours or the paper's, has the standard error s/sqrt(n - 1), s being the "
        "population standard deviation; a mean of k backbones has sqrt(sum of their squares)/k. One that is not known "
        "counts as 0. Three points are 0.03 of a retention; RMSD has no such scale. Averages over tasks or backbones "
        "are cells too.",
        ["", "Table", "Cells", "Agree", "Mean |difference|"],
        rows,
        "lXrrr",
    )


def claims(number: str, verdicts: list[DecidedClaim]) -> TextTable:
    """The verdict on each claim of METHOD.md section 7."""
    return TextTable(
        number,
        "The paper's claims and whether they hold here",
        "A program decides each verdict from a predicate on our numbers. A claim is as good as its worst part (Table "
        f"{number}b), the one that decides, whose numbers stand here. {INTERVALS} Paper's own: what the same predicate "
        "says of the published numbers, where they are all known.",
        ["", "Claim, and the part that decides", *QUANTITIES],
        [
            [claim.id, f"{claim.claim} {_deciding(claim)}", *quantities(claim, claim.unit)]
            for claim in verdicts
        ],
        "lXlrrrl",
    )


def claim_parts(number: str, verdicts: list[DecidedClaim]) -> TextTable:
    """What the verdict on each claim is made of."""
    rows = [
        [
            claim.id,
            part.part,
            *quantities(part, claim.unit),
            _interval(part.interval_over_backbones),
        ]
        for claim in verdicts
        for part in claim.parts
    ]
    note = (
        f"All must hold. {INTERVALS} Over backbones: the interval where the backbones are drawn, too; it decides "
        "nothing, and of six backbones that differ more than their items it covers about 89% instead of 95%. C5, C9 "
        "and C20 compare sets of neurons, which agree less under resampling; their intervals are corrected for that."
    )
    header = ["", "Part", *QUANTITIES, "Over backbones"]
    return TextTable(number, "The parts of each claim", note, header, rows, "lXlrrrlr")


def _deciding(claim: DecidedClaim) -> str:
    return (
        f"Decides, of {len(claim.parts)}: {claim.decides}."
        if len(claim.parts) > 1
        else f"Decides: {claim.decides}."
    )


def quantities(found: DecidedClaim | DecidedPart, unit: str) -> list[str]:
    """As text, `--` for what is not known: verdict, effect, interval, published value, and whether that one holds."""
    effect, interval = estimate(found.effect, found.interval, unit)
    return [
        found.verdict,
        effect,
        interval,
        _text(found.published),
        found.published_verdict or "--",
    ]


def estimate(
    effect: float | None, interval: tuple[float | None, float | None], unit: str = ""
) -> list[str]:
    """An effect and its interval as text, `--` for what is not known."""
    return [f"{_text(effect)} {unit}".strip(), _interval(interval)]


def _interval(interval: tuple[float | None, float | None]) -> str:
    low, high = map(_text, interval)
    return "--" if low == "--" else f"[{low}, {high}]"


def _text(value: float | None) -> str:
    return "--" if value is None or math.isnan(value) else f"{value + 0.0:.3g}"
