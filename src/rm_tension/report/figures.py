"""The figures, from the same averages as the tables."""

from collections.abc import Callable, Iterator

from matplotlib import style

from rm_tension.report.curves import ablation_curves, ablation_curves_per_backbone
from rm_tension.report.distributions import (
    ablation_densities,
    neuron_depth,
    score_shift,
    score_shift_as_published,
)
from rm_tension.report.drawing import STYLE, Drawing
from rm_tension.report.example import example
from rm_tension.report.radars import radars
from rm_tension.report.source import Source
from rm_tension.report.training_curves import training_curves

FIGURES: dict[str, Callable[[Source], Iterator[Drawing]]] = {
    "1": example,
    "2": radars,
    "3": score_shift,
    "3b": score_shift_as_published,
    "4": neuron_depth,
    "5": ablation_curves,
    "6": ablation_curves_per_backbone,
    "7": ablation_densities,
    "S1": training_curves,
}


def make_figures(source: Source) -> list[Drawing]:
    """All figures, in the order of their numbers."""
    with style.context(["default", STYLE]):
        return [drawing for make in FIGURES.values() for drawing in make(source)]
