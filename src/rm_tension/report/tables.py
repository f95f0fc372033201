"""The paper's tables of numbers: a recipe each, of what stands in its rows, columns and cells."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Literal

from rm_tension.analyse.as_published import COLUMNS
from rm_tension.analyse.comparison import POINTS
from rm_tension.evaluate import conditions
from rm_tension.paper.tasks import GROUPS, Group, group_tasks
from rm_tension.report import cards
from rm_tension.report.source import Source
from rm_tension.report.table import Row, Section, Table, TextTable, turned

Labels = dict[str, str]
GROUP_LABELS: dict[Group, str] = {group: f"{group.capitalize()}-oriented tasks" for group in GROUPS}
SETS = {kind: f"{kind.capitalize()} ablated" for kind in conditions.SETS}
WIDE_GROUP: Group = "helpfulness"  # of so many tasks that they stand in rows where that can be
OVER_SEEDS = "± is the population standard deviation over seeds."
WITH_MEAN = f"{OVER_SEEDS} Mean: of the backbones, with the mean of their standard deviations."
OVER_BACKBONES = (
    "Means over backbones; ± is the mean over backbones of the population standard deviation over "
    "seeds."
)


@dataclass(frozen=True)
class Recipe:
    """How a table of numbers is made from results/<P>/means/<means>.csv.

    `levels` are the keys of its rows, then that of its columns; `at` selects one value of other
    keys. In heading and note, `{percent}` is the share of neurons ablated on the tasks. Values of
    `columns` are labels; as a function it depends on the backbones, as `sections` always may.
    `turn` says to print the columns as rows.
    """

    heading: str
    note: str
    means: str
    levels: str
    sections: Callable[[Source], list[Section]]
    columns: Labels | Callable[[Source], Labels]
    at: dict[str, str | int] = field(default_factory=dict)
    published: Literal["row", "column"] = "row"
    digits: int = 1
    compared: bool = True
    turn: bool = False

    def __call__(self, number: str, source: Source) -> Table:
        """Make the table; raise UserError if its numbers are missing or not what they should be."""
        read = source.compared if self.compared else source.means
        table = Table(
            number,
            self.heading.format(percent=source.task_percent),
            self.note.format(percent=source.task_percent),
            read(self.means, *self.levels.split(), **self.at),
            self.sections(source),
            self.columns(source) if callable(self.columns) else self.columns,
            self.published,
            self.digits,
            POINTS[self.means] if self.compared else None,
        )
        return turned(table) if self.turn and table.sections else table


def task_columns(group: Group) -> Labels:
    """Return the tasks of a group and their average, labels by key."""
    return {**{task.key: task.label for task in group_tasks(group)}, group: "Average"}


def task_sections(_: Source) -> list[Section]:
    """Return a row for each task and for the average of each group."""
    sections = []
    for group in GROUPS:
        rows = [Row((task,), label) for task, label in task_columns(group).items()]
        sections.append(Section(GROUP_LABELS[group], rows))
    return sections


def backbone_sections(source: Source) -> list[Section]:
    """Return, for each of the paper's objectives, a row for each backbone and for their mean."""
    return sections_of(source, source.papers)


def sections_of(source: Source, objectives: Labels) -> list[Section]:
    """Return, objective by objective, a row for each backbone and for their mean."""
    sections = []
    for objective, label in objectives.items():
        rows = [
            Row((objective, backbone), name, paper=_paper_label(backbone, name))
            for backbone, name in source.backbones.items()
        ]
        if len(rows) > 1:
            rows.append(Row((objective, "average"), "Mean"))
        sections.append(Section(label, rows))
    return sections


def with_mean(source: Source) -> Labels:
    """Return the backbones and, of more than one, their mean, labels by key."""
    mean = {"average": "Mean"} if len(source.backbones) > 1 else {}
    return {**mean, **source.backbones}


def _paper_label(backbone: str, name: str) -> str:
    """Say whose published values stand below a backbone that only takes its place in the grid."""
    return "paper" if name.lower() == backbone else f"paper, {backbone}"


def _magnitude_sections(source: Source, over_backbones: bool) -> list[Section]:
    """Return, objective by objective, the accuracy before ablation and the change by it."""
    backbones = {"average": ""} if over_backbones else source.backbones
    measures = {"baseline_accuracy": "baseline", "delta": "change"}
    sections = []
    for objective, title in source.papers.items():
        rows = [
            Row((objective, key, measure), f"{name} {label}".strip(), change=measure == "delta")
            for (key, name), (measure, label) in product(backbones.items(), measures.items())
        ]
        sections.append(Section(title, rows))
    return sections


def _magnitude(group: Group, over_backbones: bool) -> Recipe:
    """Return Table 2, 3, 20 or 21."""
    return Recipe(
        f"Ablation of the magnitude neurons, {group} tasks",
        "Accuracy (%) and its change in points when the top {percent}% of neurons by magnitude are "
        f"ablated. {OVER_BACKBONES if over_backbones else OVER_SEEDS}",
        "ablation_magnitude",
        "objective backbone measure task",
        partial(_magnitude_sections, over_backbones=over_backbones),
        task_columns(group),
        turn=over_backbones and group == WIDE_GROUP,
    )


