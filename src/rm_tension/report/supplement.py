"""What the paper has no table for: neurons that RMs share, official suite metrics, what its errata change."""

from collections.abc import Callable
from itertools import combinations, product

import pandas as pd

from rm_tension.analyse.comparison import POINTS
from rm_tension.analyse.means import KEPT
from rm_tension.paper.tasks import GROUPS
from rm_tension.report import cards
from rm_tension.report.source import Source
from rm_tension.report.summary import QUANTITIES, estimate
from rm_tension.report.table import Row, Section, Table, TextTable
from rm_tension.report.tables import (
    GROUP_LABELS,
    OBJECTIVES,
    OVER_SEEDS,
    SETS,
    WITH_MEAN,
    backbone_sections,
)

PAIRS = {
    "-".join(sorted((a, b))): f"{a.capitalize()} and {b} RM: Jaccard index"
    for a, b in combinations(OBJECTIVES, 2)
}
BY_SCORE = {"signed": "Signed mean", "absolute": "Mean of absolute values"}
SUITES = {
    **{
        f"reward-bench/{part}/accuracy": f"RewardBench: {part}"
        for part in ("Chat", "Chat Hard", "Safety", "Reasoning")
    },
    "reward-bench/overall/accuracy": "RewardBench",
    "reward-bench-2/ties/score": "RewardBench 2: Ties",
    "reward-bench-2/overall/score": "RewardBench 2",
    **{f"rm-bench/overall/{level}": f"RM-Bench: {level}" for level in ("easy", "normal", "hard")},
    "rm-bench/overall/accuracy": "RM-Bench",
    "helpfulness": "Helpfulness tasks",
    "harmlessness": "Harmlessness tasks",
    "ties": "Tied items",
    "ties_bfloat16": "Tied in bfloat16",
}


def neuron_overlap(number: str, source: Source) -> Table:
    """Section 5 of the paper: neurons that two RMs share and that the mixed RM keeps."""
    keys = {**source.backbones, "average": "Mean"}
    return Table(
        number,
        f"Overlap of the top {source.task_percent}% neurons",
        "Corrected: exactly that share of neurons. As published: the seeds' mean activations clamped at 0, and all "
        "neurons at or above the percentile, so that ties select too many (METHOD.md section 8, erratum 2). Neuron "
        "retention is the share of all neurons of the three sets that the mixed RM's and a single-objective RM's set "
        "have in common.",
        source.compared("neuron_overlap", "pair", "backbone", "variant"),
        [
            Section(label, [Row((pair, key), name) for key, name in keys.items()])
            for pair, label in {**PAIRS, KEPT: "Neuron retention"}.items()
        ],
        {"corrected": "Corrected", "as_published": "As published"},
        published="column",
        digits=3,
        points=POINTS["neuron_overlap"],
    )


def overlap_by_score(number: str, source: Source) -> Table:
    """How much the overlap depends on the score and on how many neurons are taken."""
    means = source.means("neuron_overlap_by_score", "pair", "percent", "score", backbone="average")
    percents = means.index.unique("percent")
    return Table(
        number,
        "Overlap by score and share",
        "Mean of backbones. The magnitude score is the signed mean activation, as in the released code; the paper's "
        "words suggest the mean of |activation|.",
        means,
        [
            Section(label, [Row((pair, percent), f"top {percent}%") for percent in percents])
            for pair, label in PAIRS.items()
        ],
        BY_SCORE,
        digits=3,
    )


def set_sizes(number: str, source: Source) -> Table:
    """The sets of Tables 4, 17 and 18, and what the released code takes for them."""
    variants = {"corrected": "corrected", "as_published": "as published"}
    return Table(
        number,
        f"Sizes of the sets at {source.task_percent}%",
        "Neurons. As published: in a block in which one RM has no top neuron, all of the other's count as shared, "
        f"too (METHOD.md section 8, erratum 5). {OVER_SEEDS}",
        source.means("neuron_sets", "ablated_set", "variant", "backbone"),
        [
            Section(
                label.removesuffix(" ablated"),
                [Row((key, variant), name) for variant, name in variants.items()],
            )
            for key, label in SETS.items()
        ],
        source.backbones,
    )


