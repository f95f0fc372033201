"""What all figures share: markers, the style, an item of the report that holds a figure, and how it is saved."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rm_tension.report.item import Item

# The colours are Paul Tol's high-contrast scheme: told apart in grey and with any colour vision. Markers say it again.
MARKERS = {"helpful": "o", "harmless": "s", "mixed": "^"}
WIDTH = 7.2  # inches, the text width of a page
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 9,
    "pdf.fonttype": 42,
    "svg.hashsalt": "rm-tension",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True)
class Drawing(Item):
    """A figure of the report."""

    kind: ClassVar[str] = "Figure"
    figure: Figure


def save(drawing: Drawing, folder: Path) -> None:
    """As PDF, SVG and PNG, without dates and random ids, so that the same numbers give the same bytes."""
    with style.context(["default", STYLE]):  # whatever a matplotlibrc says
        drawing.figure.savefig(folder / f"{drawing.name}.pdf", metadata={"CreationDate": None})
        drawing.figure.savefig(folder / f"{drawing.name}.svg", metadata={"Date": None})
        drawing.figure.savefig(folder / f"{drawing.name}.png", dpi=160)


def panels(figure: Figure, count: int, columns: int, **shared: Any) -> np.ndarray:
    """The axes of `count` panels, [rows, columns]; what is left over of the last row shows nothing."""
    grid: np.ndarray = figure.subplots(-(-count // columns), columns, squeeze=False, **shared)
    for spare in grid.flat[count:]:
        spare.set_axis_off()
    return grid


def blank(axes: Axes, why: str = "no data") -> None:
    """Say in an empty panel that it is meant to be empty."""
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", color="0.45")


def legend_below(figure: Figure, axes: Axes) -> None:
    """One legend for all panels."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, labels, loc="outside lower center", ncols=min(len(labels), 6), frameon=False
        )
