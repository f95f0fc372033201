"""How rewards move: from single-objective to mixed RMs, and under ablation (METHOD.md section 3, Figures 3 and 7)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_tension.analyse.task_sets import SINGLES
from rm_tension.base.config import OBJECTIVES
from rm_tension.evaluate.conditions import NONE
from rm_tension.paper.tasks import SUITES, TASKS

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
    def extremes(self) -> pd.DataFrame:
        """By item, float64: the lowest reward of its chosen answers, `chosen`, and the highest `rejected` one.

        These two numbers per item are what the released code draws Figures 3 and 7 from.
        """
        rewards, chosen = pd.Series(self.rewards.astype(np.float64)), self.chosen
        lowest = rewards[chosen].groupby(self.items[chosen]).min()
        highest = rewards[~chosen].groupby(self.items[~chosen]).max()
        return pd.DataFrame({"chosen": lowest, "rejected": highest})

    @property
    def margins(self) -> pd.Series:
        """By item, float64: its lowest reward of a chosen answer minus the highest of a rejected one."""
        extremes = self.extremes
        return extremes["chosen"] - extremes["rejected"]


class Curve(NamedTuple):
    """Rewards that a curve of Figure 3 or 7 is the density of, float64 [values].

    `variant`: `corrected` is of the 25 tasks, `as_published` of every subset of the suites.
    """

    figure: int
    variant: str
    panel: str
    curve: str
    rewards: NDArray[np.float64]


def task_rewards(scored: pd.DataFrame, percent: int) -> pd.DataFrame:
    """The answers of the 25 tasks by (objective, kind), unablated and without the top neurons, of one trio.

    Indexed by dataset, subset, item_id, answer_index, item, chosen.
    """
    subsets = {(part.suite, part.name) for task in TASKS for part in task.subsets}
    ablated = (scored["kind"] == "magnitude") & (scored["percent"] == percent)
    rows = scored[ablated | (scored["kind"] == NONE.kind)]
    return _by_condition(
        rows[pd.MultiIndex.from_frame(rows[["dataset", "subset"]].astype("str")).isin(subsets)]
    )


def suite_rewards(scored: pd.DataFrame) -> pd.DataFrame:
    """As `task_rewards` of every subset of the suites, also of code and Ties, which are scored unablated only."""
    return _by_condition(scored[(scored["kind"] == NONE.kind) & scored["dataset"].isin(SUITES)])


def _by_condition(rows: pd.DataFrame) -> pd.DataFrame:
    rows = rows.astype({"dataset": "str", "kind": "str", "objective": "str"})
    keys = ["dataset", "subset", "item_id", "answer_index", "item", "chosen"]
    return rows.pivot(index=keys, columns=["objective", "kind"], values="reward")


def right(rewards: pd.DataFrame) -> pd.DataFrame:
    """From `task_rewards` or `suite_rewards`, whether each item is right, per answer: bool, same shape."""
    chosen, items = (rewards.index.get_level_values(name).to_numpy() for name in ("chosen", "item"))
    margins = (
        rewards[chosen].groupby(items[chosen]).min()
        - rewards[~chosen].groupby(items[~chosen]).max()
    )
    return (margins > 0).loc[items].set_axis(rewards.index)


def sides(rewards: pd.DataFrame) -> Iterator[Side]:
    """Both sides of every comparison of one trio, from `task_rewards`."""
    yield from retained(rewards)
    everything = np.ones(len(rewards), dtype=bool)
    for objective in OBJECTIVES:
        yield _side(rewards, "ablation", objective, "before", (objective, NONE.kind), everything)
        yield _side(rewards, "ablation", objective, "after", (objective, "magnitude"), everything)


def retained(rewards: pd.DataFrame) -> Iterator[Side]:
    """Both sides of the comparisons `retained` of one trio, from `task_rewards` or `suite_rewards`."""
    correct = right(rewards)
    for single in SINGLES:
        both = (correct[single, NONE.kind] & correct["mixed", NONE.kind]).to_numpy()
        yield _side(rewards, "retained", single, "single", (single, NONE.kind), both)
        yield _side(rewards, "retained", single, "mixed", ("mixed", NONE.kind), both)


def _side(
    rewards: pd.DataFrame,
    comparison: str,
    objective: str,
    name: str,
    column: tuple[str, str],
    rows: NDArray[np.bool_],
) -> Side:
    chosen, items = (
        rewards.index.get_level_values(name).to_numpy()[rows] for name in ("chosen", "item")
    )
    return Side(comparison, objective, name, rewards[column].to_numpy()[rows], chosen, items)


def curves(of_variants: Mapping[str, Iterable[Side]]) -> Iterator[Curve]:
    """Two numbers per item of each side of a single-objective RM: its `Side.extremes`, which Figure 3 pools."""
    for variant, found in of_variants.items():
        for side in found:
            if side.objective not in SINGLES:
                continue
            extremes = side.extremes
            if side.comparison == "retained":
                yield Curve(3, variant, side.objective, side.side, extremes.to_numpy().ravel())
            else:
                for of in ("chosen", "rejected"):
                    yield Curve(
                        7, variant, side.objective, f"{side.side} {of}", extremes[of].to_numpy()
                    )


def density_table(found: Iterable[Curve]) -> pd.DataFrame:
    """Columns figure, variant, panel, curve, reward (bin centre), density, pooled over all the trios in `found`.

    A density is of all rewards of its curve, so that it integrates to a little less than 1 over the range shown.
    """
    panels: dict[tuple[int, str, str], dict[str, list[NDArray[np.float64]]]] = {}
    for one in found:
        panel = panels.setdefault((one.figure, one.variant, one.panel), {})
        panel.setdefault(one.curve, []).append(one.rewards)
    tables = [
        _densities({name: np.concatenate(parts) for name, parts in of_panel.items()}).assign(
            figure=figure, variant=variant, panel=panel
        )
        for (figure, variant, panel), of_panel in sorted(panels.items())
    ]
    return pd.concat(tables)[["figure", "variant", "panel", "curve", "reward", "density"]]


def _densities(curves: dict[str, NDArray[np.float64]]) -> pd.DataFrame:
    everything = np.concatenate(list(curves.values()))
    tables = [pd.DataFrame(columns=["curve", "reward", "density"])]
    if everything.size:
        edges = np.linspace(
            np.percentile(everything, SHOWN[0]), np.percentile(everything, SHOWN[1]), BINS + 1
        )
        centres, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
        tables = [
            pd.DataFrame(
                {
                    "curve": name,
                    "reward": centres,
                    "density": np.histogram(rewards, edges)[0] / rewards.size / width,
                }
            )
            for name, rewards in curves.items()
            if rewards.size
        ]
    return pd.concat(tables)
