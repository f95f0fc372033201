"""What the paper has no table for: shared neurons, official suite metrics, its errata's effects."""

from collections.abc import Callable
from itertools import combinations, product

import pandas as pd

from rm_tension.analyse.means import KEPT
from rm_tension.evaluate.scores import SCORES
from rm_tension.paper.tasks import GROUPS, OTHER_TASKS, SUITES
from rm_tension.report import cards, controls
from rm_tension.report.source import Source
from rm_tension.report.summary import QUANTITIES, estimate
from rm_tension.report.table import Row, Section, Table, TextTable, turned
from rm_tension.report.tables import (
    GROUP_LABELS,
    OVER_SEEDS,
    SETS,
    WITH_MEAN,
    Labels,
    Recipe,
    sections_of,
    task_columns,
    with_mean,
)

VARIANTS = {"corrected": "Corrected", "as_published": "As published"}
METRICS = {
    **{
        f"reward-bench/{part}/accuracy": f"{SUITES['reward-bench']}: {part}"
        for part in ("Chat", "Chat Hard", "Safety", "Reasoning")
    },
    "reward-bench/overall/accuracy": SUITES["reward-bench"],
    "reward-bench-2/ties/score": f"{SUITES['reward-bench-2']}: Ties",
    "reward-bench-2/overall/score": SUITES["reward-bench-2"],
    **{
        f"rm-bench/overall/{level}": f"{SUITES['rm-bench']}: {level}"
        for level in ("easy", "normal", "hard")
    },
    "rm-bench/overall/accuracy": SUITES["rm-bench"],
    "helpfulness": "Helpfulness tasks",
    "harmlessness": "Harmlessness tasks",
    "ties": "Tied items",
    "ties_bfloat16": "Tied in bfloat16",
}
MATH = {suite: SUITES[suite] for suite in ("reward-bench-2", "rm-bench")} | {"math": "Math"}


def _pairs(source: Source) -> Labels:
    """Return the pairs of RMs whose neurons are compared, labels by key."""
    return {
        "-".join(
            sorted((a, b))
        ): f"{source.labels[a].removesuffix(' RM')} and {b} RM: Jaccard index"
        for a, b in combinations(source.labels, 2)
    }


def _overlap_sections(source: Source) -> list[Section]:
    """Return, pair by pair of RMs, a row for each backbone and for their mean."""
    names = {**source.backbones, **with_mean(source)}  # the mean last
    sections = []
    for pair, label in {**_pairs(source), KEPT: "Neuron retention"}.items():
        sections.append(Section(label, [Row((pair, key), name) for key, name in names.items()]))
    return sections


def _size_sections(_: Source) -> list[Section]:
    """Return, set by set, its size corrected and as published."""
    sections = []
    for key, label in SETS.items():
        rows = [Row((key, variant), name.lower()) for variant, name in VARIANTS.items()]
        sections.append(Section(label.removesuffix(" ablated"), rows))
    return sections


NEURON_OVERLAP = Recipe(
    "Overlap of the top {percent}% neurons",
    "Corrected: exactly that share of neurons. As published: the seeds' mean activations clamped "
    "at 0, and all neurons at or above the percentile, so that ties select too many (METHOD.md "
    "section 8, erratum 2). Neuron retention is the share of all neurons of the three sets that "
    "the mixed RM's and a single-objective RM's set have in common.",
    "neuron_overlap",
    "pair backbone variant",
    _overlap_sections,
    VARIANTS,
    published="column",
    digits=3,
)
SET_SIZES = Recipe(
    "Sizes of the sets at {percent}%",
    "Neurons. As published: in a block in which one RM has no top neuron, all of the other's count "
    f"as shared, too (METHOD.md section 8, erratum 5). {OVER_SEEDS}",
    "neuron_sets",
    "ablated_set variant backbone",
    _size_sections,
    lambda source: source.backbones,
    compared=False,
)


def overlap_by_score(number: str, source: Source) -> Table:
    """Show how the overlap depends on the score and on how many neurons are taken."""
    means = source.means("neuron_overlap_by_score", "pair", "percent", "score", backbone="average")
    scores = means.index.unique("score")
    sections = []
    for pair, label in _pairs(source).items():
        percents = means.index.unique("percent")
        rows = [Row((pair, percent), f"top {percent}%") for percent in percents]
        sections.append(Section(label, rows))
    return Table(
        number,
        "Overlap by score and share",
        "Mean of backbones. Magnitude is the signed mean activation, as in the released code; the "
        "paper's words suggest the mean of |activation|, which is absolute (METHOD.md section 4; "
        "the other scores: section 10).",
        means,
        sections,
        {name: score.title for name, score in SCORES.items() if name in scores},
        digits=3,
    )


