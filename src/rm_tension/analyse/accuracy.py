"""Accuracy per task, on the HH-RLHF test sets, and its change under ablation (METHOD.md sections 2, 3 and 5)."""

from statistics import mean

import pandas as pd

from rm_tension.analyse.outcomes import CONDITION, STYLES
from rm_tension.base.config import HH, TestFiles
from rm_tension.evaluate.conditions import NONE
from rm_tension.paper.tasks import TASKS, Subset, Suite, Task

MODEL = ["backbone", "objective", "seed"]
CHANCE: dict[Suite, float] = {
    "reward-bench": 50,
    "reward-bench-2": 25,
    "rm-bench": 50,
}  # pairs, or one of four
COUNTS = {"items": ("correct", "size"), "correct": ("correct", "sum"), "ties": ("tie", "sum")}


def task_accuracy(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Columns objective, kind, percent, task, items, correct, ties, accuracy in percent.

    `items`, `correct` and `ties` are sums over the task's subsets, `accuracy` is the mean of theirs (Math has two).
    """
    subsets = (
        outcomes.groupby([*CONDITION, "dataset", "subset"], observed=True)
        .agg(**COUNTS)
        .reset_index()
    )
    return to_tasks(
        _with_accuracy(subsets), CONDITION, mean=["accuracy"], total=["items", "correct", "ties"]
    )


def hh_accuracy(outcomes: pd.DataFrame, test_files: TestFiles) -> pd.DataFrame:
    """Columns objective, kind, percent, subset, items, correct, ties, accuracy on the test files of each objective.

    `subset` is a test file, or `own` for all the files of the objective together.
    """
    pairs = outcomes[outcomes["dataset"] == HH]
    own = [
        pairs[(pairs["objective"] == objective) & pairs["subset"].isin(files)]
        for objective, files in test_files.items()
    ]
    files = pd.concat(own)
    both = pd.concat([files, files.assign(subset="own")])
    counts = both.groupby([*CONDITION, "subset"], observed=True).agg(**COUNTS)
    return _with_accuracy(counts.reset_index())


def changes(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Every ablated row of `accuracy` with baseline_accuracy, ablated_accuracy, delta (points)."""
    keys = [*MODEL, "task"]
    unablated = accuracy["kind"] == NONE.kind
    baseline = accuracy[unablated].set_index(keys)["accuracy"].rename("baseline_accuracy")
    ablated = (
        accuracy[~unablated]
        .rename(columns={"accuracy": "ablated_accuracy"})
        .join(baseline, on=keys)
    )
    return ablated.assign(delta=ablated["ablated_accuracy"] - ablated["baseline_accuracy"])


def chance_level(task: Task) -> float:
    """Percent right by chance, the mean over subsets."""
    return mean(CHANCE[subset.suite] for subset in task.subsets)


def official_items(subset: Subset) -> int:
    """The items that the official file of a subset gives, e.g. 3 x 129 = 387 for RM-Bench's chat."""
    return subset.size * (STYLES if subset.suite == "rm-bench" else 1)


def task_sizes(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Columns task, items (scored: the most of any RM; NaN for none), official, chance (%); by `task_accuracy`."""
    items = accuracy[accuracy["kind"] == NONE.kind].groupby("task")["items"].max()
    rows = [
        (task.key, sum(map(official_items, task.subsets)), chance_level(task)) for task in TASKS
    ]
    sizes = pd.DataFrame(rows, columns=["task", "official", "chance"])
    return sizes.assign(items=sizes["task"].map(items))[["task", "items", "official", "chance"]]


def to_tasks(
    subsets: pd.DataFrame, keys: list[str], mean: list[str], total: list[str]
) -> pd.DataFrame:
    """From columns keys, dataset, subset to keys, task: the mean and the total over the subsets of a task.

    A task of which any subset is absent is absent; the mean is NaN if any subset's value is.
    """
    parts = pd.DataFrame(
        [
            (task.key, part.suite, part.name, len(task.subsets))
            for task in TASKS
            for part in task.subsets
        ],
        columns=["task", "dataset", "subset", "parts"],
    )
    rows = parts.merge(
        subsets.astype({"dataset": "str", "subset": "str"}), on=["dataset", "subset"]
    )
    tasks = rows.groupby([*keys, "task"], observed=True, sort=False)
    complete = tasks["parts"].first() == tasks.size()
    return tasks[total].sum().join(tasks[mean].mean(skipna=False))[complete].reset_index()


def _with_accuracy(counts: pd.DataFrame) -> pd.DataFrame:
    return counts.assign(accuracy=100 * counts["correct"] / counts["items"])
