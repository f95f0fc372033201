"""The statistics of rewards that claims are decided on, as frames of bootstrap replicates.

Columns are (measure, objective, kind, part, percent), of neurons as well (`neuron_evidence`). Measures:

- accuracy (percent), delta (its change in points), retention, mixed_vs_helpful and mixed_vs_harmless (fractions), whose
  kind of ablation is at the percent that the tasks are ablated at, and whose part is a task;
- hh_delta (points of accuracy on the HH-RLHF test set), which alone has a percent (of the others it is 0); the
  objective "" is the mean of the three, the part a backbone or "" for all;
- log_mean_abs, log_mean_abs_chosen, log_mean_abs_rejected, log_std and log_margin: logarithms of ratios of rewards.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from itertools import product
from operator import add
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_tension.analyse.bootstrap import Replicates, resample_items
from rm_tension.analyse.outcomes import CONDITION, STYLES
from rm_tension.analyse.retention import RATIOS, counts
from rm_tension.analyse.score_shift import Side
from rm_tension.analyse.task_sets import SINGLES
from rm_tension.base.config import HH, OBJECTIVES, TestFiles
from rm_tension.base.grid import Trio
from rm_tension.evaluate.conditions import NONE, SETS
from rm_tension.paper.tasks import SUITES, TASKS

Column = tuple[str, str, str, str, int]
Parts = dict[tuple[str, str], pd.DataFrame]  # by dataset and subset
SCORES = {
    "signed": "magnitude",
    "absolute": "absolute",
}  # kinds of ablation, by the score that they silence by
# Sums over the rewards of a side. Both sides of a comparison are of the same answers, so that ratios of sums are those
# of means; the standard deviation needs the count.
MOMENTS = ("count", "sum", "square", "margin")
SIZES = ("mean_abs", "mean_abs_chosen", "mean_abs_rejected")
SHIFTS = {"retained": ("single", "mixed"), "ablation": ("before", "after")}
# Of mean margins, for the geometric mean of ratios, which a single 0 would make 0. Ours: the paper shows densities.
LOWEST_MARGIN_RATIO = 0.01


def trio_evidence(
    items: pd.DataFrame,
    sides: Iterable[Side],
    percent: int,
    prompts: Mapping[tuple[str, str], NDArray[np.int64]],
    test_files: TestFiles,
    resamples: int,
) -> pd.DataFrame:
    """The measures of one trio over resamples of its items, from `outcomes.outcomes` and `score_shift.sides`.

    Drawn are whole prompts within each subset of `outcomes.prompts`, so that the three styles of an RM-Bench prompt
    stay together. The objectives and conditions of a trio share the draws, and so do all trios.
    """
    parts: Parts = {}
    for key, part in _prompt_sums(items, sides).groupby(level=["dataset", "subset"], sort=False):
        dataset, subset = map(str, key)
        sums = part.dropna(axis=1, how="all").droplevel(["dataset", "subset"])
        parts[dataset, subset] = resample_items(
            sums, prompts[dataset, subset], f"{dataset}/{subset}", resamples
        )
    columns = dict([*_of_tasks(parts, percent), *_of_hh(parts, test_files), *_of_sides(parts)])
    return pd.DataFrame(columns)


def grid_evidence(frames: Mapping[Trio, pd.DataFrame], replicates: Replicates) -> pd.DataFrame:
    """`trio_evidence` over the grid, and hh_delta of each backbone over its seeds."""
    found = replicates.mean_of_trios(frames)
    measures = [column for column in map(tuple, found.columns) if column[:2] == ("hh_delta", "")]
    of_backbones = {
        backbone: replicates.of_backbone(backbone).mean_of_trios(
            {trio: frame[measures] for trio, frame in frames.items() if trio.backbone == backbone}
        )
        for backbone in replicates.seeds
    }
    columns = {
        (*column[:3], backbone, column[4]): one[column]
        for backbone, one in of_backbones.items()
        for column in measures
    }
    return found.join(pd.DataFrame(columns))


def _prompt_sums(items: pd.DataFrame, sides: Iterable[Side]) -> pd.DataFrame:
    """Sums of a prompt, indexed by dataset, subset, prompt; columns (what, objective, kind or side, percent or 0)."""
    names = ["dataset", "subset", "objective", "kind"]
    rows = items.astype(dict.fromkeys(names, "str")).assign(prompt=items["item"] // STYLES)
    right = rows.pivot(
        index=["dataset", "subset", "prompt", "item"], columns=CONDITION, values="correct"
    ).astype(np.float64)
    retained = counts(*(right[objective, NONE.kind, NONE.percent] for objective in OBJECTIVES))
    columns = {(name, "", "", 0): value for name, value in {"items": 1.0, **retained}.items()}
    rest = pd.DataFrame(columns, index=right.index)
    sums = (
        pd.concat({"correct": right}, axis=1)
        .join(rest)
        .groupby(level=["dataset", "subset", "prompt"])
    )
    total = sums.sum(min_count=1)
    prompt = total.index.get_level_values("prompt")
    moments = {
        (f"{side.comparison} {name}", side.objective, side.side, 0): column.reindex(
            prompt, fill_value=0.0
        ).to_numpy()
        for side in sides
        for name, column in _moments(side).items()
    }
    return total.join(pd.DataFrame(moments, index=total.index))


def _moments(side: Side) -> pd.DataFrame:
    """Sums indexed by prompt: MOMENTS and SIZES."""
    rewards = side.rewards.astype(np.float64)
    size = np.abs(rewards)
    moments = {"count": 1.0, "sum": rewards, "square": rewards**2}
    sizes = dict(zip(SIZES, (size, size * side.chosen, size * ~side.chosen), strict=True))
    margins = side.margins
    of_prompts = pd.DataFrame(moments | sizes).groupby(side.items // STYLES).sum()
    return of_prompts.assign(margin=margins.groupby(margins.index // STYLES).sum())


def _of_tasks(parts: Parts, percent: int) -> Iterator[tuple[Column, pd.Series]]:
    for task in TASKS:
        subsets = [parts[key] for part in task.subsets if (key := (part.suite, part.name)) in parts]
        if len(subsets) < len(task.subsets):
            continue
        accuracy = _sum(
            100 * one["correct"].div(one["items", "", "", 0], axis=0) for one in subsets
        ) / len(subsets)
        for objective, kind, share in accuracy.columns:
            if kind == NONE.kind:
                yield ("accuracy", objective, kind, task.key, 0), accuracy[objective, kind, share]
            elif kind in (*SCORES.values(), *SETS) and share == percent:
                change = (
                    accuracy[objective, kind, share] - accuracy[objective, NONE.kind, NONE.percent]
                )
                yield ("delta", objective, kind, task.key, 0), change
        for measure, (part, whole) in RATIOS.items():
            kept = _sum(one[part, "", "", 0] / one[whole, "", "", 0] for one in subsets)
            yield (measure, "mixed", NONE.kind, task.key, 0), kept / len(subsets)


def _of_hh(parts: Parts, test_files: TestFiles) -> Iterator[tuple[Column, pd.Series]]:
    changes: dict[str, pd.DataFrame] = {}
    for objective, files in test_files.items():
        found = [parts[HH, file] for file in files if (HH, file) in parts]
        if len(found) < len(files):
            continue
        items = _sum(one["items", "", "", 0] for one in found)
        accuracy = 100 * _sum(one["correct"][objective] for one in found).div(items, axis=0)
        baseline = accuracy.pop((NONE.kind, NONE.percent))
        changes[objective] = accuracy.sub(baseline, axis=0)
    if len(changes) == len(test_files):
        changes[""] = _sum(changes.values()) / len(changes)
    for name, change in changes.items():
        for kind, percent in map(tuple, change.columns):
            yield ("hh_delta", name, kind, "", int(percent)), change[kind, percent]


def _of_sides(parts: Parts) -> Iterator[tuple[Column, pd.Series]]:
    """Logarithms of the second side's rewards relative to the first's."""
    tasks = _sum(part for (dataset, _), part in parts.items() if dataset in SUITES).sort_index(
        axis=1
    )
    for (comparison, (first, second)), objective in product(SHIFTS.items(), SINGLES):
        of = {
            name: tasks[f"{comparison} {name}", objective].droplevel(-1, axis=1)
            for name in (*MOMENTS, *SIZES)
        }
        std = np.sqrt(of["square"] / of["count"] - (of["sum"] / of["count"]) ** 2)
        for name, size in {"std": std, **{name: of[name] for name in SIZES}}.items():
            yield (f"log_{name}", objective, comparison, "", 0), np.log(size[second] / size[first])
        yield (
            ("log_margin", objective, comparison, "", 0),
            _log_margin(of["margin"][first], of["margin"][second]),
        )


def _log_margin(before: pd.Series, after: pd.Series) -> pd.Series:
    """Of the margins' sizes: an RM that ranks most items the wrong way round tells them apart, too."""
    return pd.Series(np.log((after / before).abs().clip(lower=LOWEST_MARGIN_RATIO)))


def _sum(parts: Iterable[Any]) -> Any:
    """Of frames or of series; unlike `sum`, without the 0 to begin with."""
    return reduce(add, parts)
