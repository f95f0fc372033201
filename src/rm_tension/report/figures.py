"""The figures, from the same averages as the tables."""

import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from string import ascii_lowercase
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.projections.polar import PolarAxes

from rm_tension.analyse.as_published import THIRDS
from rm_tension.analyse.averages import at
from rm_tension.analyse.means import CURVES, DEPTH
from rm_tension.analyse.task_sets import SINGLES
from rm_tension.base.config import ROLES
from rm_tension.evaluate.conditions import ALL, NONE
from rm_tension.paper.tasks import GROUPS, Group, group_tasks
from rm_tension.report.controls import control_figure
from rm_tension.report.drawing import (
    GREY,
    MARKERS,
    STYLE,
    Drawing,
    Panel,
    label_rows,
    legend_below,
    panel_grid,
)
from rm_tension.report.example import example
from rm_tension.report.source import Source
from rm_tension.report.tables import GROUP_LABELS, Labels

# By score: line, marker, and a shade where it is not the objective's colour
SCORES = {
    "magnitude": ("-", "o", None),
    "change": ("--", "s", "0.35"),
    "random": (":", "^", "0.6"),
}
CHANCE_OF_PAIRS = 50  # percent right
CURVES_NOTE = (
    "Accuracy (%) on the objective's HH-RLHF test sets against the share of ablated neurons, by "
    "three scores. Dashed without markers: chance (50%). Bands: "
)
VARIANTS = {"corrected": "", "as_published": ", as published"}
SHIFT_NOTE = (
    "Density of two rewards per item, the lowest of its chosen and the highest of its rejected "
    "answers, of the items that the single-objective and the mixed RM both get right, pooled over "
    "all trios."
)
SHIFT_LINES: dict[str, dict[str, Any]] = {
    "single": {"label": "single-objective RM", "linestyle": "-"},
    "mixed": {"label": "mixed RM", "linestyle": "--"},
}
ABLATION_LINES: dict[str, dict[str, Any]] = {
    "before chosen": {"linestyle": "-"},
    "before rejected": {"linestyle": "-", "color": "0.35"},
    "after chosen": {"linestyle": "--"},
    "after rejected": {"linestyle": "--", "color": "0.35"},
}


def tension(source: Source) -> Iterator[Drawing]:
    """Draw Figure S0: what each RM gets right of either group of tasks, and the paper's means."""
    table = source.by_role("group_accuracy").query("kind == @NONE.kind")
    keys = ["backbone", "seed", "objective"]
    models = table.pivot(index=keys, columns="group", values="accuracy").reindex(columns=GROUPS)
    paper = source.compared("accuracy", "objective", "task", backbone="average")["paper"]
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    seen = []
    for objective, label in source.papers.items():
        colour, marker = source.colours[objective], MARKERS[objective]
        points = models[models.index.get_level_values("objective") == objective]
        x, y = points["helpfulness"], points["harmlessness"]
        axes.scatter(x, y, s=28, c=colour, marker=marker, alpha=0.8, linewidths=0, label=label)
        paper_x, paper_y = paper.reindex([(objective, group) for group in GROUPS])
        axes.scatter(paper_x, paper_y, s=110, facecolors="none", edgecolors=colour, marker=marker)
        seen.append(f"{label}s on average {x.mean():.0f}% and {y.mean():.0f}%")
    hollow = Line2D([], [], color="none", marker="o", markeredgecolor=GREY, markersize=9)
    axes.set_xlabel("accuracy on helpfulness tasks (%)")
    axes.set_ylabel("accuracy on harmlessness tasks (%)")
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    legend_below(figure, {"the paper's means, hollow": hollow})
    yield Drawing(
        "S0",
        "The tension: helpfulness against harmlessness",
        "Each point is a reward model: its mean accuracy (%) on the 17 helpfulness tasks and on "
        "the 8 harmlessness tasks. Hollow: the paper's means over its models of that objective.",
        figure,
        f"Right of helpfulness and of harmlessness tasks: {'; '.join(seen)}.",
    )


