"""Figures 5 and 6: accuracy on the HH-RLHF test sets against the share of ablated neurons."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rm_tension.analyse.averages import at
from rm_tension.evaluate.conditions import ALL, NONE
from rm_tension.paper.figures import COLOURS
from rm_tension.report.drawing import WIDTH, Drawing, blank
from rm_tension.report.source import Source
from rm_tension.report.tables import OBJECTIVES

SCORES = {"magnitude": ("-", "o"), "change": ("--", "s"), "random": (":", "^")}
CHANCE_OF_PAIRS = 50  # percent right
SHADES = {"change": "0.35", "random": "0.6"}  # magnitude has the objective's colour
NOTE = (
    "Accuracy (%) on the objective's HH-RLHF test sets against the share of ablated neurons, by three scores. Dashed "
    "without markers: chance (50%). Bands: "
)


def ablation_curves(source: Source) -> Iterator[Drawing]:
    """Figure 5."""
    yield Drawing(
        "5",
        "Effect of ablation on HH-RLHF test accuracy",
        f"{NOTE}mean over backbones of the standard deviation over seeds.",
        _grid(source, {"average": "accuracy"}),
    )


def ablation_curves_per_backbone(source: Source) -> Iterator[Drawing]:
    """Figure 6."""
    yield Drawing(
        "6",
        "Effect of ablation on HH-RLHF accuracy, per backbone",
        f"{NOTE}standard deviation over seeds.",
        _grid(source, source.backbones),
    )


def curves(axes: Axes, accuracy: pd.DataFrame, colour: str) -> None:
    """One line per score from no ablation on, and levels: of chance, and where all neurons are ablated.

    `accuracy` is indexed by kind and percent, with mean and spread.
    """
    for score, (line, marker) in SCORES.items():
        rows = pd.concat([at(accuracy, kind=kind) for kind in (NONE.kind, score)]).sort_index()
        shade = SHADES.get(score, colour)
        look: dict[str, Any] = {"color": shade, "linestyle": line, "marker": marker}
        axes.plot(rows.index, rows["mean"], label=score, markersize=3, linewidth=1.4, **look)
        low, high = rows["mean"] - rows["spread"], rows["mean"] + rows["spread"]
        axes.fill_between(rows.index, low, high, color=shade, alpha=0.15, linewidth=0)
    axes.axhline(CHANCE_OF_PAIRS, color="0.45", linestyle="--", linewidth=1, label="chance")
    if (ALL.kind, ALL.percent) in accuracy.index:
        axes.axhline(
            accuracy["mean"][ALL.kind, ALL.percent],
            color="0.6",
            linewidth=0.8,
            label="all neurons ablated",
        )


def _grid(source: Source, backbones: dict[str, str]) -> Figure:
    """A row of panels for each backbone, a column for each objective."""
    figure = Figure(figsize=(WIDTH, min(9.2, 1.0 + 1.9 * len(backbones))), layout="constrained")
    panels = figure.subplots(
        len(backbones), len(OBJECTIVES), sharex=True, sharey="row", squeeze=False
    )
    own = source.means("hh_accuracy", subset="own")
    for row, (backbone, name) in zip(panels, backbones.items(), strict=True):
        for axes, objective in zip(row, OBJECTIVES, strict=True):
            accuracy = at(own, backbone=backbone, objective=objective)
            curves(axes, accuracy, COLOURS[objective]) if len(accuracy) else blank(axes)
        row[0].set_ylabel(f"{name} (%)")
    for axes, label in zip(panels[0], OBJECTIVES.values(), strict=True):
        axes.set_title(f"{label}, {source.context.profile}")
    for axes in panels[-1]:
        axes.set_xlabel("ablated neurons (%)")
    drawn = [panel.get_legend_handles_labels() for panel in panels.flat]
    legend = {
        label: handle
        for handles, labels in drawn
        for handle, label in zip(handles, labels, strict=True)
    }
    legend["magnitude"] = Line2D(
        [], [], color="black", marker="o", markersize=3
    )  # its colour is the panel's
    figure.legend(
        legend.values(), legend.keys(), loc="outside lower center", ncols=len(legend), frameon=False
    )
    return figure
