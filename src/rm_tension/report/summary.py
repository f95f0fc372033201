"""What a reader wants to know first: verdicts on the paper's claims, and agreement with its tables."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from rm_tension.report.table import Table, TextTable, shown

QUANTITIES = ["Verdict", "Effect", "Interval", "Published", "Paper's own"]


def agreement(number: str, tables: list[Table]) -> TextTable:
    """How much of each published table ours agree with, by the rule of `table.shown`."""
    rows = []
    for table in tables:
        compared = shown(table).dropna(subset=["difference"])
        if compared.empty:
            continue
        agreeing = int((~compared["beyond"]).sum())
        share = f"{agreeing} ({100 * agreeing / len(compared):.0f}%)"
        apart = f"{compared['difference'].abs().mean():.{table.digits}f}"
        rows.append(
            [table.label, table.heading, str(len(compared)), share if table.points is not None else "--", apart]
        )
    return TextTable(
        number,
        "Agreement with the published tables",
        "Of the cells that have a value on both sides, those that agree within max(3 points, 3 sqrt((s² + s²)/3)), s "
        "being the standard deviations over three seeds, ours and the paper's; one that was not printed counts as 0. "
        "Three points are 0.03 of a retention; RMSD has no such scale. Averages over tasks or backbones are cells too.",
        ["", "Table", "Cells", "Agree", "Mean |difference|"],
        rows,
        "lXrrr",
    )


def claims(number: str, verdicts: list[dict[str, Any]]) -> TextTable:
    """The verdict on each claim of METHOD.md section 7."""
    return TextTable(
        number,
        "The paper's claims and whether they hold here",
        "A program decides each verdict from a predicate on our numbers. A claim is as good as its worst part (Table "
        f"{number}b), whose numbers stand here. Intervals are of 95%, from a bootstrap over items, which all RMs "
        "share, and over seeds within backbones. Paper's own: what the same predicate says of the published numbers, "
        "where they are all known.",
        ["", "Claim", *QUANTITIES],
        [[claim["id"], claim["claim"], *quantities(claim, claim["unit"])] for claim in verdicts],
        "lXlrrrl",
    )


def claim_parts(number: str, verdicts: list[dict[str, Any]]) -> TextTable:
    """What the verdict on each claim is made of."""
    rows = [
        [claim["id"], part["part"], *quantities(part, claim["unit"])] for claim in verdicts for part in claim["parts"]
    ]
    note = (
        "All must hold. An interval need not hold its effect: C9 compares sets of neurons by scores averaged over "
        "seeds, and a resample with one seed twice averages over fewer, so that its sets agree less."
    )
    return TextTable(number, "The parts of each claim", note, ["", "Part", *QUANTITIES], rows, "lXlrrrl")


def quantities(claim: Mapping[Any, Any], unit: str) -> list[str]:
    """Of a claim or a part of one, as text, `--` for what is not known.

    Verdict, effect, interval, published value, and whether that one holds.
    """
    numbers = [claim["effect"], *claim["interval"], claim["published"]]
    effect, low, high, published = ("--" if pd.isna(value) else f"{value + 0.0:.3g}" for value in numbers)
    interval = "--" if low == "--" else f"[{low}, {high}]"
    return [claim["verdict"], f"{effect} {unit}".strip(), interval, published, claim["published_verdict"] or "--"]
