"""The paper's tables: for each number what stands in its rows, columns and cells."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import pandas as pd

from rm_tension.analysis.averages import at, over_backbones, over_seeds, with_average, with_groups
from rm_tension.conditions import NONE
from rm_tension.data.tasks import GROUPS, Group, group_tasks
from rm_tension.report import published
from rm_tension.report.table import Row, Section, Table, beside

OBJECTIVES = {"helpful": "Helpful RM", "harmless": "Harmless RM", "mixed": "Mixed RM"}
GROUP_LABELS: dict[Group, str] = {
    "helpfulness": "Helpfulness-oriented tasks",
    "harmlessness": "Harmlessness-oriented tasks",
}
SETS = {"shared": "Shared ablated", "helpful-only": "Helpful-only ablated", "harmless-only": "Harmless-only ablated"}
OVER_SEEDS = "± is the population standard deviation over seeds, in the rows Mean its mean over backbones."
OVER_BACKBONES = "Means over backbones; ± is the mean over backbones of the population standard deviation over seeds."


@dataclass(frozen=True)
class Source:
    """All that tables and figures are made of: our results as tidy frames, and the folder of the published ones.

    `backbones` maps the grid's names to those that a reader sees.
    """

    profile: str
    results: dict[str, pd.DataFrame]
    reference: Path
    backbones: dict[str, str]
    task_percent: int

    @cached_property
    def accuracy(self) -> pd.DataFrame:
        """Unablated accuracy, indexed by backbone (and `average`), objective, task (and group)."""
        frame = self.results["accuracy"]
        frame = frame.loc[frame["condition"] == str(NONE), ["backbone", "seed", "objective", "task", "accuracy"]]
        return with_average(over_seeds(with_groups(frame, "accuracy"), "accuracy"))

    @cached_property
    def retention(self) -> pd.DataFrame:
        """Retention by the unablated mixed RM, indexed by backbone, task (and group)."""
        frame = self.results["retention"]
        frame = frame.loc[frame["condition"] == str(NONE), ["backbone", "seed", "task", "retention"]]
        return over_seeds(with_groups(frame, "retention"), "retention")

    @cached_property
    def hh_accuracy(self) -> pd.DataFrame:
        """Accuracy on HH-RLHF test files, indexed by backbone (and `average`), objective, condition, dataset."""
        frame = self.results["hh_accuracy"].drop(columns=["items", "correct", "ties"]).assign(tasks=1)
        return with_average(over_seeds(frame, "accuracy"))

    @cached_property
    def magnitude(self) -> pd.DataFrame:
        """Ablation of the top neurons, indexed by measure, objective, backbone, task (and group)."""
        frame = self.results["ablation_magnitude"].query("percent == @self.task_percent")
        keys = ["objective", "backbone", "seed", "task"]
        measures = ("baseline_accuracy", "delta")
        means = {name: over_seeds(with_groups(frame[[*keys, name]], name), name) for name in measures}
        return pd.concat(means, names=["measure"])

    @cached_property
    def shared_sets(self) -> pd.DataFrame:
        """Change of the mixed RM under ablation of each set, indexed by ablated_set (and baseline), backbone, task."""
        frame = self.results["ablation_shared_sets"].query("percent == @self.task_percent")
        changes = with_groups(frame[["ablated_set", "backbone", "seed", "task", "delta"]], "delta")
        baseline = at(self.accuracy, objective="mixed").drop("average", level="backbone")
        return pd.concat([over_seeds(changes, "delta"), pd.concat({"baseline": baseline}, names=["ablated_set"])])


def retention_per_task(number: int, source: Source) -> Table:
    """Table 1."""
    ours, theirs = over_backbones(source.retention), published.retention_average(source.reference)
    measure = {"measure": "retention"}
    sections = [
        Section(GROUP_LABELS[group], [Row((task,), label) for task, label in task_columns(group).items()])
        for group in GROUPS
    ]
    return Table(
        number,
        "Behavioural retention: of the items that the helpful or the harmless RM gets right, the fraction that the "
        f"mixed RM gets right too. {OVER_BACKBONES}",
        beside(ours.assign(**measure), theirs.assign(**measure), ["task", "measure"]),
        sections,
        {"retention": "Retention"},
        published="column",
        digits=3,
    )


def magnitude_average(number: int, source: Source, group: Group) -> Table:
    """Tables 2 and 3."""
    measures = Row(("baseline_accuracy",), "Baseline"), Row(("delta",), "Change", change=True)
    return Table(
        number,
        f"{GROUP_LABELS[group]}: accuracy (%) and its change in points when the top {source.task_percent}% of neurons "
        f"by magnitude are ablated. {OVER_BACKBONES}",
        beside(
            over_backbones(source.magnitude),
            published.magnitude(source.reference),
            ["objective", "measure", "task"],
        ),
        [
            Section(label, [row._replace(key=(objective, *row.key)) for row in measures])
            for objective, label in OBJECTIVES.items()
        ],
        task_columns(group),
    )


def shared_sets(number: int, source: Source, columns: dict[str, str]) -> Table:
    """Table 4."""
    rows = [Row(("baseline",), "Baseline"), *(Row((key,), label, change=True) for key, label in SETS.items())]
    return Table(
        number,
        f"Mixed RM: accuracy (%) and its change in points when the neurons that the top {source.task_percent}% of the "
        f"helpful and of the harmless RM share, or that only one of them has, are ablated. {OVER_BACKBONES}",
        beside(over_backbones(source.shared_sets), published.shared_sets(source.reference), ["ablated_set", "task"]),
        [Section("", rows)],
        columns,
        published="column",
    )


def hh_accuracy(number: int, source: Source) -> Table:
    """Table 10."""
    return Table(
        number,
        "Accuracy (%) on the HH-RLHF test sets of the objective that each RM was trained on; the paper's values are "
        f"not known. {OVER_SEEDS}",
        beside(at(source.hh_accuracy, condition=str(NONE)), None, ["objective", "backbone", "dataset"]),
        backbone_sections(source),
        {"helpful-base": "helpful-base", "harmless-base": "harmless-base", "own": "all of its own"},
    )


def accuracy_per_task(number: int, source: Source, group: Group) -> Table:
    """Tables 13 and 14."""
    return Table(
        number,
        f"{GROUP_LABELS[group]}: accuracy (%) of every RM. {OVER_SEEDS} The published values of SmolLM2-135M are the "
        "baselines of Tables 20 and 21.",
        beside(source.accuracy, published.accuracy(source.reference), ["objective", "backbone", "task"]),
        backbone_sections(source),
        task_columns(group),
    )


def task_columns(group: Group) -> dict[str, str]:
    """The tasks of a group and their average."""
    return {**{task.key: task.label for task in group_tasks(group)}, group: "Average"}


def backbone_sections(source: Source) -> list[Section]:
    """Objective by objective a row for each backbone and for their mean."""
    names = {backbone: (name, _paper_label(backbone, name)) for backbone, name in source.backbones.items()}
    names["average"] = ("Mean", "paper")
    return [
        Section(label, [Row((objective, key), name, paper=paper) for key, (name, paper) in names.items()])
        for objective, label in OBJECTIVES.items()
    ]


def _paper_label(backbone: str, name: str) -> str:
    """Say whose published values stand below a backbone that only takes its place in the grid."""
    return "paper" if name.lower() == backbone else f"paper, {backbone}"


TABLES: dict[int, Callable[[int, Source], Table]] = {
    1: retention_per_task,
    2: partial(magnitude_average, group="harmlessness"),
    3: partial(magnitude_average, group="helpfulness"),
    4: partial(shared_sets, columns={"harmlessness": "Harmlessness tasks", "helpfulness": "Helpfulness tasks"}),
    10: hh_accuracy,
    13: partial(accuracy_per_task, group="helpfulness"),
    14: partial(accuracy_per_task, group="harmlessness"),
}


def make_tables(source: Source) -> list[Table]:
    """All tables, in the order of their numbers."""
    return [make(number, source) for number, make in TABLES.items()]
