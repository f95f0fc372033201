"""Figures 3, 4 and 7: where rewards and where neurons lie."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rm_tension.analyse.means import DEPTH
from rm_tension.analyse.task_sets import SINGLES
from rm_tension.paper.figures import COLOURS, THIRDS
from rm_tension.report.drawing import WIDTH, Drawing, blank, legend_below, panels
from rm_tension.report.source import Source
from rm_tension.report.tables import OBJECTIVES

VARIANTS = {"corrected": "", "as_published": ", as published"}
SHIFT = (
    "Density of two rewards per item, the lowest of its chosen and the highest of its rejected answers, of the items "
    "that the single-objective and the mixed RM both get right, pooled over all trios."
)
SHIFT_LOOKS: dict[str, dict[str, Any]] = {
    "single": {"label": "single-objective RM", "linestyle": "-"},
    "mixed": {"label": "mixed RM", "linestyle": "--", "color": COLOURS["mixed"]},
}


def score_shift(source: Source) -> Iterator[Drawing]:
    """Figure 3."""
    yield Drawing(
        "3",
        "Score shift under mixed training",
        f"{SHIFT} Items of the 25 tasks; of all subsets, as published: Figure 3b.",
        _densities(source, 3, "corrected", SHIFT_LOOKS),
    )


def score_shift_as_published(source: Source) -> Iterator[Drawing]:
    """Figure 3 of every subset of the suites, as the released code draws it."""
    yield Drawing(
        "3b",
        "Score shift under mixed training, as published",
        f"{SHIFT} As in the released code, items of every subset, also of code and Ties, which stand in no table.",
        _densities(source, 3, "as_published", SHIFT_LOOKS),
    )


def ablation_densities(source: Source) -> Iterator[Drawing]:
    """Figure 7."""
    looks = {
        f"{time} {side}": {"linestyle": line} | ({"color": "0.35"} if side == "rejected" else {})
        for time, line in {"before": "-", "after": "--"}.items()
        for side in ("chosen", "rejected")
    }
    yield Drawing(
        "7",
        "Rewards before and after ablation",
        "Density of two rewards per item, the lowest of its chosen and the highest of its rejected answers, before and "
        f"after ablation of the top {source.task_percent}% of neurons by magnitude. All items of the 25 tasks, right "
        "or wrong, pooled over all trios.",
        _densities(source, 7, "corrected", looks),
    )


def neuron_depth(source: Source) -> Iterator[Drawing]:
    """Figure 4, with the as-published pooling beside the corrected one, and each backbone."""
    depth = (
        source.table("means/neuron_depth", *DEPTH, "share").set_index(DEPTH)["share"].sort_index()
    )
    known = {(variant, backbone) for variant, backbone, *_ in depth.index}
    shown = [(f"All{label}", (variant, "pooled")) for variant, label in VARIANTS.items()]
    shown += [(name, ("corrected", backbone)) for backbone, name in source.backbones.items()]
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    grid = panels(figure, len(shown), columns=-(-len(shown) // 2), sharey=True)
    for axes, (title, key) in zip(grid.flat, shown, strict=False):
        _bars(axes, depth.loc[key]) if key in known else blank(axes)
        axes.set_title(title)
        axes.set_xticks(range(3), THIRDS)
        axes.set_xlim(-0.5, 2.5)
    for axes in grid[:, 0]:
        axes.set_ylabel(f"share (%), {source.context.profile}")
    legend_below(figure, grid[0, 0])
    yield Drawing(
        "4",
        "Where the neurons are located",
        f"Share (%) of the top {source.task_percent}% neurons by magnitude in the early, middle and late third of the "
        "blocks; the line is an even spread. As published: with the set of all neurons that ties at the clamp select "
        "(METHOD.md section 8, erratum 2), and the thirds of 32 blocks being 11, 11 and 10, not 11, 10 and 11.",
        figure,
    )


def _bars(axes: Axes, share: pd.Series) -> None:
    """`share` in [0, 1], indexed by objective and third."""
    width = 0.8 / len(OBJECTIVES)
    for place, (objective, label) in enumerate(OBJECTIVES.items()):
        heights = 100 * share.reindex([(objective, third) for third in THIRDS]).to_numpy()
        axes.bar(
            np.arange(3) + (place - 1) * width,
            heights,
            width,
            color=COLOURS[objective],
            label=label,
        )
    axes.axhline(100 / 3, color="0.45", linestyle="--", linewidth=0.8)


def _densities(
    source: Source, number: int, variant: str, looks: dict[str, dict[str, Any]]
) -> Figure:
    """A panel for each single objective; a curve without a colour in `looks` has the objective's."""
    frame = source.table("reward_density").query("figure == @number and variant == @variant")
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    grid = figure.subplots(1, 2)
    for axes, panel in zip(grid, SINGLES, strict=True):
        for curve, look in looks.items():
            points = frame[(frame["panel"] == panel) & (frame["curve"] == curve)].sort_values(
                "reward"
            )
            look = {"color": COLOURS[panel], "label": curve} | look
            axes.plot(points["reward"], points["density"], linewidth=1.4, **look)
        if panel not in set(frame["panel"]):
            blank(axes)
        axes.set_title(f"{OBJECTIVES[panel]}, {source.context.profile}")
        axes.set_xlabel("reward")
        axes.margins(y=0.3)  # room for the legend
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, loc="upper center", ncols=2)
    grid[0].set_ylabel("density")
    return figure