def radars(source: Source) -> Iterator[Drawing]:
    """Draw Figure 2, ours above the published one, and 2a to 2f, the same for each backbone."""
    cells = source.compared("accuracy", "backbone", "objective", "task")
    rows = {f"ours ({source.context.profile})": cells["mean"].dropna(), "paper": cells["paper"]}
    chance = source.table("means/tasks", "task", "chance").set_index("task")["chance"]
    present = set(cells["mean"].dropna().index.get_level_values("backbone"))
    letters = dict(zip(source.backbones, ascii_lowercase, strict=False)) | {"average": ""}
    shown = {"average": "mean of backbones", **source.backbones}
    if len(source.backbones) == 1:  # which is its own mean, and better held against itself
        shown, letters = source.backbones, dict.fromkeys(source.backbones, "")
    for backbone, label in shown.items():
        if backbone not in present:
            continue
        panels: list[Panel] = []
        for whose, accuracy in rows.items():
            values = accuracy.xs(backbone, level="backbone")
            for group in GROUPS:
                draw = partial(radar, source, group=group, accuracy=values, chance=chance)
                panels.append((f"{GROUP_LABELS[group]}, {whose}", draw))
        figure = panel_grid(panels, 2, 7.8, subplot_kw={"projection": "polar"})
        figure.suptitle(label)
        legend_below(figure)
        yield Drawing(
            f"2{letters[backbone]}",
            f"Accuracy per task, {label}",
            "Accuracy (%), one line per objective, and chance. Above ours, below the paper's.",
            figure,
            f"Radar charts. Ours: {_group_means(cells['mean'], backbone)}. The paper's: "
            f"{_group_means(cells['paper'], backbone)}.",
        )


def radar(
    source: Source, axes: PolarAxes, group: Group, accuracy: pd.Series, chance: pd.Series
) -> bool:
    """Draw one closed line per objective over the tasks of a group.

    `accuracy` (%) is indexed by objective and task, `chance` (%) by task. A task without a value
    breaks the lines and has a grey label.
    """
    tasks = group_tasks(group)
    angles = np.linspace(0, 2 * np.pi, len(tasks), endpoint=False)
    closed = np.append(angles, angles[0])
    for objective, label in source.papers.items():
        values = accuracy.reindex([(objective, task.key) for task in tasks]).to_numpy()
        look: dict[str, Any] = {"color": source.colours[objective], "marker": MARKERS[objective]}
        look |= {"markersize": 3, "linewidth": 1.4}
        axes.plot(closed, np.append(values, values[0]), label=label, **look)
    level = chance[[task.key for task in (*tasks, tasks[0])]]
    axes.plot(closed, level, color=GREY, linestyle="--", linewidth=1, label="Chance")
    axes.set_title(axes.get_title(), y=1.2)
    axes.set_theta_offset(np.pi / 2)
    axes.set_theta_direction(-1)
    axes.set_rlim(0, 100)
    axes.set_rgrids([25, 50, 75], angle=180 / len(tasks), color=GREY, fontsize=6)
    axes.set_xticks(angles, [_broken(task.label) for task in tasks], fontsize=6.5)
    axes.tick_params(axis="x", pad=-2)
    for text, angle, task in zip(axes.get_xticklabels(), angles, tasks, strict=True):
        # labels grow away from the circle
        right, up = round(np.sin(angle), 6), round(np.cos(angle), 6)
        text.set_horizontalalignment("center" if right == 0 else "left" if right > 0 else "right")
        text.set_verticalalignment("center" if abs(up) < 0.8 else "bottom" if up > 0 else "top")
        if accuracy.reindex([(objective, task.key) for objective in ROLES]).isna().all():
            text.set_color("0.6")
    return True


def _group_means(accuracy: pd.Series, backbone: str) -> str:
    """Say the averages over groups of tasks; `accuracy` is indexed as in `radars`."""
    sentences = []
    for group in GROUPS:
        values = accuracy.reindex([(backbone, objective, group) for objective in ROLES])
        numbers = zip(ROLES, values, strict=True)
        known = [f"{name} {value:.0f}%" for name, value in numbers if not np.isnan(value)]
        sentences.append(f"{group} tasks {', '.join(known) or 'not known'}")
    return "; ".join(sentences)


