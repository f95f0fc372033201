"""The supplement's tables and figure on controls (METHOD.md section 10)."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from rm_tension.analyse.controls import CORRELATION, EFFECT, HH_TEST, VERDICT
from rm_tension.evaluate.conditions import ALL, SETS
from rm_tension.evaluate.controls import CONTROLS
from rm_tension.evaluate.scores import SCORES
from rm_tension.paper.tasks import GROUPS
from rm_tension.report.drawing import GREY, MARKERS, Drawing, Panel, legend_below, panel_grid
from rm_tension.report.notes import INTERVALS
from rm_tension.report.source import Source
from rm_tension.report.table import TextTable
from rm_tension.report.tables import GROUP_LABELS

MEASURES: dict[str, str] = {
    HH_TEST: "HH-RLHF test",
    **{str(group): GROUP_LABELS[group] for group in GROUPS},
}
CLAIMS = {
    "C6": "the top neurons by magnitude matter",
    "C8": "they carry their objective",
    "C10": "the shared ones matter to the mixed RM",
    "C19": "these do as much as its whole top",
}
BESIDE = {
    "depth-matched": "beyond random neurons of the same depths",
    "backbone": "beyond the backbone's own top neurons",
    "mean-ablation": "with neurons set to their mean instead of zero",
}
# A claim beside a control has the first of these that any of its parts has
WORST_FIRST = ("does not hold", "open", "not measured", "holds")
SAID = {"holds": "holds", "does not hold": "does not hold", "open": "is open"}
SAID |= {"not measured": "was not measured"}


def kinds() -> dict[str, str]:
    """Return what each kind of condition is called, in the order of the table."""
    names = {ALL.kind: "All neurons"}
    for name, score in SCORES.items():
        title = score.title
        names[name] = f"Top by {title.lower()}" if score.measured else f"{title} neurons"
    names |= {name: f"{name.capitalize()} neurons" for name in SETS}
    return names | {name: control.title for name, control in CONTROLS.items()}


def control_effects(number: str, source: Source) -> TextTable:
    """Show what each control does, beside the paper's conditions."""
    frame = source.by_role("control_effects", *EFFECT)
    cells = {key[:3]: key[3:] for key in frame[EFFECT].itertuples(index=False, name=None)}
    rows = []
    for objective, label in source.labels.items():
        for kind, name in kinds().items():
            of_kind = [cells.get((objective, kind, measure)) for measure in MEASURES]
            if any(of_kind):
                texts = [_effect(*cell) if cell else "--" for cell in of_kind]
                rows.append([label, name, *texts])
    return TextTable(
        number,
        f"Controls beside the ablations of the top {source.task_percent}%",
        "Change of accuracy in points, with its 95% interval, where an RM's neurons are set to "
        "zero: of its own test files of HH-RLHF, and of the two groups of tasks. Backbone's top: "
        "by the backbone's mean activation on the same texts. New neurons: in the RM's top by "
        "magnitude, not in the backbone's; as many old ones: of those in both, at random. "
        "Depth-matched: of every block as many as the top has there. Draws at random stand as "
        "their mean, with their number and their standard deviation. Set to their mean: the top by "
        f"magnitude, at its mean activation instead of zero. {INTERVALS}",
        ["", "Ablated", *MEASURES.values()],
        rows,
        "lXrrr",
    )


def _effect(effect: float, low: float, high: float, draws: int, spread: float) -> str:
    """Return an effect as text, with its interval and its spread over draws."""
    known = math.isfinite(low)
    interval = f" [{_points(low)}, {_points(high)}]" if known else ""
    of_draws = f" ({draws} draws, ±{spread:.1f})" if draws > 1 else ""
    return f"{_points(effect)}{interval}{of_draws}"


def _points(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}"


def score_effects(number: str, source: Source) -> TextTable:
    """Show whether a neuron's score predicts what its ablation does."""
    frame = source.by_role("score_effects", *CORRELATION)
    cells = {key[:2]: key[2:] for key in frame[CORRELATION].itertuples(index=False, name=None)}
    rows = []
    for name, score in SCORES.items():
        own = [cells.get((objective, name)) for objective in source.labels]
        rows.append([score.title, *(_correlation(*cell) if cell else "--" for cell in own)])
    groups = source.settings.evaluate.groups
    return TextTable(
        number,
        "Scores and the effect of ablation",
        f"Neurons are divided into {groups.number} groups by rising score within each block, and "
        f"each group is set to zero in all blocks at once, on a sample of {groups.pairs} test "
        "pairs of HH-RLHF or all if there are fewer. Spearman's rank correlation of the group with "
        "the fall of the mean margin, mean of backbones: 1 if groups of a higher score always cost "
        f"more, 0 if the score says nothing. {INTERVALS}",
        ["Score", *source.labels.values()],
        rows,
        "X" + "r" * len(source.labels),
    )