def suites(number: str, source: Source) -> Table:
    """The suites' own summary numbers beside the paper's group averages, and how many items are tied."""
    keys = ["objective", "backbone", "task"]
    official = source.means("suites").rename_axis(index={"metric": "task"}).reorder_levels(keys)
    return Table(
        number,
        "Official metrics of the three suites",
        "What the suites' own rules give (METHOD.md section 2), which the paper does not use, beside the averages of "
        f"its 17 and 8 tasks and the share of items whose decisive rewards are equal, in float32 and rounded as in "
        f"the released code; all in percent. {WITH_MEAN}",
        pd.concat([official, source.means("accuracy", *keys)]),
        backbone_sections(source),
        SUITES,
    )


def math_apart(number: str, source: Source) -> Table:
    """The two subsets of Math, which the paper averages."""
    keys = ["objective", "backbone", "task"]
    parts = (
        source.means("math_components").rename_axis(index={"suite": "task"}).reorder_levels(keys)
    )
    return Table(
        number,
        "Math taken apart",
        "Accuracy (%). Math is the mean of a best-of-4 task (chance 25%) and a pairwise one (chance 50%; METHOD.md "
        f"section 8, erratum 4). {WITH_MEAN} In the paper, Math's ± is the mean of the two (erratum 16).",
        pd.concat([parts, source.means("accuracy", *keys)]),
        backbone_sections(source),
        {"reward-bench-2": "RewardBench 2", "rm-bench": "RM-Bench", "math": "Math"},
    )


def ablation_by_score(number: str, source: Source) -> Table:
    """What ablating the top neurons by either score does to the group averages."""
    means = source.means(
        "ablation_by_score", "objective", "task", "percent", "score", backbone="average"
    )
    percents = sorted(means.index.unique("percent"))
    return Table(
        number,
        "Ablation by score and share",
        "Change of the group averages (points) when an RM's own top neurons are silenced, mean of backbones; scores as "
        f"in Table S4. {OVER_SEEDS}",
        means,
        [
            Section(
                label,
                [
                    Row(
                        (objective, group, percent),
                        f"{GROUP_LABELS[group]}, top {percent}%",
                        change=True,
                    )
                    for group, percent in product(GROUPS, percents)
                ],
            )
            for objective, label in OBJECTIVES.items()
        ],
        {score: label for score, label in BY_SCORE.items() if score in means.index.unique("score")},
    )


def verdicts_by_score(number: str, source: Source) -> TextTable:
    """How far the verdicts on neurons depend on the score and on how many neurons are taken."""
    columns = ["score", "percents", "id", "effect", "low", "high", "verdict"]
    frame = source.table("verdicts_by_score").sort_values("id", kind="stable")[columns]
    rows = [
        [id_, f"{score}, top {percents}%", verdict, *estimate(effect, (low, high))]
        for score, percents, id_, effect, low, high, verdict in frame.itertuples(index=False)
    ]
    return TextTable(
        number,
        "Verdicts by score and share",
        "Of the claims that rest on neurons alone, and of C6 and C8 with either score's neurons silenced, where they "
        "were; C6 at the shares that all silenced scores have in common. Scores as in Table S4.",
        ["", "Score", *QUANTITIES[:-2]],
        rows,
        "lXlrr",
    )


TABLES: dict[str, Callable[[str, Source], Table | TextTable]] = {
    "S3": neuron_overlap,
    "S4": overlap_by_score,
    "S5": set_sizes,
    "S6": suites,
    "S7": math_apart,
    "S8": ablation_by_score,
    "S9": verdicts_by_score,
    "S10": cards.loaded_files,
}
