"""Exact top p% of neurons by a score, and a trio's sets (METHOD.md section 4)."""

import numpy as np
from numpy.typing import NDArray

from rm_tension.base.errors import UserError
from rm_tension.evaluate.scores import Scores

Mask = NDArray[np.bool_]  # [layers, neurons]


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
