"""How rewards move: from single-objective to mixed RMs, and under ablation (METHOD.md section 3, Figures 3 and 7)."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_tension.analyse.task_sets import SINGLES
from rm_tension.base.config import OBJECTIVES
from rm_tension.evaluate.conditions import NONE
from rm_tension.paper.tasks import TASKS

BINS = 80
SHOWN = (0.5, 99.5)  # percentiles of a panel's rewards between which its densities are drawn


class Side(NamedTuple):
    """The rewards of one side of a comparison, float32 [answers], and which of them are of chosen answers.

    `retained` compares `single` with `mixed` over the items that both RMs get right; `ablation` compares `before`
    with `after` over all items.
    """

    comparison: str
    objective: str
    side: str
    rewards: NDArray[np.float32]
    chosen: NDArray[np.bool_]
    items: NDArray[np.int64]

    @property
    def margins(self) -> pd.Series:
        """By item, float64: its lowest reward of a chosen answer minus the highest of a rejected one."""
        rewards = pd.DataFrame({"margin": self.rewards.astype(np.float64)})
        return margins(rewards, self.chosen, self.items)["margin"]


def task_rewards(scored: pd.DataFrame, percent: int) -> pd.DataFrame:
    """The answers of the 25 tasks by (objective, kind), unablated and without the top neurons, of one trio.

    Indexed by dataset, subset, item_id, answer_index, item, chosen.
    """
    subsets = {(part.suite, part.name) for task in TASKS for part in task.subsets}
    ablated = (scored["kind"] == "magnitude") & (scored["percent"] == percent)
    rows = scored[ablated | (scored["kind"] == NONE.kind)]
    rows = rows.astype({"dataset": "str", "kind": "str", "objective": "str"})
    rows = rows[pd.MultiIndex.from_frame(rows[["dataset", "subset"]]).isin(subsets)]
    keys = ["dataset", "subset", "item_id", "answer_index", "item", "chosen"]
    return rows.pivot(index=keys, columns=["objective", "kind"], values="reward")


def margins(rewards: pd.DataFrame, chosen: NDArray[np.bool_], items: NDArray[np.int64]) -> pd.DataFrame:
    """From rewards per answer, by item: the lowest of its chosen answers minus the highest of its rejected ones."""
    return rewards[chosen].groupby(items[chosen]).min() - rewards[~chosen].groupby(items[~chosen]).max()


def right(rewards: pd.DataFrame) -> pd.DataFrame:
    """From `task_rewards`, whether each item is right, per answer: bool, same shape."""
    chosen, items = (rewards.index.get_level_values(name).to_numpy() for name in ("chosen", "item"))
    return (margins(rewards, chosen, items) > 0).loc[items].set_axis(rewards.index)


def sides(rewards: pd.DataFrame) -> Iterator[Side]:
    """Both sides of every comparison of one trio, from `task_rewards`."""
    chosen, items = (rewards.index.get_level_values(name).to_numpy() for name in ("chosen", "item"))
    correct = right(rewards)

    def side(comparison: str, objective: str, name: str, column: tuple[str, str], rows: NDArray[np.bool_]) -> Side:
        return Side(comparison, objective, name, rewards[column].to_numpy()[rows], chosen[rows], items[rows])

    for single in SINGLES:
        both = (correct[single, NONE.kind] & correct["mixed", NONE.kind]).to_numpy()
        yield side("retained", single, "single", (single, NONE.kind), both)
        yield side("retained", single, "mixed", ("mixed", NONE.kind), both)
    everything = np.ones(len(rewards), dtype=bool)
    for objective in OBJECTIVES:
        yield side("ablation", objective, "before", (objective, NONE.kind), everything)
        yield side("ablation", objective, "after", (objective, "magnitude"), everything)


def density_table(found: Iterable[Side]) -> pd.DataFrame:
    """Columns figure, panel, curve, reward (bin centre), density, pooled over all the trios in `found`.

    A density is of all rewards of its curve, so that it integrates to a little less than 1 over the range shown.
    """
    panels: dict[tuple[int, str], dict[str, list[NDArray[np.float32]]]] = {}
    for one in found:
        if one.objective not in SINGLES:
            continue
        curves = panels.setdefault((3 if one.comparison == "retained" else 7, one.objective), {})
        if one.comparison == "retained":
            curves.setdefault(one.side, []).append(one.rewards)
        else:
            curves.setdefault(f"{one.side} chosen", []).append(one.rewards[one.chosen])
            curves.setdefault(f"{one.side} rejected", []).append(one.rewards[~one.chosen])
    tables = [
        _densities({name: np.concatenate(parts) for name, parts in curves.items()}).assign(figure=figure, panel=panel)
        for (figure, panel), curves in sorted(panels.items())
    ]
    return pd.concat(tables)[["figure", "panel", "curve", "reward", "density"]]


def _densities(curves: dict[str, NDArray[np.float32]]) -> pd.DataFrame:
    everything = np.concatenate(list(curves.values()))
    tables = [pd.DataFrame(columns=["curve", "reward", "density"])]
    if everything.size:
        edges = np.linspace(np.percentile(everything, SHOWN[0]), np.percentile(everything, SHOWN[1]), BINS + 1)
        centres, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
        tables = [
            pd.DataFrame(
                {"curve": name, "reward": centres, "density": np.histogram(rewards, edges)[0] / rewards.size / width}
            )
            for name, rewards in curves.items()
            if rewards.size
        ]
    return pd.concat(tables)
