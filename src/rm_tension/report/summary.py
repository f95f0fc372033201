"""Tables of verdicts on the paper's claims, and of agreement with its tables."""

import math

from rm_tension.analyse.verdicts import DecidedClaim, DecidedPart
from rm_tension.report.notes import INTERVALS, NOT_MEANINGFUL
from rm_tension.report.source import Source
from rm_tension.report.table import Table, TextTable

QUANTITIES = ["Verdict", "Effect", "Interval", "Published", "Paper's own"]


def agreement(number: str, source: Source, tables: list[Table]) -> TextTable:
    """Show how much of each published table ours agree with, by `analyse.comparison.beside`."""
    columns = ("table", "cells", "agreeing", "share", "difference")
    frame = source.table("means/agreement", *columns).astype({"table": str}).set_index("table")
    counts = frame.to_dict("index")
    rows = []
    for table in tables:
        if table.number in counts:
            count = counts[table.number]
            share = f"{count['agreeing']:.0f} ({count['share']:.0f}%)"
            rows.append(
                [
                    table.label,
                    table.heading,
                    f"{count['cells']:.0f}",
                    "--" if math.isnan(count["agreeing"]) else share,
                    f"{count['difference']:.{table.digits}f}",
                ]
            )
    return TextTable(
        number,
        "Agreement with the published tables",
        "Of the cells that have a value on both sides, those that agree within max(3 points, 3 "
        "standard errors of the difference). A mean over n seeds, ours or the paper's, has the "
        "standard error s/sqrt(n - 1), s being the population standard deviation; a mean of k "
        "backbones has sqrt(sum of their squares)/k. One that is not known counts as 0. Three "
        "points are 0.03 of a retention; RMSD has no such scale. Averages over tasks or backbones "
        f"are cells too. The noisier ours are, the more agree. {_meaning(source)}".strip(),
        ["", "Table", "Cells", "Agree", "Mean |difference|"],
        rows,
        "lXrrr",
    )


def _meaning(source: Source) -> str:
    return "" if source.context.comparable else NOT_MEANINGFUL


def claims(number: str, verdicts: list[DecidedClaim]) -> TextTable:
    """Show the verdict on each claim of METHOD.md section 7."""
    rows = []
    for claim in verdicts:
        of_parts = f", of {len(claim.parts)}" if len(claim.parts) > 1 else ""
        sentence = f"{claim.claim} Decides{of_parts}: {claim.decides}."
        rows.append([claim.id, sentence, *quantities(claim, claim.unit)])
    return TextTable(
        number,
        "The paper's claims and whether they hold here",
        "A program decides each verdict from a predicate on our numbers. A claim is as good as its "
        f"worst part (Table {number}b), the one that decides, whose numbers stand here. "
        f"{INTERVALS} Paper's own: what the same predicate says of the published numbers, where "
        "they are all known.",
        ["", "Claim, and the part that decides", *QUANTITIES],
        rows,
        "lXlrrrl",
    )


def claim_parts(number: str, verdicts: list[DecidedClaim]) -> TextTable:
    """Show what the verdict on each claim is made of."""
    rows = []
    for claim in verdicts:
        for part in claim.parts:
            over_backbones = _interval(part.interval_over_backbones)
            rows.append([claim.id, part.part, *quantities(part, claim.unit), over_backbones])
    return TextTable(
        number,
        "The parts of each claim",
        f"All must hold. {INTERVALS} Over backbones: the interval where the backbones are drawn, "
        "too; it decides nothing, and of six backbones that differ more than their items it covers "
        "about 89% instead of 95%. C5, C9 and C20 compare sets of neurons, which agree less under "
        "resampling; their intervals are corrected for that.",
        ["", "Part", *QUANTITIES, "Over backbones"],
        rows,
        "lXlrrrlr",
    )


def quantities(decided: DecidedClaim | DecidedPart, unit: str) -> list[str]:
    """Return the columns QUANTITIES as text, `--` for what is not known."""
    return [
        decided.verdict,
        *estimate(decided.effect, decided.interval, unit),
        _text(decided.published),
        decided.published_verdict or "--",
    ]


def estimate(
    effect: float | None, interval: tuple[float | None, float | None], unit: str = ""
) -> list[str]:
    """Return an effect and its interval as text, `--` for what is not known."""
    return [f"{_text(effect)} {unit}".strip(), _interval(interval)]


def _interval(interval: tuple[float | None, float | None]) -> str:
    low, high = map(_text, interval)
    return "--" if low == "--" else f"[{low}, {high}]"


def _text(value: float | None) -> str:
    return "--" if value is None or math.isnan(value) else f"{value + 0.0:.3g}"
