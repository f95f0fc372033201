"""Scores of neurons, from activation sums (METHOD.md section 4)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rm_tension.activations.sums import Activations

Scores = NDArray[np.float64]  # [layers, neurons]


def magnitude_score(activations: Activations) -> Scores:
    """Return the mean signed activation over tokens, averaged over the sides, as released."""
    return _mean_of_sides([side.sum / side.tokens for side in activations.sides])


def backbone_score(activations: Activations) -> Scores:
    """Return `magnitude_score` of the backbone, on the RM's texts."""
    return _mean_of_sides([side.backbone_sum / side.tokens for side in activations.sides])


def absolute_score(activations: Activations) -> Scores:
    """Return the mean absolute activation, which the paper's words suggest."""
    return _mean_of_sides([side.abs_sum / side.tokens for side in activations.sides])


def change_score(activations: Activations) -> Scores:
    """Return the root mean square of the change from the backbone, averaged over the sides."""
    return _mean_of_sides(
        [np.sqrt(side.change_square_sum / side.tokens) for side in activations.sides]
    )


def _mean_of_sides(sides: list[Scores]) -> Scores:
    chosen, rejected = sides
    return (chosen + rejected) / 2


def random_score(activations: Activations, rng: np.random.Generator) -> Scores:
    """Return standard normal scores."""
    return rng.standard_normal(activations.chosen.sum.shape)


# By the names that `evaluate` in params.yaml uses; the generator is seeded by the RM's seed
SCORES: dict[str, Callable[[Activations, np.random.Generator], Scores]] = {
    "random": random_score,
    "change": lambda activations, _: change_score(activations),
    "magnitude": lambda activations, _: magnitude_score(activations),
    "absolute": lambda activations, _: absolute_score(activations),
}


def neuron_scores(name: str, activations: Activations, seed: int) -> Scores:
    """Return the scores of an RM's neurons under a name of SCORES."""
    return SCORES[name](activations, np.random.default_rng(seed))
