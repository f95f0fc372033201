"""Figures of a dissection, and the page that shows them beside its numbers."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import style

from rm_tension.base.files import atomic_write
from rm_tension.dissect.neurons import Neurons
from rm_tension.dissect.plan import beside_controls, sizes
from rm_tension.report.drawing import (
    GREY,
    STYLE,
    Drawing,
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
        tokens=sizes(found),
        tables={name: rounded(table) for name, table in tables.items()},
        drawings=[(drawing, embedded(drawing, out)) for drawing in drawings],
        css=(Path(__file__).parents[1] / "report/templates/page.css").read_text(encoding="utf-8"),
    )
    with atomic_write(out / "index.html") as partial:
        partial.write_text(page, encoding="utf-8")


def rounded(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return the columns and the cells of a table as a reader wants them."""
    rows = [[_shown(value) for value in row] for row in table.itertuples(index=False)]
    return [str(name).replace("_", " ") for name in table], rows


def _shown(value: object) -> str:
    if isinstance(value, float):
        return "--" if math.isnan(value) else f"{value:.4g}"
    return str(value)


def curve_figure(found: Neurons, curves: pd.DataFrame) -> Drawing:
    """Draw accuracy and margin on each data set against the share ablated, by score."""
    panels, datasets = [], list(found.statistics)
    for measure in MEASURES:
        for text_set in found.statistics:
            for dataset in datasets:
                part = curves[curves["dataset"] == dataset]
                draw = _curves(part, text_set, measure, found.scores)
                panels.append((f"{dataset} pairs, {text_set} neurons", draw))
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


def _curves(
    part: pd.DataFrame, text_set: str, measure: str, scores: Sequence[str]
) -> Callable[[Any], bool]:
    def draw(axes: Any) -> bool:
        before = part[part["kind"] == "none"]
        axes.axhline(before[measure].iloc[0], color=GREY, linewidth=0.8)
        for number, score in enumerate(scores):
            line = part[(part["kind"] == score) & part["text_set"].isin([text_set, ""])]
            line = pd.concat([before, line]).sort_values("percent")
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(line["percent"], line[measure], "o-", ms=3, color=colour, label=score)
        return True

    return draw


def control_figure(found: Neurons, curves: pd.DataFrame) -> Drawing:
    """Draw what ablating the top neurons and each of their controls changes, a dot for a draw."""
    rows = beside_controls(curves)
    places = {name: -place for place, name in enumerate(rows["ablated"].unique())}

    def draw_of(dataset: str, measure: str) -> Callable[[Any], bool]:
        def draw(axes: Any) -> bool:
            for number, text_set in enumerate(found.statistics):
                own = rows[(rows["dataset"] == dataset) & (rows["text_set"] == text_set)]
                y = own["ablated"].map(places) - 0.15 * number
                label = f"neurons of {text_set}"
                axes.plot(own[f"{measure}_change"], y, "o", ms=4, mfc="none", label=label)
            axes.axvline(0, color=GREY, linewidth=0.8)
            axes.set_yticks(list(places.values()), list(places))
            return True

        return draw

    panels = [
        (f"{dataset} pairs: change of {measure}", draw_of(dataset, measure))
        for dataset in found.statistics
        for measure in MEASURES
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

    def draw_of(text_set: str) -> Callable[[Any], bool]:
        def draw(axes: Any) -> bool:
            for number, score in enumerate(found.scores):
                mask = found.top(score, 10, text_set).mask
                shares = 100 * mask.sum(axis=1) / mask.sum()
                colour = COLOURS[number % len(COLOURS)]
                axes.plot(range(1, len(shares) + 1), shares, "o-", ms=3, color=colour, label=score)
            return True

        return draw

    panels = [(f"{name} neurons", draw_of(name)) for name in found.statistics]
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
