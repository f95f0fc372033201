"""The 25 tasks of the paper (METHOD.md section 2) and the items that each one scores.

tasks.csv has a line for each task, subsets.csv one for each part of a suite with its official
number of rows.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

Group = Literal["helpfulness", "harmlessness"]
Suite = Literal["reward-bench", "reward-bench-2", "rm-bench"]
GROUPS: tuple[Group, ...] = get_args(Group)
SUITES: tuple[Suite, ...] = get_args(Suite)
# RM-Bench: answers are three chosen, then three rejected, each in this order
RM_BENCH_STYLES = ("concise", "detailed", "markdown")


@dataclass(frozen=True)
class Subset:
    """A part of a suite. `size` is the official number of rows (prompts in RM-Bench)."""

    suite: Suite
    name: str  # RewardBench's own ids spell two with capitals; ours are lower-case throughout
    size: int


@dataclass(frozen=True)
class Task:
    """A column of the paper's tables: the mean accuracy of one or two subsets."""

    key: str
    label: str
    group: Group
    subsets: tuple[Subset, ...]
    description: str


def _rows(name: str) -> list[dict[str, Any]]:
    with Path(__file__).with_name(name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


SUBSETS: tuple[Subset, ...] = tuple(
    Subset(**row | {"size": int(row["size"])}) for row in _rows("subsets.csv")
)
_BY_NAME = {f"{subset.suite}/{subset.name}": subset for subset in SUBSETS}
TASKS: tuple[Task, ...] = tuple(
    Task(**row | {"subsets": tuple(_BY_NAME[name] for name in row["subsets"].split())})
    for row in _rows("tasks.csv")
)
BY_KEY: dict[str, Task] = {task.key: task for task in TASKS}


def group_tasks(group: Group) -> tuple[Task, ...]:
    """Return the tasks of one group: 17 for helpfulness, 8 for harmlessness."""
    return tuple(task for task in TASKS if task.group == group)