def _correlation(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return "--"
    interval = f" [{low + 0.0:.2f}, {high + 0.0:.2f}]" if math.isfinite(low) else ""
    return f"{value + 0.0:.2f}{interval}"


def control_verdicts(number: str, source: Source) -> TextTable:
    """Show which claims about neurons stand beside the controls, part by part, and in words."""
    frame = source.table("control_verdicts", *VERDICT)
    order = frame["id"].map(list(CLAIMS).index)
    frame = frame.assign(order=order).sort_values("order", kind="stable")
    rows = [
        [
            claim,
            f"{CONTROLS[control].title}: {part}",
            verdict,
            f"{effect + 0.0:.3g}",
            f"[{low + 0.0:.3g}, {high + 0.0:.3g}]" if math.isfinite(low) else "--",
        ]
        for claim, control, part, effect, low, high, verdict in frame[VERDICT].itertuples(
            index=False
        )
        if math.isfinite(effect)
    ]
    return TextTable(
        number,
        "Claims about neurons beside the controls",
        f"{paragraph(frame)} A claim holds beside a control if all of its parts do: what the top "
        "or shared neurons do, less what the control does, has the claim's sign (C6, C8, C10, in "
        "points; the drop of accuracy in C6, its change in the others); the control does less than "
        "half of what the mixed RM's top does (C19, a ratio). Set to their mean, the top neurons "
        "must do it by themselves. Open: effect and interval do not agree. A control has as many "
        "neurons as the top, so more than the shared set. No verdict of Table S2 changes by this. "
        f"{INTERVALS}",
        ["", "Control and part", "Verdict", "Effect", "Interval"],
        rows,
        "lXlrr",
    )


def paragraph(verdicts: pd.DataFrame) -> str:
    """Return in sentences what the controls do to each claim."""
    sentences = []
    for claim, meaning in CLAIMS.items():
        own = verdicts[verdicts["id"] == claim]
        controls: dict[str, list[str]] = {verdict: [] for verdict in SAID}
        for control in dict.fromkeys(own["control"]):
            of_parts = set(own.loc[own["control"] == control, "verdict"])
            worst = next(verdict for verdict in WORST_FIRST if verdict in of_parts)
            controls[worst].append(BESIDE[control])
        said = [f"{SAID[word]} {' and '.join(those)}" for word, those in controls.items() if those]
        sentences.append(f"{claim} ({meaning}) {'; it '.join(said)}.")
    return " ".join(sentences)


def control_figure(source: Source) -> Iterator[Drawing]:
    """Draw Figure S2: effects of all conditions, and the rank correlations of scores."""
    frame = source.by_role("control_effects", *EFFECT)
    correlations = source.by_role("score_effects", *CORRELATION).rename(
        columns={"score": "kind", "correlation": "effect"}
    )
    names = kinds()
    titles = {name: score.title for name, score in SCORES.items()}
    panels: list[Panel] = [
        (
            f"{label} (points)",
            partial(_dots, source, rows=frame[frame["measure"] == measure], names=names),
        )
        for measure, label in MEASURES.items()
    ]
    panels.append(
        ("Rank correlation with effect", partial(_dots, source, rows=correlations, names=titles))
    )
    figure = panel_grid(panels, 2, 8.4)
    legend_below(figure)
    on_hh = frame[frame["measure"] == HH_TEST].groupby("kind", sort=False)["effect"].mean()
    said = "; ".join(f"{names[str(kind)]} {effect:+.0f}" for kind, effect in on_hh.items())
    yield Drawing(
        "S2",
        "What controls do beside the top neurons",
        f"Change of accuracy in points by each ablation of Table S11 at {source.task_percent}%, "
        "and how the scores rank with measured effects (Table S12). Bars: 95% intervals.",
        figure,
        f"Dots with bars. Change on HH-RLHF's test files, mean of RMs, in points: {said}.",
    )


def _dots(source: Source, axes: Axes, rows: pd.DataFrame, names: dict[str, str]) -> bool:
    """Draw a line for each kind that there is, with a dot and an interval for each objective."""
    present = [kind for kind in names if kind in set(rows["kind"])]
    places = {kind: -place for place, kind in enumerate(present)}
    offsets = np.linspace(0.25, -0.25, len(source.labels))
    for offset, (objective, label) in zip(offsets, source.labels.items(), strict=True):
        own = rows[rows["objective"] == objective].dropna(subset=["effect"])
        y = own["kind"].map(places) + offset
        look: dict[str, Any] = {"color": source.colours[objective]}
        # not as bars of the dot: a corrected interval need not hold it
        axes.hlines(y, own["low"], own["high"], linewidth=0.9, **look)
        look |= {"marker": MARKERS.get(objective, "D"), "label": label}
        axes.plot(own["effect"], y, linestyle="", markersize=3, **look)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_yticks(list(places.values()), [names[kind] for kind in present], fontsize=6.5)
    return bool(present)
