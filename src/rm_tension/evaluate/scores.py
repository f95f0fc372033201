"""Scores of neurons, from activation sums (METHOD.md sections 4 and 10).

A score is one function under `@score`. Its name is then one that params.yaml may use, a column of
neurons.parquet, and a row or column of every table and figure that compares scores.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rm_tension.activations.sums import Activations
from rm_tension.base.errors import UserError

Scores = NDArray[np.float64]  # [layers, neurons]
Need = Literal["backbone", "attribution"]
Function = Callable[[Activations, np.random.Generator], Scores]


@dataclass(frozen=True)
class Score:
    """A score as tables call it, and what computes it; the generator is seeded by the RM's seed.

    One that is not `measured` ignores the activations: it is what the others are compared with.
    `needs` is what must have been summed beside the model's own activations.
    """

    title: str
    function: Function
    measured: bool = True
    needs: Need | None = None


SCORES: dict[str, Score] = {}  # by name


def score(
    title: str, measured: bool = True, needs: Need | None = None
) -> Callable[[Function], Function]:
    """Enter a function into SCORES under its own name."""

    def enter(function: Function) -> Function:
        SCORES[function.__name__] = Score(title, function, measured, needs)
        return function

    return enter


@score("Random", measured=False)
def random(activations: Activations, rng: np.random.Generator) -> Scores:
    """Return standard normal scores."""
    return rng.standard_normal(activations.chosen.sum.shape)


@score("Change", needs="backbone")
def change(activations: Activations, _: np.random.Generator) -> Scores:
    """Return the root mean square of the change from the backbone, averaged over the sides."""
    return _mean_of_sides(
        [np.sqrt(side.change_square_sum / side.tokens) for side in activations.sides]
    )


@score("Magnitude")
def magnitude(activations: Activations, _: np.random.Generator) -> Scores:
    """Return `magnitude_score`."""
    return magnitude_score(activations)


@score("Absolute")
def absolute(activations: Activations, _: np.random.Generator) -> Scores:
    """Return the mean absolute activation, which the paper's words suggest."""
    return _mean_of_sides([side.abs_sum / side.tokens for side in activations.sides])


@score("Contrast")
def contrast(activations: Activations, _: np.random.Generator) -> Scores:
    """Return the absolute difference of the mean activations on chosen and on rejected texts."""
    chosen, rejected = (side.sum / side.tokens for side in activations.sides)
    return np.abs(chosen - rejected)


@score("Product")
def product(activations: Activations, _: np.random.Generator) -> Scores:
    """Return the mean input of the output projection, averaged over the sides.

    Of a gated MLP it is act(gate) x up, which peers call the neuron (arXiv 2601.22594); without a
    gate it is the activation.
    """
    return _mean_of_sides([side.product_sum / side.tokens for side in activations.sides])


@score("Attribution", needs="attribution")
def attribution(activations: Activations, _: np.random.Generator) -> Scores:
    """Return the mean over tokens of activation times d(margin)/d(activation).

    To first order, what setting the neuron to zero takes from the margin of a pair, by token of the
    pair (attribution patching).
    """
    if activations.attribution is None:
        raise UserError("no attribution in these activations: run the stage activations again")
    return activations.attribution.sum / activations.attribution.tokens


def magnitude_score(activations: Activations) -> Scores:
    """Return the mean signed activation over tokens, averaged over the sides, as released."""
    return _mean_of_sides([side.sum / side.tokens for side in activations.sides])


def backbone_score(activations: Activations) -> Scores:
    """Return `magnitude_score` of the backbone, on the RM's texts."""
    return _mean_of_sides([side.backbone_sum / side.tokens for side in activations.sides])


def _mean_of_sides(sides: list[Scores]) -> Scores:
    chosen, rejected = sides
    return (chosen + rejected) / 2


def neuron_scores(name: str, activations: Activations, seed: int) -> Scores:
    """Return the scores of an RM's neurons under a name of SCORES."""
    return SCORES[name].function(activations, np.random.default_rng(seed))
