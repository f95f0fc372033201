"""How rewards move from single-objective to mixed RMs, and under ablation (Figures 3 and 7)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_tension.analyse.bootstrap import Weights
from rm_tension.analyse.outcomes import STYLES
from rm_tension.analyse.task_sets import SINGLES
from rm_tension.evaluate.conditions import NONE
from rm_tension.paper.tasks import BENCHMARKS, SUITES, TASK_OF

# Figure, variant, panel, curve; the variant `corrected` is of the 25 tasks, `as_published` of every
# subset of the suites.
Curve = tuple[int, str, str, str]
BINS = 80
SHOWN = (0.5, 99.5)  # percentiles of a panel's rewards between which its densities are drawn
# The two sides of each comparison: of one objective, the first and the second.
SIDES = {"retained": ("single", "mixed"), "ablation": ("before", "after")}
MEAN_SIZES = ("mean_abs", "mean_abs_chosen", "mean_abs_rejected")
# Of mean margins, for the geometric mean of ratios, which a single 0 would make 0. Ours: the paper
# shows densities.
LOWEST_MARGIN_RATIO = 0.01


@dataclass(frozen=True)
class Side:
    """The rewards of one side of a comparison, float32 [answers].

    `retained` compares the single-objective RM with the mixed one over the items that both get
    right, `ablation` an RM before with itself after over all items.
    """

    comparison: str
    objective: str
    side: str
    rewards: NDArray[np.float32]
    chosen: NDArray[np.bool_]  # [answers]
    items: NDArray[np.int64]  # [answers]

    @cached_property
    def extremes(self) -> pd.DataFrame:
        """The lowest reward of an item's `chosen` answers, and the highest of its `rejected` ones.

        Float64, a row for each item; the released code draws Figures 3 and 7 from these.
        """
        rewards = pd.Series(self.rewards.astype(np.float64))
        lowest = rewards[self.chosen].groupby(self.items[self.chosen]).min()
        highest = rewards[~self.chosen].groupby(self.items[~self.chosen]).max()
        return pd.DataFrame({"chosen": lowest, "rejected": highest})

    def moments(self) -> pd.DataFrame:
        """Return sums by prompt: of answers their count, rewards and sizes, of items the margins.

        Both sides of a comparison are of the same answers, so that ratios of sums are those of
        means; the standard deviation needs the count.
        """
        rewards = self.rewards.astype(np.float64)
        size = np.abs(rewards)
        columns = {"count": np.ones_like(rewards), "sum": rewards, "square": rewards**2}
        columns |= zip(MEAN_SIZES, (size, size * self.chosen, size * ~self.chosen), strict=True)
        margins = self.extremes["chosen"] - self.extremes["rejected"]
        sums = pd.DataFrame(columns).groupby(self.items // STYLES).sum()
        return sums.assign(margin=margins.groupby(margins.index // STYLES).sum())


def task_rewards(scored: pd.DataFrame, percent: int) -> pd.DataFrame:
    """Return one trio's rewards on the 25 tasks, unablated and without its top neurons.

    Index dataset, subset, item_id, answer_index, item, chosen; columns objective, kind.
    """
    subsets = [part for part, task in TASK_OF.items() if task.group]
    ablated = (scored["kind"] == "magnitude") & (scored["percent"] == percent)
    rows = scored[ablated | (scored["kind"] == NONE.kind)]
    parts = pd.MultiIndex.from_frame(rows[["dataset", "subset"]].astype("str"))
    return _by_condition(rows[parts.isin(subsets)])


def suite_rewards(scored: pd.DataFrame) -> pd.DataFrame:
    """Return `task_rewards` without ablation of all subsets, code and Ties among them."""
    return _by_condition(scored[(scored["kind"] == NONE.kind) & scored["dataset"].isin(SUITES)])


def _by_condition(rows: pd.DataFrame) -> pd.DataFrame:
    rows = rows.astype({"dataset": "str", "kind": "str", "objective": "str"})
    keys = ["dataset", "subset", "item_id", "answer_index", "item", "chosen"]
    return rows.pivot(index=keys, columns=["objective", "kind"], values="reward")


def right_items(items: pd.DataFrame) -> pd.DataFrame:
    """Return which items of the suites are right without ablation, from `outcomes.outcomes`.

    Bool, a row for each item; columns objective.
    """
    unablated = items[(items["kind"] == NONE.kind) & items["dataset"].isin(BENCHMARKS)]
    return unablated.pivot(index="item", columns="objective", values="correct")


def sides(rewards: pd.DataFrame, right: pd.DataFrame) -> Iterator[Side]:
    """Yield both sides of every comparison of one trio, from `task_rewards` and `right_items`."""
    yield from retained(rewards, right)
    every = np.ones(len(rewards), dtype=bool)
    for objective in SINGLES:
        for side, kind in zip(SIDES["ablation"], (NONE.kind, "magnitude"), strict=True):
            yield _side(("ablation", objective, side), rewards, (objective, kind), every)


def retained(rewards: pd.DataFrame, right: pd.DataFrame) -> Iterator[Side]:
    """Yield both sides of the comparisons `retained`, from `task_rewards` or `suite_rewards`."""
    of_answers = right.loc[rewards.index.get_level_values("item")]
    for single in SINGLES:
        both = (of_answers[single] & of_answers["mixed"]).to_numpy()
        for side, objective in zip(SIDES["retained"], (single, "mixed"), strict=True):
            yield _side(("retained", single, side), rewards, (objective, NONE.kind), both)


def _side(
    name: tuple[str, str, str],
    rewards: pd.DataFrame,
    column: tuple[str, str],
    rows: NDArray[np.bool_],
) -> Side:
    chosen, items = (rewards.index.get_level_values(key)[rows] for key in ("chosen", "item"))
    return Side(*name, rewards[column].to_numpy()[rows], chosen.to_numpy(), items.to_numpy())


def log_ratios(compared: Iterable[Side], weights: Weights) -> pd.DataFrame:
    """Return logarithms of the second side's rewards relative to the first's, [rows, columns].

    Columns as of `evidence`: of the mean |reward| of all, of chosen and of rejected answers, of the
    standard deviation, and of the size of the mean margin, because an RM that ranks most items the
    wrong way round tells them apart, too. `weights` is of `bootstrap.draw_items`.
    """
    sums = {}
    for side in compared:
        moments = side.moments()
        values = weights[:, moments.index] @ moments.to_numpy()
        sums[side.comparison, side.objective, side.side] = pd.DataFrame(
            values, columns=moments.columns
        )
    columns = {}
    for comparison, objective in dict.fromkeys(key[:2] for key in sums):
        first, second = (sums[comparison, objective, side] for side in SIDES[comparison])
        ratios = {name: second[name] / first[name] for name in MEAN_SIZES}
        ratios["std"] = _std(second) / _std(first)
        margin = (second["margin"] / first["margin"]).abs()
        ratios["margin"] = margin.clip(lower=LOWEST_MARGIN_RATIO)
        for name, ratio in ratios.items():
            columns[f"log_{name}", objective, comparison, "", 0] = np.log(ratio)
    return pd.DataFrame(columns)


def _std(sums: pd.DataFrame) -> pd.Series:
    variance = sums["square"] / sums["count"] - (sums["sum"] / sums["count"]) ** 2
    return pd.Series(np.sqrt(variance))


def curves(variant: str, compared: Iterable[Side]) -> dict[Curve, NDArray[np.float64]]:
    """Return the rewards whose densities Figures 3 and 7 show, float64 [values].

    They are the `Side.extremes` of each side, which Figure 3 pools and Figure 7 keeps apart.
    """
    drawn = {}
    for side in compared:
        extremes, panel = side.extremes, side.objective
        if side.comparison == "retained":
            drawn[3, variant, panel, side.side] = extremes.to_numpy().ravel()
        else:
            for name in ("chosen", "rejected"):
                drawn[7, variant, panel, f"{side.side} {name}"] = extremes[name].to_numpy()
    return drawn


def density_table(trios: Iterable[Mapping[Curve, NDArray[np.float64]]]) -> pd.DataFrame:
    """Return columns figure, variant, panel, curve, reward (bin centre), density, of all trios.

    A density is of all rewards of its curve, so that it integrates to a little less than 1 over the
    range shown.
    """
    panels: dict[tuple[int, str, str], dict[str, list[NDArray[np.float64]]]] = {}
    for drawn in trios:
        for (figure, variant, panel, curve), rewards in drawn.items():
            panels.setdefault((figure, variant, panel), {}).setdefault(curve, []).append(rewards)
    tables = []
    for (figure, variant, panel), parts in sorted(panels.items()):
        pooled = {curve: np.concatenate(rewards) for curve, rewards in parts.items()}
        table = _densities(pooled)
        tables.append(table.assign(figure=figure, variant=variant, panel=panel))
    return pd.concat(tables)[["figure", "variant", "panel", "curve", "reward", "density"]]


def _densities(panel: Mapping[str, NDArray[np.float64]]) -> pd.DataFrame:
    pooled = np.concatenate(list(panel.values()))
    if not pooled.size:
        return pd.DataFrame(columns=["curve", "reward", "density"])
    low, high = (np.percentile(pooled, bound) for bound in SHOWN)
    edges = np.linspace(low, high, BINS + 1)
    centres, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    tables = []
    for name, rewards in panel.items():
        if rewards.size:
            density = np.histogram(rewards, edges)[0] / rewards.size / width
            tables.append(pd.DataFrame({"curve": name, "reward": centres, "density": density}))
    return pd.concat(tables)
