"""Which neurons matter: scores from activation sums, exact top p%, and the sets of a trio (METHOD.md section 4)."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from rm_tension.errors import UserError
from rm_tension.files import whole

Scores = NDArray[np.float64]  # [layers, neurons]
Mask = NDArray[np.bool_]  # [layers, neurons]


@dataclass(frozen=True)
class ActivationSums:
    """Sums over the tokens of one side (chosen or rejected) of an RM's training split.

    Each array is float64 [layers, neurons]; with a the neuron's activation in the RM and b in its backbone they hold
    the sums of a, |a|, a^2, [a > 0] and (a - b)^2.
    """

    sum: Scores
    abs_sum: Scores
    square_sum: Scores
    positive_count: Scores
    change_square_sum: Scores
    tokens: int


@dataclass(frozen=True)
class Activations:
    """Both sides of one RM."""

    chosen: ActivationSums
    rejected: ActivationSums

    @property
    def sides(self) -> tuple[ActivationSums, ActivationSums]:
        return self.chosen, self.rejected


def save_activations(path: Path, by_objective: Mapping[str, Activations]) -> None:
    """Write a trio's sums as tensors named `<objective>.<side>.<field>`."""
    tensors = {
        f"{objective}.{side}.{field.name}": np.asarray(getattr(getattr(activations, side), field.name))
        for objective, activations in by_objective.items()
        for side in ("chosen", "rejected")
        for field in fields(ActivationSums)
    }
    with whole(path) as partial:
        save_file(tensors, partial)


def load_activations(path: Path) -> dict[str, Activations]:
    """Read what `save_activations` wrote, by objective."""
    tensors = load_file(path)

    def side(objective: str, name: str) -> ActivationSums:
        prefix = f"{objective}.{name}"
        sums = {field.name: tensors[f"{prefix}.{field.name}"] for field in fields(ActivationSums)}
        return ActivationSums(**{**sums, "tokens": int(sums["tokens"])})

    objectives = dict.fromkeys(name.split(".")[0] for name in tensors)
    return {objective: Activations(side(objective, "chosen"), side(objective, "rejected")) for objective in objectives}


def magnitude_score(activations: Activations) -> Scores:
    """Mean signed activation over tokens, averaged over the sides: the score of the released code."""
    return _mean_of_sides([side.sum / side.tokens for side in activations.sides])


def absolute_score(activations: Activations) -> Scores:
    """Mean absolute activation, which the paper's words suggest."""
    return _mean_of_sides([side.abs_sum / side.tokens for side in activations.sides])


def change_score(activations: Activations) -> Scores:
    """Root mean square of the change from the backbone, averaged over the sides."""
    return _mean_of_sides([np.sqrt(side.change_square_sum / side.tokens) for side in activations.sides])


def random_score(shape: tuple[int, int], seed: int) -> Scores:
    """Standard normal, from the RM's seed."""
    return np.random.default_rng(seed).standard_normal(shape)


def _mean_of_sides(sides: list[Scores]) -> Scores:
    chosen, rejected = sides
    return (chosen + rejected) / 2


def top(scores: Scores, percent: float, max_ties: float = 0.001) -> Mask:
    """The round(percent/100 x N) neurons with the highest score, ties broken by (layer, index).

    Raises UserError if a score is not finite, or if more than `max_ties` x N other neurons share the k-th score,
    because the selection would then be an accident of their order (METHOD.md section 8, erratum 2).
    """
    if not np.isfinite(scores).all():
        raise UserError(f"{np.count_nonzero(~np.isfinite(scores))} of {scores.size} neuron scores are not finite")
    k = round(percent / 100 * scores.size)
    order = np.argsort(-scores, axis=None, kind="stable")  # stable: equal scores stay in (layer, index) order
    mask = np.zeros(scores.size, dtype=bool)
    mask[order[:k]] = True
    if 0 < k < scores.size:
        threshold = scores.flat[order[k - 1]]
        others = np.count_nonzero(scores == threshold) - 1
        if others > max_ties * scores.size:
            raise UserError(
                f"top {percent}% is not defined: {others} other neurons share the score {threshold:g} of the "
                f"{k}th of {scores.size}, more than {max_ties:.1%}; the activations are degenerate"
            )
    return mask.reshape(scores.shape)


def trio_sets(helpful: Mask, harmless: Mask) -> dict[str, Mask]:
    """The sets that are ablated in the mixed RM: what the helpful and harmless RMs' top neurons share, and the rest."""
    return {
        "shared": helpful & harmless,
        "helpful-only": helpful & ~harmless,
        "harmless-only": harmless & ~helpful,
    }
