"""Figure S1: the loss of training, which the paper does not show."""

from collections.abc import Iterator

from matplotlib.figure import Figure

from rm_tension.analyse.means import CURVES
from rm_tension.paper.figures import COLOURS
from rm_tension.report.drawing import WIDTH, Drawing, blank, legend_below, panels
from rm_tension.report.source import Source
from rm_tension.report.tables import OBJECTIVES

COLUMNS = 3


def training_curves(source: Source) -> Iterator[Drawing]:
    """A panel for each backbone."""
    table = source.table("means/training_curves", *CURVES).set_index(["objective", "progress"])
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    columns = min(COLUMNS, len(source.backbones))
    grid = panels(figure, len(source.backbones), columns, sharex=True, sharey=True)
    for axes, (backbone, name) in zip(grid.flat, source.backbones.items(), strict=False):
        curves = table[table["backbone"] == backbone]
        for objective, label in OBJECTIVES.items():
            if objective in curves.index:
                curve = curves.loc[objective]
                axes.plot(
                    curve.index, curve["loss"], color=COLOURS[objective], linewidth=1.2, label=label
                )
                low, high = curve["loss"] - curve["std"], curve["loss"] + curve["std"]
                axes.fill_between(
                    curve.index, low, high, color=COLOURS[objective], alpha=0.2, linewidth=0
                )
        axes.set_title(name)
        if curves.empty:
            blank(axes)
    for axes in grid[-1]:
        axes.set_xlabel("steps taken (%)")
    for axes in grid[:, 0]:
        axes.set_ylabel("loss")
    legend_below(figure, next((axes for axes in grid.flat if axes.lines), grid[0, 0]))
    yield Drawing(
        "S1",
        "Training loss",
        "Bradley-Terry loss of each training step, averaged over fiftieths of the training. Mean over seeds; "
        "band: their standard deviation.",
        figure,
    )
