"""The paper's tables of numbers: for each one what stands in its rows, columns and cells."""

from collections.abc import Callable
from functools import partial
from typing import Literal

from rm_tension.analyse.as_published import COLUMNS
from rm_tension.analyse.comparison import POINTS
from rm_tension.evaluate import conditions
from rm_tension.paper.tasks import GROUPS, Group, group_tasks
from rm_tension.report import cards
from rm_tension.report.source import Source
from rm_tension.report.table import Row, Section, Table, TextTable

OBJECTIVES = {"helpful": "Helpful RM", "harmless": "Harmless RM", "mixed": "Mixed RM"}
GROUP_LABELS: dict[Group, str] = {group: f"{group.capitalize()}-oriented tasks" for group in GROUPS}
SETS = {kind: f"{kind.capitalize()} ablated" for kind in conditions.SETS}
OVER_SEEDS = "± is the population standard deviation over seeds."
WITH_MEAN = f"{OVER_SEEDS} Mean: of the backbones, with the mean of their standard deviations."
OVER_BACKBONES = "Means over backbones; ± is the mean over backbones of the population standard deviation over seeds."


def retention_per_task(number: str, source: Source) -> Table:
    """Table 1."""
    return Table(
        number,
        "Behavioural retention",
        "Of the items that the helpful or the harmless RM gets right, the fraction that the mixed RM gets right too. "
        + OVER_BACKBONES,
        source.compared("retention", "task", "measure", backbone="average"),
        task_sections(),
        {"retention": "Retention"},
        published="column",
        digits=3,
        points=POINTS["retention"],
    )


def magnitude_average(number: str, source: Source, group: Group) -> Table:
    """Tables 2 and 3."""
    return magnitude(number, source, group, {"average": ""}, OVER_BACKBONES)


def magnitude_per_backbone(number: str, source: Source, group: Group) -> Table:
    """Tables 20 and 21."""
    return magnitude(number, source, group, source.backbones, OVER_SEEDS)


def magnitude(
    number: str, source: Source, group: Group, backbones: dict[str, str], spread: str
) -> Table:
    """Objective by objective two rows for each of `backbones`, whose labels stand before the rows'."""
    rows = [
        Row((key, measure), f"{name} {label}".strip(), change=measure == "delta")
        for key, name in backbones.items()
        for measure, label in {"baseline_accuracy": "baseline", "delta": "change"}.items()
    ]
    return Table(
        number,
        f"Ablation of the magnitude neurons, {group} tasks",
        f"Accuracy (%) and its change in points when the top {source.task_percent}% of neurons by magnitude are "
        f"ablated. {spread}",
        source.compared("ablation_magnitude", "objective", "backbone", "measure", "task"),
        [
            Section(label, [row._replace(key=(objective, *row.key)) for row in rows])
            for objective, label in OBJECTIVES.items()
        ],
        task_columns(group),
        points=POINTS["ablation_magnitude"],
    )


def shared_sets(
    number: str,
    source: Source,
    columns: dict[str, str],
    published_in: Literal["row", "column"] = "row",
) -> Table:
    """Tables 4, 17 and 18."""
    rows = [
        Row(("baseline",), "Baseline"),
        *(Row((key,), label, change=True) for key, label in SETS.items()),
    ]
    return Table(
        number,
        "Ablation of shared and of objective-only neurons",
        f"Mixed RM: accuracy (%) and its change in points when the neurons that the top {source.task_percent}% of the "
        f"helpful and of the harmless RM share, or that only one of them has, are ablated. {OVER_BACKBONES}",
        source.compared("ablation_shared_sets", "ablated_set", "task", backbone="average"),
        [Section("", rows)],
        columns,
        published_in,
        points=POINTS["ablation_shared_sets"],
    )


def hh_accuracy(number: str, source: Source) -> Table:
    """Table 10."""
    return Table(
        number,
        "Accuracy on the HH-RLHF test sets",
        f"Accuracy (%) on the test sets of the objective that each RM was trained on. {WITH_MEAN} Five of the paper's "
        "values are known, from the released notebook, without their spread.",
        source.compared("hh_accuracy", "objective", "backbone", "subset", kind="none", percent=0),
        backbone_sections(source),
        {"helpful-base": "helpful-base", "harmless-base": "harmless-base", "own": "all of its own"},
        points=POINTS["hh_accuracy"],
    )


def pairwise_retention(number: str, source: Source, single: str) -> Table:
    """Tables 11 and 12."""
    measure = f"mixed_vs_{single}"
    return Table(
        number,
        f"Pairwise retention, mixed and {single} RM",
        f"Jaccard index of the items that the mixed and the {single} RM get right. {WITH_MEAN} The paper's values are "
        "known for GPT2-large only.",
        source.compared("retention", "task", "backbone", measure=measure),
        task_sections(),
        {"average": "Mean", **source.backbones},
        published="column",
        digits=3,
        points=POINTS["retention"],
    )