def _shared_sets(
    columns: Labels, published: Literal["row", "column"] = "row", turn: bool = False
) -> Recipe:
    """Return Table 4, 17 or 18."""
    changes = [Row((key,), label, change=True) for key, label in SETS.items()]
    return Recipe(
        "Ablation of shared and of objective-only neurons",
        "Mixed RM: accuracy (%) and its change in points when the neurons that the top {percent}% "
        "of the helpful and of the harmless RM share, or that only one of them has, are ablated. "
        + OVER_BACKBONES,
        "ablation_shared_sets",
        "ablated_set task",
        lambda _: [Section("", [Row(("baseline",), "Baseline"), *changes])],
        columns,
        {"backbone": "average"},
        published,
        turn=turn,
    )


def _pairwise_retention(single: str) -> Recipe:
    """Return Table 11 or 12."""
    return Recipe(
        f"Pairwise retention, mixed and {single} RM",
        f"Jaccard index of the items that the mixed and the {single} RM get right. {WITH_MEAN} The "
        "paper's values are known for GPT2-large only.",
        "retention",
        "task backbone",
        task_sections,
        with_mean,
        {"measure": f"mixed_vs_{single}"},
        "column",
        3,
    )


def _accuracy_per_task(group: Group) -> Recipe:
    """Return Table 13 or 14."""
    return Recipe(
        f"Accuracy per backbone, {group} tasks",
        f"Accuracy (%) of every RM. {WITH_MEAN} The published values of SmolLM2-135M, which the "
        "paper's tables leave out, are from the released notebook.",
        "accuracy",
        "objective backbone task",
        backbone_sections,
        task_columns(group),
        turn=group == WIDE_GROUP,
    )


def _retention_after_ablation(variant: Literal["corrected", "as_published"], told: str) -> Recipe:
    """Return Table 19 or 19b, its running means (METHOD.md section 8, erratum 1)."""
    return Recipe(
        f"Retention after ablation, {variant.replace('_', ' ')}",
        f"Retention by the mixed RM when a set of neurons at {{percent}}% is ablated. {told}",
        "retention_after_ablation",
        "task column",
        task_sections,
        {column: column.replace("_", "-").capitalize() for column in COLUMNS},
        {"variant": variant},
        "column",
        3,
    )


RETENTION_PER_TASK = Recipe(
    "Behavioural retention",
    "Of the items that the helpful or the harmless RM gets right, the fraction that the mixed RM "
    f"gets right too. {OVER_BACKBONES}",
    "retention",
    "task measure",
    task_sections,
    {"retention": "Retention"},
    {"backbone": "average"},
    "column",
    3,
)
HH_ACCURACY = Recipe(
    "Accuracy on the HH-RLHF test sets",
    "Accuracy (%) on the test sets of the objective that each RM was trained on. "
    f"{WITH_MEAN} Five of the paper's values are known, from the released notebook, without their "
    "spread.",
    "hh_accuracy",
    "objective backbone subset",
    backbone_sections,
    {"helpful-base": "helpful-base", "harmless-base": "harmless-base", "own": "all of its own"},
    {"kind": "none", "percent": 0},
)
RETENTION_PER_BACKBONE = Recipe(
    "Behavioural retention per backbone",
    f"As Table 1. {OVER_SEEDS}",
    "retention",
    "task backbone",
    task_sections,
    lambda source: source.backbones,
    {"measure": "retention"},
    digits=3,
)
RMSD = Recipe(
    "Chosen against rejected texts: RMSD of mean activations",
    "With d the mean activation on chosen less that on rejected texts, averaged over seeds: the "
    "root mean square of d over blocks, averaged over the neurons of a block. It is on the "
    "activations' own scale, so that differences from the paper are shown, not judged.",
    "rmsd",
    "backbone objective",
    lambda source: [Section("", [Row((key,), name) for key, name in source.backbones.items()])],
    lambda source: source.papers,
    published="column",
    digits=5,
)
TABLES: dict[str, Callable[[str, Source], Table | TextTable]] = {
    "1": RETENTION_PER_TASK,
    "2": _magnitude("helpfulness", over_backbones=True),
    "3": _magnitude("harmlessness", over_backbones=True),
    "4": _shared_sets(
        {"harmlessness": "Harmlessness tasks", "helpfulness": "Helpfulness tasks"}, "column"
    ),
    "5": cards.hyper_parameters,
    "6": cards.model_cards,
    "7": partial(cards.tasks, suite="reward-bench"),
    "8": partial(cards.tasks, suite="reward-bench-2"),
    "9": partial(cards.tasks, suite="rm-bench"),
    "10": HH_ACCURACY,
    "11": _pairwise_retention("harmless"),
    "12": _pairwise_retention("helpful"),
    "13": _accuracy_per_task("helpfulness"),
    "14": _accuracy_per_task("harmlessness"),
    "15": RETENTION_PER_BACKBONE,
    "16": RMSD,
    "17": _shared_sets(task_columns("harmlessness")),
    "18": _shared_sets(task_columns("helpfulness"), turn=True),
    "19": _retention_after_ablation(
        "corrected",
        "The published values are corrected too: the printed columns are running means "
        "(Table 19b).",
    ),
    "19b": _retention_after_ablation(
        "as_published",
        "As in the released notebook: column k is the mean of the first k columns of Table 19, and "
        "a retention counts as 0 where neither single-objective RM gets any item right; Table 19 "
        "leaves it out.",
    ),
    "20": _magnitude("harmlessness", over_backbones=False),
    "21": _magnitude("helpfulness", over_backbones=False),
}
