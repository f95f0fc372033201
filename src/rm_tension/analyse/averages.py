"""Averages over tasks, seeds and backbones (METHOD.md section 3)."""

import numpy as np
import pandas as pd

from rm_tension.paper.tasks import BY_KEY, TASKS

Tables = dict[str, pd.DataFrame]  # by file name


def insert_keys(table: pd.DataFrame, **keys: str | int) -> None:
    """Put constant columns before those of a table, in place."""
    for place, (name, value) in enumerate(keys.items()):
        table.insert(place, name, value)


def with_groups(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """Add the averages of `value` over groups of tasks, as rows whose `task` is the group.

    The mean is over the tasks that have a value, and the new column `tasks` says how many. Tasks
    of no group are in no average. All columns but `task` and `value` are keys.
    """
    frame = frame.dropna(subset=[value]).assign(tasks=1)
    keys = [str(name) for name in frame if name not in {value, "tasks"}]
    groups = frame.assign(task=frame["task"].map(lambda task: BY_KEY[task].group))
    rows = groups.dropna(subset=["task"]).groupby(keys, as_index=False, sort=False)
    means = rows.agg(**{value: (value, "mean"), "tasks": ("tasks", "sum")})
    return pd.concat([frame, means], ignore_index=True)


def over_seeds(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """Return mean, spread, error of `value` over seeds, and the least `tasks`.

    Indexed by all columns but seed, `value` and `tasks`. The spread is the population standard
    deviation, the error the standard error of the mean, which of n seeds is spread / sqrt(n - 1).
    Both are NaN for a single seed.
    """
    keys = [str(name) for name in frame if name not in {"seed", "tasks", value}]
    seeds = frame.groupby(keys, observed=True, sort=False)
    spread = seeds[value].std(ddof=0).where(seeds[value].count() > 1)
    columns = {"mean": seeds[value].mean(), "spread": spread, "error": seeds[value].sem()}
    return pd.DataFrame(columns | {"tasks": seeds["tasks"].min()})


def over_backbones(means: pd.DataFrame) -> pd.DataFrame:
    """Average `over_seeds` over the backbones, whose level leaves the index.

    The spread is the mean of theirs, and says how much one seed moves a backbone, not how much
    backbones differ. The error is that of the mean of these backbones, whose seeds are independent;
    where it is not known of all, it is taken to be as the others'.
    """
    keys = [str(name) for name in means.index.names if name != "backbone"]
    groups = means.assign(error=means["error"] ** 2).groupby(keys, observed=True, sort=False)
    average = groups.agg({"mean": "mean", "spread": "mean", "error": "mean", "tasks": "min"})
    return average.assign(error=np.sqrt(average["error"] / groups.size()))


def with_average(means: pd.DataFrame) -> pd.DataFrame:
    """Add `over_backbones` as rows of a backbone named `average`."""
    average = over_backbones(means).assign(backbone="average").set_index("backbone", append=True)
    return pd.concat([means, average.reorder_levels([str(name) for name in means.index.names])])


def at(means: pd.DataFrame, **levels: str) -> pd.DataFrame:
    """Return the rows, maybe none, with these values of levels of the index, without the levels."""
    for level, value in levels.items():
        means = means[means.index.get_level_values(level) == value].droplevel(level)
    return means


def is_partial(task: str, tasks: int) -> bool:
    """Return whether a group average lacks some of its tasks; never true of a task itself."""
    return tasks < sum(other.group == task for other in TASKS)
