"""The bill before the run: tokens, FLOP, seconds, memory and disk of every cell of the grid."""

from rm_tension.estimate.cells import estimate
from rm_tension.estimate.costs import Cost, Needs, makespan, needs
from rm_tension.estimate.speeds import Speed, calibrated, named, published

__all__ = [
    "Cost",
    "Needs",
    "Speed",
    "calibrated",
    "estimate",
    "makespan",
    "named",
    "needs",
    "published",
]
