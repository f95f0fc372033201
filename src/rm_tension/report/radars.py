"""Figure 2: accuracy per task as radar charts."""

import textwrap
from collections.abc import Iterator
from string import ascii_lowercase
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes

from rm_tension.paper.figures import COLOURS
from rm_tension.paper.tasks import GROUPS, Group, group_tasks
from rm_tension.report.drawing import MARKERS, WIDTH, Drawing, legend_below
from rm_tension.report.source import Source
from rm_tension.report.tables import GROUP_LABELS, OBJECTIVES


def radars(source: Source) -> Iterator[Drawing]:
    """Figure 2, ours above the published one, and 2a to 2f, the same for each backbone that there is."""
    cells = source.compared("accuracy", "backbone", "objective", "task")
    ours, theirs = cells["mean"].dropna(), cells["paper"]
    chance = source.table("means/tasks", "task", "chance").set_index("task")["chance"]
    whose_rows = (f"ours ({source.context.profile})", "paper")
    present = set(ours.index.get_level_values("backbone"))
    letters = dict(zip(source.backbones, ascii_lowercase, strict=False)) | {"average": ""}
    for backbone, label in {"average": "mean of backbones", **source.backbones}.items():
        if backbone not in present:
            continue
        figure = Figure(figsize=(WIDTH, 7.8), layout="constrained")
        panels = figure.subplots(2, 2, subplot_kw={"projection": "polar"})
        for row, accuracy, whose in zip(panels, (ours, theirs), whose_rows, strict=True):
            for axes, group in zip(row, GROUPS, strict=True):
                radar(axes, group, accuracy.xs(backbone, level="backbone"), chance)
                axes.set_title(f"{GROUP_LABELS[group]}, {whose}", y=1.2)
        figure.suptitle(label)
        legend_below(figure, panels[0, 0])
        yield Drawing(
            f"2{letters[backbone]}",
            f"Accuracy per task, {label}",
            "Accuracy (%), one line per objective, and chance. Above ours, below the paper's.",
            figure,
        )


def radar(axes: PolarAxes, group: Group, accuracy: pd.Series, chance: pd.Series) -> None:
    """One closed line per objective over the tasks of a group; `accuracy` (%) is indexed by objective and task.

    A task without a value breaks the lines and has a grey label.
    """
    tasks = group_tasks(group)
    angles = np.linspace(0, 2 * np.pi, len(tasks), endpoint=False)
    closed = np.append(angles, angles[0])
    for objective, label in OBJECTIVES.items():
        values = accuracy.reindex([(objective, task.key) for task in tasks]).to_numpy()
        look: dict[str, Any] = {"color": COLOURS[objective], "marker": MARKERS[objective]}
        axes.plot(
            closed, np.append(values, values[0]), label=label, markersize=3, linewidth=1.4, **look
        )
    level = chance[[task.key for task in (*tasks, tasks[0])]]
    axes.plot(closed, level, color="0.45", linestyle="--", linewidth=1, label="Chance")
    axes.set_theta_offset(np.pi / 2)
    axes.set_theta_direction(-1)
    axes.set_rlim(0, 100)
    axes.set_rgrids([25, 50, 75], angle=180 / len(tasks), color="0.45", fontsize=6)
    axes.set_xticks(angles, [_broken(task.label) for task in tasks], fontsize=6.5)
    axes.tick_params(axis="x", pad=-2)
    for text, angle, task in zip(axes.get_xticklabels(), angles, tasks, strict=True):
        right, up = (
            round(np.sin(angle), 6),
            round(np.cos(angle), 6),
        )  # labels grow away from the circle
        text.set_horizontalalignment("center" if right == 0 else "left" if right > 0 else "right")
        text.set_verticalalignment("center" if abs(up) < 0.8 else "bottom" if up > 0 else "top")
        if accuracy.reindex([(objective, task.key) for objective in OBJECTIVES]).isna().all():
            text.set_color("0.6")


def _broken(label: str) -> str:
    """A task's label in short lines."""
    return "\n".join(
        line for part in label.replace(" (", "\n(").split("\n") for line in textwrap.wrap(part, 16)
    )