def accuracy_per_task(number: str, source: Source, group: Group) -> Table:
    """Tables 13 and 14."""
    return Table(
        number,
        f"Accuracy per backbone, {group} tasks",
        f"Accuracy (%) of every RM. {WITH_MEAN} The published values of SmolLM2-135M, which the paper's tables leave "
        "out, are from the released notebook.",
        source.compared("accuracy", "objective", "backbone", "task"),
        backbone_sections(source),
        task_columns(group),
        points=POINTS["accuracy"],
    )


def retention_per_backbone(number: str, source: Source) -> Table:
    """Table 15."""
    return Table(
        number,
        "Behavioural retention per backbone",
        f"As Table 1. {OVER_SEEDS}",
        source.compared("retention", "task", "backbone", measure="retention"),
        task_sections(),
        source.backbones,
        digits=3,
        points=POINTS["retention"],
    )


def rmsd(number: str, source: Source) -> Table:
    """Table 16."""
    return Table(
        number,
        "Chosen against rejected texts: RMSD of mean activations",
        "With d the mean activation on chosen less that on rejected texts, averaged over seeds: the root mean square "
        "of d over blocks, averaged over the neurons of a block. It is on the activations' own scale, so that "
        "differences from the paper are shown, not judged.",
        source.compared("rmsd", "backbone", "objective"),
        [Section("", [Row((key,), name) for key, name in source.backbones.items()])],
        OBJECTIVES,
        published="column",
        digits=5,
        points=POINTS["rmsd"],
    )


def retention_after_ablation(
    number: str, source: Source, variant: Literal["corrected", "as_published"]
) -> Table:
    """Table 19, and with `as_published` its running means (METHOD.md section 8, erratum 1)."""
    told = {
        "corrected": "The published values are corrected too: the printed columns are running means (Table 19b).",
        "as_published": "As in the released notebook: column k is the mean of the first k columns of Table 19, and a "
        "retention counts as 0 where neither single-objective RM gets any item right; Table 19 leaves it out.",
    }
    return Table(
        number,
        f"Retention after ablation, {variant.replace('_', ' ')}",
        f"Retention by the mixed RM when a set of neurons at {source.task_percent}% is ablated. {told[variant]}",
        source.compared("retention_after_ablation", "task", "column", variant=variant),
        task_sections(),
        {column: column.replace("_", "-").capitalize() for column in COLUMNS},
        published="column",
        digits=3,
        points=POINTS["retention_after_ablation"],
    )


def task_columns(group: Group) -> dict[str, str]:
    """The tasks of a group and their average."""
    return {**{task.key: task.label for task in group_tasks(group)}, group: "Average"}


def task_sections() -> list[Section]:
    """A row for each task, and for the average of each group."""
    return [
        Section(
            GROUP_LABELS[group],
            [Row((task,), label) for task, label in task_columns(group).items()],
        )
        for group in GROUPS
    ]


def backbone_sections(source: Source) -> list[Section]:
    """Objective by objective a row for each backbone and for their mean."""
    names = {
        backbone: (name, _paper_label(backbone, name))
        for backbone, name in source.backbones.items()
    }
    names["average"] = ("Mean", "paper")
    return [
        Section(
            label,
            [Row((objective, key), name, paper=paper) for key, (name, paper) in names.items()],
        )
        for objective, label in OBJECTIVES.items()
    ]


def _paper_label(backbone: str, name: str) -> str:
    """Say whose published values stand below a backbone that only takes its place in the grid."""
    return "paper" if name.lower() == backbone else f"paper, {backbone}"


TABLES: dict[str, Callable[[str, Source], Table | TextTable]] = {
    "1": retention_per_task,
    "2": partial(magnitude_average, group="helpfulness"),
    "3": partial(magnitude_average, group="harmlessness"),
    "4": partial(
        shared_sets,
        columns={"harmlessness": "Harmlessness tasks", "helpfulness": "Helpfulness tasks"},
        published_in="column",
    ),
    "5": cards.hyper_parameters,
    "6": cards.model_cards,
    "7": partial(cards.tasks, suite="reward-bench"),
    "8": partial(cards.tasks, suite="reward-bench-2"),
    "9": partial(cards.tasks, suite="rm-bench"),
    "10": hh_accuracy,
    "11": partial(pairwise_retention, single="harmless"),
    "12": partial(pairwise_retention, single="helpful"),
    "13": partial(accuracy_per_task, group="helpfulness"),
    "14": partial(accuracy_per_task, group="harmlessness"),
    "15": retention_per_backbone,
    "16": rmsd,
    "17": partial(shared_sets, columns=task_columns("harmlessness")),
    "18": partial(shared_sets, columns=task_columns("helpfulness")),
    "19": partial(retention_after_ablation, variant="corrected"),
    "19b": partial(retention_after_ablation, variant="as_published"),
    "20": partial(magnitude_per_backbone, group="harmlessness"),
    "21": partial(magnitude_per_backbone, group="helpfulness"),
}