def suites(number: str, source: Source) -> Table:
    """Show the suites' own summary numbers, the paper's group averages, and tied items."""
    table = Table(
        number,
        "Official metrics of the three suites",
        "What the suites' own rules give (METHOD.md section 2), which the paper does not use, "
        "beside the averages of its 17 and 8 tasks and the share of items whose decisive rewards "
        "are equal, in float32 and rounded as in the released code; all in percent. "
        f"{WITH_MEAN}",
        _beside_accuracy(source, "suites", "metric"),
        sections_of(source, source.labels),
        METRICS,
    )
    return turned(table)


def math_apart(number: str, source: Source) -> Table:
    """Show the two subsets of Math, which the paper averages."""
    return Table(
        number,
        "Math taken apart",
        "Accuracy (%). Math is the mean of a best-of-4 task (chance 25%) and a pairwise one "
        "(chance 50%; METHOD.md section 8, erratum 4). "
        f"{WITH_MEAN} In the paper, Math's ± is the mean of the two (erratum 16).",
        _beside_accuracy(source, "math_components", "suite"),
        sections_of(source, source.labels),
        MATH,
    )


def _beside_accuracy(source: Source, name: str, level: str) -> pd.DataFrame:
    """Return some means, with their `level` as the task, above the accuracies of the tasks."""
    keys = ["objective", "backbone", "task"]
    means = source.means(name).rename_axis(index={level: "task"}).reorder_levels(keys)
    return pd.concat([means, source.means("accuracy", *keys)])


def ablation_by_score(number: str, source: Source) -> Table:
    """Show what ablating the top neurons by each score does to the group averages."""
    levels = ("objective", "task", "percent", "score")
    means = source.means("ablation_by_score", *levels, backbone="average")
    percents = sorted(means.index.unique("percent"))
    sections = []
    for objective, label in source.labels.items():
        rows = [
            Row((objective, group, percent), f"{GROUP_LABELS[group]}, top {percent}%", change=True)
            for group, percent in product(GROUPS, percents)
        ]
        sections.append(Section(label, rows))
    scores = means.index.unique("score")
    return Table(
        number,
        "Ablation by score and share",
        "Change of the group averages (points) when an RM's own top neurons are silenced, mean of "
        f"backbones; scores as in Table S4. {OVER_SEEDS}",
        means,
        sections,
        {name: score.title for name, score in SCORES.items() if name in scores},
    )


def verdicts_by_score(number: str, source: Source) -> TextTable:
    """Show how the verdicts on neurons depend on the score and on how many neurons are taken."""
    columns = ["score", "percents", "id", "effect", "low", "high", "verdict"]
    frame = source.table("verdicts_by_score").sort_values("id", kind="stable")[columns]
    rows = [
        [id_, f"{score}, top {percents}%", verdict, *estimate(effect, (low, high))]
        for score, percents, id_, effect, low, high, verdict in frame.itertuples(index=False)
    ]
    return TextTable(
        number,
        "Verdicts by score and share",
        "Of the claims that rest on neurons alone, and of C6 and C8 with each score's neurons "
        "silenced, where they were; C6 at the shares that all silenced scores have in common. "
        "Scores as in Table S4.",
        ["", "Score", *QUANTITIES[:-2]],
        rows,
        "lXlrr",
    )


def _other_sections(source: Source) -> list[Section]:
    return sections_of(source, source.others)


OTHER_ACCURACY = Recipe(
    "Accuracy of the RMs of other objectives",
    f"Accuracy (%) of the RMs whose objective plays no part in the paper. {WITH_MEAN}",
    "accuracy",
    "objective backbone task",
    _other_sections,
    {key: label for group in GROUPS for key, label in task_columns(group).items()},
    compared=False,
    turn=True,
)
OTHER_HH_ACCURACY = Recipe(
    "Accuracy of the RMs of other objectives on their own test sets",
    f"Accuracy (%) on the test files of the objective, together. {WITH_MEAN}",
    "hh_accuracy",
    "objective backbone subset",
    _other_sections,
    {"own": "all of its own"},
    {"kind": "none", "percent": 0},
    compared=False,
)
OTHER_TASKS_ACCURACY = Recipe(
    "Accuracy on tasks that the paper does not have",
    f"Accuracy (%) of every RM. They are in no average. {WITH_MEAN}",
    "accuracy",
    "objective backbone task",
    lambda source: sections_of(source, source.labels) if OTHER_TASKS else [],
    {task.key: task.label for task in OTHER_TASKS},
    compared=False,
)
TABLES: dict[str, Callable[[str, Source], Table | TextTable]] = {
    "S3": NEURON_OVERLAP,
    "S4": overlap_by_score,
    "S5": SET_SIZES,
    "S6": suites,
    "S7": math_apart,
    "S8": ablation_by_score,
    "S9": verdicts_by_score,
    "S10": cards.loaded_files,
    "S11": controls.control_effects,
    "S12": controls.score_effects,
    "S13": controls.control_verdicts,
    "S14": OTHER_ACCURACY,
    "S15": OTHER_HH_ACCURACY,
    "S16": OTHER_TASKS_ACCURACY,
}