def _broken(label: str) -> str:
    """Break a task's label into short lines."""
    lines = []
    for part in label.replace(" (", "\n(").split("\n"):
        lines += textwrap.wrap(part, 16)
    return "\n".join(lines)


def score_shift(source: Source) -> Iterator[Drawing]:
    """Draw Figure 3, and 3b of every subset of the suites, as the released code draws it."""
    yield Drawing(
        "3",
        "Score shift under mixed training",
        f"{SHIFT_NOTE} Items of the 25 tasks; of all subsets, as published: Figure 3b.",
        *_densities(source, 3, "corrected", SHIFT_LINES),
    )
    yield Drawing(
        "3b",
        "Score shift under mixed training, as published",
        f"{SHIFT_NOTE} As in the released code, items of every subset, also of code and Ties, "
        "which stand in no table.",
        *_densities(source, 3, "as_published", SHIFT_LINES),
    )


def ablation_densities(source: Source) -> Iterator[Drawing]:
    """Draw Figure 7."""
    yield Drawing(
        "7",
        "Rewards before and after ablation",
        "Density of two rewards per item, the lowest of its chosen and the highest of its rejected "
        f"answers, before and after ablation of the top {source.task_percent}% of neurons by "
        "magnitude. All items of the 25 tasks, right or wrong, pooled over all trios.",
        *_densities(source, 7, "corrected", ABLATION_LINES),
    )


def _densities(
    source: Source, number: int, variant: str, lines: dict[str, dict[str, Any]]
) -> tuple[Figure, str]:
    """Draw a panel for each single objective; return where the curves peak, too.

    `lines` says how each curve looks; one without a colour has that of its RM's objective.
    """
    frame = source.table("reward_density").query("figure == @number and variant == @variant")

    def draw(axes: Axes, objective: str) -> bool:
        curves = frame[frame["panel"] == objective]
        for curve, look in lines.items():
            colour = source.colours["mixed" if curve == "mixed" else objective]
            points = curves[curves["curve"] == curve].sort_values("reward")
            look = {"color": colour, "label": curve} | look
            axes.plot(points["reward"], points["density"], linewidth=1.4, **look)
        axes.margins(y=0.3)  # room for the legend
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, loc="upper center", ncols=2)
        return not curves.empty

    panels: list[Panel] = [
        (
            f"{source.labels[objective]}, {source.context.profile}",
            partial(draw, objective=objective),
        )
        for objective in SINGLES
    ]
    figure = panel_grid(panels, 2, 2.9, "reward")
    label_rows(figure, 2, ["density"])
    highest = frame.sort_values("density").drop_duplicates(["panel", "curve"], keep="last")
    peaks = [
        f"{panel} RM, {curve}, {reward:.1f}"
        for panel, curve, reward in highest[["panel", "curve", "reward"]].itertuples(index=False)
    ]
    return figure, f"Density curves, highest at rewards of: {'; '.join(sorted(peaks)) or 'none'}."


