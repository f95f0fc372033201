"""The paper's figures, from the same averages as the tables."""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.projections.polar import PolarAxes

from rm_tension.analysis.accuracy import chance_level
from rm_tension.analysis.averages import at
from rm_tension.conditions import ALL, NONE
from rm_tension.data.tasks import GROUPS, Group, group_tasks
from rm_tension.report import published
from rm_tension.report.tables import GROUP_LABELS, OBJECTIVES, Source

# Paul Tol's high-contrast scheme: told apart in grey and with any colour vision. Markers repeat the distinction.
COLOURS = {"helpful": "#004488", "harmless": "#BB5566", "mixed": "#DDAA33"}
MARKERS = {"helpful": "o", "harmless": "s", "mixed": "^"}
SCORES = {"magnitude": ("-", "o"), "change": ("--", "s"), "random": (":", "^")}
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 9,
    "pdf.fonttype": 42,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


class NamedFigure(NamedTuple):
    """A figure, the stem of its files and what it shows."""

    name: str
    title: str
    figure: Figure


def make_figures(source: Source) -> list[NamedFigure]:
    """All figures, in the order of their numbers."""
    with mpl.rc_context(STYLE):
        return [*radars(source), ablation_curves(source)]


def save(figure: Figure, folder: Path, name: str) -> None:
    """As PDF and PNG, without dates, so that the same numbers give the same bytes."""
    with mpl.rc_context(STYLE):
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
        figure.savefig(folder / f"{name}.png", dpi=160)


def radars(source: Source) -> Iterator[NamedFigure]:
    """Figure 2, ours above the published one, and the same for each backbone."""
    theirs = published.accuracy(source.reference)
    whose_rows = (f"ours ({source.profile})", "paper")
    present = set(source.accuracy.index.get_level_values("backbone"))
    for backbone, label in {"average": "Mean of backbones", **source.backbones}.items():
        if backbone not in present:
            continue
        figure = Figure(figsize=(7.2, 7.8), layout="constrained")
        panels = figure.subplots(2, 2, subplot_kw={"projection": "polar"})
        for row, accuracy, whose in zip(panels, (source.accuracy, theirs), whose_rows, strict=True):
            for axes, group in zip(row, GROUPS, strict=True):
                radar(axes, group, at(accuracy, backbone=backbone)["mean"])
                axes.set_title(f"{GROUP_LABELS[group]}, {whose}", y=1.2)
        figure.suptitle(label)
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        yield NamedFigure(
            "figure_02" if backbone == "average" else f"figure_02_{backbone}",
            f"{label}: accuracy (%) per task, one line per objective, and chance. Above ours, below the paper's.",
            figure,
        )


def radar(axes: PolarAxes, group: Group, accuracy: pd.Series) -> None:
    """One closed line per objective over the tasks of a group; `accuracy` is indexed by objective and task.

    A task without a value breaks the lines and has a grey label.
    """
    tasks = group_tasks(group)
    angles = np.linspace(0, 2 * np.pi, len(tasks), endpoint=False)
    closed = np.append(angles, angles[0])
    for objective, label in OBJECTIVES.items():
        values = accuracy.reindex([(objective, task.key) for task in tasks]).to_numpy()
        look: dict[str, Any] = {"color": COLOURS[objective], "marker": MARKERS[objective]}
        axes.plot(closed, np.append(values, values[0]), label=label, markersize=3, linewidth=1.4, **look)
    chance = [chance_level(task) for task in tasks]
    axes.plot(closed, [*chance, chance[0]], color="0.45", linestyle="--", linewidth=1, label="Chance")
    axes.set_theta_offset(np.pi / 2)
    axes.set_theta_direction(-1)
    axes.set_rlim(0, 100)
    axes.set_rgrids([25, 50, 75], angle=180 / len(tasks), color="0.45", fontsize=6)
    axes.set_xticks(angles, [_broken(task.label) for task in tasks], fontsize=6.5)
    axes.tick_params(axis="x", pad=-2)
    for text, angle, task in zip(axes.get_xticklabels(), angles, tasks, strict=True):
        right, up = round(np.sin(angle), 6), round(np.cos(angle), 6)  # labels grow away from the circle
        text.set_horizontalalignment("center" if right == 0 else "left" if right > 0 else "right")
        text.set_verticalalignment("center" if abs(up) < 0.8 else "bottom" if up > 0 else "top")
        if accuracy.reindex([(objective, task.key) for objective in OBJECTIVES]).isna().all():
            text.set_color("0.6")


def ablation_curves(source: Source) -> NamedFigure:
    """Figure 5."""
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    panels = figure.subplots(1, len(OBJECTIVES), sharey=True)
    accuracy = at(source.hh_accuracy, backbone="average", dataset="own")
    for axes, (objective, label) in zip(panels, OBJECTIVES.items(), strict=True):
        curves(axes, at(accuracy, objective=objective), COLOURS[objective])
        axes.set_title(label)
        axes.set_xlabel("ablated neurons (%)")
    panels[0].set_ylabel(f"HH-RLHF test accuracy (%), {source.profile}")
    legend = dict(zip(*reversed(panels[0].get_legend_handles_labels()), strict=True))
    legend["magnitude"] = Line2D([], [], color="black", marker="o", markersize=3)  # its colour is the panel's
    figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=len(legend), frameon=False)
    return NamedFigure(
        "figure_05",
        "Accuracy (%) on the objective's HH-RLHF test sets against the share of ablated neurons, chosen by three "
        "scores. Means over backbones; bands: mean over backbones of the standard deviation over seeds.",
        figure,
    )


def curves(axes: Axes, accuracy: pd.DataFrame, colour: str) -> None:
    """One line per score from no ablation on, and a level where all neurons are ablated.

    `accuracy` is indexed by condition, with mean and spread.
    """
    shades: Mapping[str, str] = {"magnitude": colour, "change": "0.35", "random": "0.6"}
    for score, (line, marker) in SCORES.items():
        points = {0: str(NONE)} | {
            int(condition.removeprefix(f"{score}-")): condition
            for condition in accuracy.index
            if condition.startswith(f"{score}-")
        }
        percents = sorted(points)
        rows = accuracy.loc[[points[percent] for percent in percents]]
        look: dict[str, Any] = {"color": shades[score], "linestyle": line, "marker": marker}
        axes.plot(percents, rows["mean"], label=score, markersize=3, linewidth=1.4, **look)
        low, high = rows["mean"] - rows["spread"], rows["mean"] + rows["spread"]
        axes.fill_between(percents, low, high, color=shades[score], alpha=0.15, linewidth=0)
    if str(ALL) in accuracy.index:
        axes.axhline(accuracy["mean"][str(ALL)], color="0.6", linewidth=0.8, label="all neurons ablated")


def _broken(label: str) -> str:
    """A task's label in short lines."""
    return "\n".join(line for part in label.replace(" (", "\n(").split("\n") for line in textwrap.wrap(part, 16))
