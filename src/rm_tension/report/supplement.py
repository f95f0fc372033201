"""What the paper has no table for: agreement with it, verdicts on its claims, overlap, official suite metrics."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from rm_tension.analysis.averages import over_seeds, with_average
from rm_tension.report import published
from rm_tension.report.source import Source
from rm_tension.report.table import Row, Section, Table, TextTable, beside, shown
from rm_tension.report.tables import FRACTION, OVER_SEEDS, backbone_sections

PAIRS = {
    ("harmless", "helpful"): "Helpful and harmless RM: Jaccard index",
    ("helpful", "mixed"): "Helpful and mixed RM: Jaccard index",
    ("harmless", "mixed"): "Harmless and mixed RM: Jaccard index",
}
KEPT = "Neuron retention"
SUITES = {
    **{
        f"reward-bench/{part}/accuracy": f"RewardBench: {part}" for part in ("Chat", "Chat Hard", "Safety", "Reasoning")
    },
    "reward-bench/overall/accuracy": "RewardBench",
    "reward-bench-2/ties/score": "RewardBench 2: Ties",
    "reward-bench-2/overall/score": "RewardBench 2",
    **{f"rm-bench/overall/{level}": f"RM-Bench: {level}" for level in ("easy", "normal", "hard")},
    "rm-bench/overall/accuracy": "RM-Bench",
    "helpfulness": "Helpfulness tasks",
    "harmlessness": "Harmlessness tasks",
    "ties": "Tied items",
}


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
    rows = [
        [one["id"], one["claim"], quantity(one, "effect"), interval(one), quantity(one, "published"), one["verdict"]]
        for one in verdicts
    ]
    return TextTable(
        number,
        "The paper's claims and whether they hold here",
        "Each verdict is decided by a program from a predicate on our numbers; intervals are of 95% and from a "
        "bootstrap over items within seeds within backbones.",
        ["", "Claim", "Effect", "Interval", "Published", "Verdict"],
        rows,
        "lXrrrl",
    )


def quantity(claim: dict[str, Any], key: str) -> str:
    """`-3.1 points`, or `--` where there is none."""
    return "--" if claim[key] is None else f"{claim[key]:.3g} {claim['unit']}".strip()


def interval(claim: dict[str, Any]) -> str:
    """`[-4.0, -2.2]`, or `--` where there is none."""
    return "--" if claim["interval"] is None else "[{:.3g}, {:.3g}]".format(*claim["interval"])


def neuron_overlap(number: str, source: Source) -> Table:
    """Section 5 of the paper: neurons that two RMs share and that the mixed RM keeps."""
    ours = pd.concat([_pairs(source.table("neuron_overlap")), _kept(source.table("neuron_retention"))])
    theirs = _pairs(published.neuron_overlap(source.reference).assign(variant="as_published"))
    keys = {**source.backbones, "average": "Mean"}
    return Table(
        number,
        f"Overlap of the top {source.task_percent}% neurons",
        "Corrected: exactly that share of neurons. As published: scores clamped at 0, and all neurons at or above the "
        "percentile, so that ties select too many (METHOD.md section 8, erratum 2). Neuron retention is the share of "
        "all neurons of the three sets that the mixed RM's and a single-objective RM's set have in common.",
        beside(ours, theirs, ["pair", "backbone", "variant"]),
        [
            Section(label, [Row((pair, key), name) for key, name in keys.items()])
            for pair, label in {**{"-".join(pair): label for pair, label in PAIRS.items()}, KEPT: KEPT}.items()
        ],
        {"corrected": "Corrected", "as_published": "As published"},
        published="column",
        digits=3,
        points=FRACTION,
    )


def suites(number: str, source: Source) -> Table:
    """The suites' own summary numbers beside the paper's group averages, and how many items are tied."""
    official = source.table("suites")
    official["task"] = official["suite"] + "/" + official["part"] + "/" + official["metric"]
    official = official.drop(columns=["suite", "part", "metric"]).assign(tasks=1)
    accuracy = source.table("accuracy").query("condition == 'none'")
    counts = accuracy.groupby(["backbone", "seed", "objective"])[["ties", "items"]].sum()
    ties = (100 * counts["ties"] / counts["items"]).rename("value").reset_index().assign(task="ties", tasks=1)
    means = with_average(over_seeds(pd.concat([official, ties]), "value"))
    return Table(
        number,
        "Official metrics of the three suites",
        "What the suites' own rules give (METHOD.md section 2), which the paper does not use, beside the averages of "
        f"its 17 and 8 tasks and the share of items whose decisive rewards are equal; all in percent. {OVER_SEEDS}",
        beside(pd.concat([means, source.accuracy]), None, ["objective", "backbone", "task"]),
        backbone_sections(source),
        SUITES,
    )


def _pairs(frame: pd.DataFrame) -> pd.DataFrame:
    """Jaccard indices indexed by backbone (and `average`), variant, pair."""
    names = ["-".join(sorted(pair)) for pair in zip(frame["objective_a"], frame["objective_b"], strict=True)]
    frame = frame.assign(pair=names, tasks=1)[["backbone", "variant", "pair", "jaccard", "tasks"]]
    return with_average(over_seeds(frame, "jaccard"))


def _kept(frame: pd.DataFrame) -> pd.DataFrame:
    """Neuron retention in the same shape."""
    frame = frame.assign(pair=KEPT, tasks=1)[["backbone", "variant", "pair", "retention", "tasks"]]
    return with_average(over_seeds(frame, "retention"))


TABLES: dict[str, Callable[[str, Source], Table]] = {"S3": neuron_overlap, "S4": suites}
