"""Neuron scores from activation sums, exact top p%, and a trio's sets (METHOD.md section 4)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rm_tension.activations.sums import Activations
from rm_tension.base.errors import UserError

Scores = NDArray[np.float64]  # [layers, neurons]
Mask = NDArray[np.bool_]  # [layers, neurons]


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


def top(scores: Scores, percent: float, max_ties: float = 0.001) -> Mask:
    """Return the round(percent/100 x N) neurons with the highest score, ties by (layer, index).

    Raise UserError if a score is not finite, or if more than `max_ties` x N other neurons share the
    k-th score: the selection would be an accident of their order (METHOD.md section 8, erratum 2).
    """
    if faulty := np.count_nonzero(~np.isfinite(scores)):
        raise UserError(
            f"{faulty} of {scores.size} neuron scores are not finite: the activations or the "
            "checkpoint are broken; run their stages again"
        )
    k = round(percent / 100 * scores.size)
    # stable: equal scores stay in (layer, index) order
    order = np.argsort(-scores, axis=None, kind="stable")
    mask = np.zeros(scores.size, dtype=bool)
    mask[order[:k]] = True
    if 0 < k < scores.size:
        threshold = scores.flat[order[k - 1]]
        others = np.count_nonzero(scores == threshold) - 1
        if others > max_ties * scores.size:
            raise UserError(
                f"top {percent}% is not defined: {others} other neurons share the score "
                f"{threshold:g} of the {k}th of {scores.size}, more than {max_ties:.1%}; the "
                "activations are degenerate: look at the backbone and its texts"
            )
    return mask.reshape(scores.shape)


def trio_sets(helpful: Mask, harmless: Mask) -> dict[str, Mask]:
    """Return the sets that are ablated in the mixed RM.

    They are what the helpful and harmless RMs' top neurons share, and what each has alone.
    """
    return {
        "shared": helpful & harmless,
        "helpful-only": helpful & ~harmless,
        "harmless-only": harmless & ~helpful,
    }
