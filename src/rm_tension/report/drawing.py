"""What all figures share: the style, a grid of panels, and how a figure is saved."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rm_tension.report.item import Item

# The colours are Paul Tol's high-contrast scheme: told apart in grey and with any colour vision.
# Markers say it again.
MARKERS = {"helpful": "o", "harmless": "s", "mixed": "^"}
WIDTH = 7.2  # inches, the text width of a page
GREY = "0.45"
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 9,
    "pdf.fonttype": 42,
    "svg.hashsalt": "rm-tension",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
# A panel's title, and what draws into its axes and returns whether there was anything to draw
Panel = tuple[str, Callable[[Any], bool]]


@dataclass(frozen=True)
class Drawing(Item):
    """A figure of the report; `alt` says in a sentence what is seen in it, without its heading."""

    kind: ClassVar[str] = "Figure"
    figure: Figure
    alt: str

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height at 96 pixels an inch."""
        width, height = self.figure.get_size_inches()
        return round(96 * width), round(96 * height)


def save(drawing: Drawing, folder: Path) -> None:
    """Write PDF, SVG and PNG, without dates and random ids: the same numbers, the same bytes."""
    with style.context(["default", STYLE]):  # whatever a matplotlibrc says
        drawing.figure.savefig(folder / f"{drawing.name}.pdf", metadata={"CreationDate": None})
        drawing.figure.savefig(folder / f"{drawing.name}.svg", metadata={"Date": None})
        drawing.figure.savefig(folder / f"{drawing.name}.png", dpi=160)


def panel_grid(
    panels: Sequence[Panel], columns: int, height: float, xlabel: str = "", **shared: Any
) -> Figure:
    """Draw panels row by row; what is left over of the last row stays empty.

    `height` is in inches; `shared` goes to `Figure.subplots`. A panel without data says so.
    """
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    grid = figure.subplots(-(-len(panels) // columns), columns, squeeze=False, **shared)
    for axes, (title, draw) in zip(grid.flat, panels, strict=False):
        axes.set_title(title)
        if not draw(axes):
            blank(axes)
    for spare in grid.flat[len(panels) :]:
        spare.set_axis_off()
    for axes in grid[-1]:
        axes.set_xlabel(xlabel)
    return figure


def label_rows(figure: Figure, columns: int, labels: Sequence[str]) -> None:
    """Label the vertical axis of the first panel of each row."""
    for axes, label in zip(figure.axes[::columns], labels, strict=True):
        axes.set_ylabel(label)


def blank(axes: Axes, why: str = "no data") -> None:
    """Say in an empty panel that it is meant to be empty."""
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", color=GREY)


def legend_below(figure: Figure, instead: Mapping[str, Artist] | None = None) -> None:
    """Draw one legend for all panels; `instead` replaces handles by label."""
    handles: dict[str, Artist] = {}
    for axes in figure.axes:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    handles |= instead or {}
    if handles:
        figure.legend(
            handles.values(),
            handles.keys(),
            loc="outside lower center",
            ncols=min(len(handles), 6),
            frameon=False,
        )
