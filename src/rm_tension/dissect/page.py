"""Figures of a dissection, and the page that shows them beside its numbers."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import cycle, product
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import style

from rm_tension.base.files import atomic_write
from rm_tension.dissect.neurons import Neurons
from rm_tension.dissect.plan import PERCENT, beside_controls
from rm_tension.report.drawing import (
    GREY,
    STYLE,
    Drawing,
    Panel,
    label_rows,
    legend_below,
    panel_grid,
    save,
)
from rm_tension.report.page import embedded

# Paul Tol's bright scheme, in the order of the scores
COLOURS = ("#BBBBBB", "#CCBB44", "#4477AA", "#66CCEE", "#228833", "#EE6677", "#AA3377")
MEASURES = {"accuracy": "accuracy (%)", "margin": "mean margin"}


def write_page(out: Path, title: str, found: Neurons, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write index.html and figures/, as PDF, SVG and PNG."""
    with style.context(["default", STYLE]):  # whatever a matplotlibrc says
        curves = tables["curves"]
        drawings = [curve_figure(found, curves), control_figure(found, curves), depth_figure(found)]
    with atomic_write(out / "figures") as folder:
        folder.mkdir()
        for drawing in drawings:
            save(drawing, folder)
    environment = Environment(
        loader=PackageLoader("rm_tension", "dissect"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html").render(
        title=title,
        found=found,
        tables=tables,
        drawings=[(drawing, embedded(drawing, out)) for drawing in drawings],
        css=(Path(__file__).parents[1] / "report/templates/page.css").read_text(encoding="utf-8"),
    )
    with atomic_write(out / "index.html") as file:
        file.write_text(page, encoding="utf-8")


def curve_figure(found: Neurons, curves: pd.DataFrame) -> Drawing:
    """Draw accuracy and margin on each data set against the share ablated, by score."""
    datasets = list(found.statistics)
    panels: list[Panel] = []
    for measure, text_set, dataset in product(MEASURES, datasets, datasets):
        part = curves[(curves["dataset"] == dataset) & curves["text_set"].isin([text_set, ""])]
        title = f"{dataset} pairs, {text_set} neurons"
        panels.append((title, partial(_draw_curves, part, measure, found.scores)))
    columns = len(datasets)
    rows = len(panels) // columns
    figure = panel_grid(panels, columns, 1.2 + 1.9 * rows, "% of neurons ablated", sharex=True)
    label_rows(figure, columns, [MEASURES[name] for name in MEASURES for _ in datasets])
    legend_below(figure)
    return Drawing(
        "D1",
        "What ablation does",
        "Accuracy and mean margin of the chosen over the rejected text, without the neurons that "
        "have the highest score on one set of texts. The line is the model without ablation.",
        figure,
        "Curves of accuracy and margin, falling as more neurons are ablated",
    )


def _draw_curves(part: pd.DataFrame, measure: str, scores: Sequence[str], axes: Any) -> bool:
    before = part[part["kind"] == "none"]
    axes.axhline(before[measure].iloc[0], color=GREY, linewidth=0.8)
    for score, colour in zip(scores, cycle(COLOURS), strict=False):
        line = pd.concat([before, part[part["kind"] == score]]).sort_values("percent")
        axes.plot(line["percent"], line[measure], "o-", ms=3, color=colour, label=score)
    return True


def control_figure(found: Neurons, curves: pd.DataFrame) -> Drawing:
    """Draw what ablating the top neurons and each of their controls changes, a dot for a draw."""
    rows = beside_controls(curves)
    places = {name: -place for place, name in enumerate(rows["ablated"].unique())}

    def draw(dataset: str, measure: str, axes: Any) -> bool:
        for number, text_set in enumerate(found.statistics):
            own = rows[(rows["dataset"] == dataset) & (rows["text_set"] == text_set)]
            y = own["ablated"].map(places) - 0.15 * number
            label = f"neurons of {text_set}"
            axes.plot(own[f"{measure}_change"], y, "o", ms=4, mfc="none", label=label)
        axes.axvline(0, color=GREY, linewidth=0.8)
        axes.set_yticks(list(places.values()), list(places))
        return True

    panels = [
        (f"{dataset} pairs: change of {measure}", partial(draw, dataset, measure))
        for dataset, measure in product(found.statistics, MEASURES)
    ]
    height = 0.8 + len(found.statistics) * (0.6 + 0.25 * len(places))
    figure = panel_grid(panels, len(MEASURES), height, sharey=True)
    legend_below(figure)
    return Drawing(
        "D2",
        "What controls do beside the top neurons",
        "Change of accuracy and mean margin by the ablation of the top 10% by magnitude, and of "
        "what they are to differ from. Draws at random have a dot each.",
        figure,
        "Dots for each control, left of zero where ablation costs accuracy or margin",
    )


def depth_figure(found: Neurons) -> Drawing:
    """Draw the share of each layer in the top 10% of each score."""

    def draw(text_set: str, axes: Any) -> bool:
        for score, colour in zip(found.scores, cycle(COLOURS), strict=False):
            mask = found.top(score, PERCENT, text_set).mask
            shares = 100 * mask.sum(axis=1) / mask.sum()
            axes.plot(range(1, len(shares) + 1), shares, "o-", ms=3, color=colour, label=score)
        return True

    panels = [(f"{name} neurons", partial(draw, name)) for name in found.statistics]
    figure = panel_grid(panels, len(panels), 2.8, "layer", sharey=True)
    label_rows(figure, len(panels), ["% of the top 10%"])
    legend_below(figure)
    return Drawing(
        "D3",
        "Where the neurons are",
        "Share of each layer in the 10% of all neurons with the highest score.",
        figure,
        "One line for each score over the layers",
    )
