"""The 25 tasks of the paper (METHOD.md section 2) and any others, and the items of each.

tasks.csv has a line for each task, subsets.csv one for each part of a benchmark with its official
number of rows and the percentage that chance gets right. A task without a group is in none of the
paper's tables, averages and claims: the supplement shows it.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

Group = Literal["helpfulness", "harmlessness"]
GROUPS: tuple[Group, ...] = get_args(Group)
# The paper's suites, under the names that a reader sees
SUITES = {"reward-bench": "RewardBench", "reward-bench-2": "RewardBench 2", "rm-bench": "RM-Bench"}
# RM-Bench: answers are three chosen, then three rejected, each in this order
RM_BENCH_STYLES = ("concise", "detailed", "markdown")


@dataclass(frozen=True)
class Subset:
    """A part of a suite. `size` is the official number of rows (prompts in RM-Bench)."""

    suite: str
    name: str  # RewardBench's own ids spell two with capitals; ours are lower-case throughout
    size: int
    chance: float  # percent of the items right by chance: of pairs, or of one answer among four


@dataclass(frozen=True)
class Task:
    """A column of tables: the mean accuracy of some subsets, in the paper one or two."""

    key: str
    label: str
    group: Group | None
    subsets: tuple[Subset, ...]
    description: str


def read_rows(name: str) -> list[dict[str, Any]]:
    """Return the rows of a CSV file beside this one, as texts by column."""
    with Path(__file__).with_name(name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


SUBSETS: tuple[Subset, ...] = tuple(
    Subset(**row | {"size": int(row["size"]), "chance": float(row["chance"])})
    for row in read_rows("subsets.csv")
)
_BY_NAME = {f"{subset.suite}/{subset.name}": subset for subset in SUBSETS}
TASKS: tuple[Task, ...] = tuple(
    Task(
        **row
        | {
            "group": row["group"] or None,
            "subsets": tuple(_BY_NAME[name] for name in row["subsets"].split()),
        }
    )
    for row in read_rows("tasks.csv")
)
PAPER_TASKS = tuple(task for task in TASKS if task.group)
OTHER_TASKS = tuple(task for task in TASKS if not task.group)
BENCHMARKS = tuple(dict.fromkeys(subset.suite for subset in SUBSETS))
BY_KEY: dict[str, Task] = {task.key: task for task in TASKS}
# By suite and name of the subset; some subsets have no task
TASK_OF = {(part.suite, part.name): task for task in TASKS for part in task.subsets}


def group_tasks(group: Group) -> tuple[Task, ...]:
    """Return the tasks of one group: 17 for helpfulness, 8 for harmlessness."""
    return tuple(task for task in TASKS if task.group == group)