def neuron_depth(source: Source) -> Iterator[Drawing]:
    """Draw Figure 4: the corrected pooling, the as-published one, and each backbone."""
    table = source.table("means/neuron_depth", *DEPTH, "share")
    shares = table.set_index(DEPTH)[["share"]].sort_index()

    def draw(axes: Axes, variant: str, backbone: str) -> bool:
        axes.set_xticks(range(3), THIRDS)
        axes.set_xlim(-0.5, 2.5)
        share = at(shares, variant=variant, backbone=backbone)
        if len(share):
            _depth_bars(source, axes, share["share"])
        return bool(len(share))

    panels: list[Panel] = [
        (f"All{label}", partial(draw, variant=variant, backbone="pooled"))
        for variant, label in VARIANTS.items()
    ]
    for backbone, name in source.backbones.items():
        if len(source.backbones) > 1:  # else the first panel again
            panels.append((name, partial(draw, variant="corrected", backbone=backbone)))
    columns = -(-len(panels) // 2)
    figure = panel_grid(panels, columns, 4.4, sharey=True)
    label_rows(figure, columns, [f"share (%), {source.context.profile}"] * 2)
    legend_below(figure)
    yield Drawing(
        "4",
        "Where the neurons are located",
        f"Share (%) of the top {source.task_percent}% neurons by magnitude in the early, middle "
        "and late third of the blocks; the line is an even spread. As published: with the set of "
        "all neurons that ties at the clamp select (METHOD.md section 8, erratum 2), and the "
        "thirds of 32 blocks being 11, 11 and 10, not 11, 10 and 11.",
        figure,
        f"Bars. Of all backbones' neurons, early, middle and late: {_thirds(source, shares)}.",
    )


def _thirds(source: Source, shares: pd.DataFrame) -> str:
    """Say the pooled shares of `neuron_depth`, objective by objective."""
    pooled = at(shares, variant="corrected", backbone="pooled")["share"]
    sentences = []
    for objective, label in source.papers.items():
        parts = 100 * pooled.reindex([(objective, third) for third in THIRDS]).fillna(0)
        sentences.append(f"{label} {', '.join(f'{part:.0f}%' for part in parts)}")
    return "; ".join(sentences)


def _depth_bars(source: Source, axes: Axes, share: pd.Series) -> None:
    """Draw `share` in [0, 1], indexed by objective and third."""
    width = 0.8 / len(source.papers)
    for index, (objective, label) in enumerate(source.papers.items()):
        heights = 100 * share.reindex([(objective, third) for third in THIRDS]).to_numpy()
        positions = np.arange(3) + (index - 1) * width
        axes.bar(positions, heights, width, color=source.colours[objective], label=label)
    axes.axhline(100 / 3, color=GREY, linestyle="--", linewidth=0.8)


def ablation_curves(source: Source) -> Iterator[Drawing]:
    """Draw Figure 5, and Figure 6, the same for each backbone."""
    yield Drawing(
        "5",
        "Effect of ablation on HH-RLHF test accuracy",
        f"{CURVES_NOTE}mean over backbones of the standard deviation over seeds."
        + (" Of one backbone, this is Figure 6, too." if len(source.backbones) == 1 else ""),
        _ablation_grid(source, source.papers, {"average": "accuracy"}),
        f"Lines. {_falls(source, source.papers, 'average')}.",
    )
    if len(source.backbones) == 1:  # the same picture again
        return
    yield Drawing(
        "6",
        "Effect of ablation on HH-RLHF accuracy, per backbone",
        f"{CURVES_NOTE}standard deviation over seeds.",
        _ablation_grid(source, source.papers, source.backbones),
        "Lines. "
        + ". ".join(
            f"{name}: {_falls(source, source.papers, key)}"
            for key, name in source.backbones.items()
        ),
    )


def other_objectives(source: Source) -> Iterator[Drawing]:
    """Draw Figure S3, Figure 5 of the RMs of objectives that the paper lacks, if there are any."""
    if source.others:
        yield Drawing(
            "S3",
            "Effect of ablation on the RMs of other objectives",
            f"{CURVES_NOTE}mean over backbones of the standard deviation over seeds.",
            _ablation_grid(source, source.others, {"average": "accuracy"}),
            f"Lines. {_falls(source, source.others, 'average')}.",
        )


def _falls(source: Source, objectives: Labels, backbone: str) -> str:
    """Say how accuracy changes from no ablation to that of the most neurons by magnitude."""
    own = source.means("hh_accuracy", subset="own", backbone=backbone)["mean"]
    sentences = []
    for objective in filter(objectives.__contains__, own.index.unique("objective")):
        accuracy = own.xs(objective, level="objective")
        last = max((percent for kind, percent in accuracy.index if kind in SCORES), default=0)
        start, end = accuracy[NONE.kind, 0], accuracy.get(("magnitude", last), np.nan)
        sentences.append(f"{objective} {start:.0f}% to {end:.0f}% at {last}% by magnitude")
    return ", ".join(sentences)


def _ablation_grid(source: Source, objectives: Labels, backbones: Labels) -> Figure:
    """Draw a row of panels for each backbone, a column for each objective."""
    own = source.means("hh_accuracy", subset="own")
    panels: list[Panel] = []
    for index, backbone in enumerate(backbones):
        for objective, label in objectives.items():
            title = f"{label}, {source.context.profile}" if index == 0 else ""
            accuracy = at(own, backbone=backbone, objective=objective)
            colour = source.colours[objective]
            panels.append((title, partial(curves, accuracy=accuracy, colour=colour)))
    height = min(9.2, 1.0 + 1.9 * len(backbones))
    columns = len(objectives)
    figure = panel_grid(panels, columns, height, "ablated neurons (%)", sharex=True, sharey="row")
    label_rows(figure, columns, [f"{name} (%)" for name in backbones.values()])
    # the colour of magnitude is the panel's
    legend_below(figure, {"magnitude": Line2D([], [], color="black", marker="o", markersize=3)})
    return figure


def curves(axes: Axes, accuracy: pd.DataFrame, colour: str) -> bool:
    """Draw one line per score from no ablation on, and levels: chance, and all neurons ablated.

    `accuracy` is indexed by kind and percent, with mean and spread.
    """
    if accuracy.empty:
        return False
    for score, (line, marker, shade) in SCORES.items():
        rows = pd.concat([at(accuracy, kind=kind) for kind in (NONE.kind, score)]).sort_index()
        look: dict[str, Any] = {"color": shade or colour, "linestyle": line, "marker": marker}
        axes.plot(rows.index, rows["mean"], label=score, markersize=3, linewidth=1.4, **look)
        _band(axes, rows["mean"], rows["spread"], shade or colour, 0.15)
    axes.axhline(CHANCE_OF_PAIRS, color=GREY, linestyle="--", linewidth=1, label="chance")
    if (ALL.kind, ALL.percent) in accuracy.index:
        level = accuracy["mean"][ALL.kind, ALL.percent]
        axes.axhline(level, color="0.6", linewidth=0.8, label="all neurons ablated")
    return True


def _band(axes: Axes, mean: pd.Series, spread: pd.Series, colour: str, alpha: float) -> None:
    """Shade one spread on either side of a line."""
    low, high = mean - spread, mean + spread
    axes.fill_between(mean.index, low, high, color=colour, alpha=alpha, linewidth=0)


def training_curves(source: Source) -> Iterator[Drawing]:
    """Draw Figure S1, a panel for each backbone."""
    table = source.table("means/training_curves", *CURVES).set_index(["objective", "progress"])

    def draw(axes: Axes, backbone: str) -> bool:
        losses = table[table["backbone"] == backbone]
        for objective, label in source.labels.items():
            if objective in losses.index:
                curve, colour = losses.loc[objective], source.colours[objective]
                axes.plot(curve.index, curve["loss"], color=colour, linewidth=1.2, label=label)
                _band(axes, curve["loss"], curve["std"], colour, 0.2)
        return not losses.empty

    panels: list[Panel] = [
        (name, partial(draw, backbone=key)) for key, name in source.backbones.items()
    ]
    columns = min(3, len(panels))
    figure = panel_grid(panels, columns, 4.6, "steps taken (%)", sharex=True, sharey=True)
    losses = table[table["backbone"] == "average"]
    average = losses.sort_index().groupby("objective")["loss"]
    label_rows(figure, columns, ["loss"] * -(-len(panels) // columns))
    legend_below(figure)
    yield Drawing(
        "S1",
        "Training loss",
        "Bradley-Terry loss of each training step, averaged over fiftieths of the training. Mean "
        "over seeds; band: their standard deviation.",
        figure,
        "Lines. Mean loss at the start and at the end: "
        + "; ".join(f"{key} {loss.iloc[0]:.2f}, {loss.iloc[-1]:.2f}" for key, loss in average)
        + ".",
    )


FIGURES: tuple[Callable[[Source], Iterator[Drawing]], ...] = (
    tension,
    example,
    radars,
    score_shift,
    neuron_depth,
    ablation_curves,
    ablation_densities,
    training_curves,
    control_figure,
    other_objectives,
)


def make_figures(source: Source) -> list[Drawing]:
    """Draw all figures, in the order of their numbers."""
    drawings: list[Drawing] = []
    with style.context(["default", STYLE]):
        for make in FIGURES:
            drawings += make(source)
    return drawings
