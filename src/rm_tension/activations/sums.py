"""What one pass over an RM's training pairs leaves of its activations, and the file that keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from rm_tension.base.errors import UserError
from rm_tension.base.files import whole

Sums = NDArray[np.float64]  # [layers, neurons]


@dataclass(frozen=True)
class ActivationSums:
    """Sums over the tokens of one side (chosen or rejected) of an RM's training split.

    Each array is float64 [layers, neurons]; with a the neuron's activation in the RM and b in its backbone they hold
    the sums of a, |a|, (a - b)^2 and b.
    """

    sum: Sums
    abs_sum: Sums
    change_square_sum: Sums
    backbone_sum: Sums
    tokens: int

    def __add__(self, other: "ActivationSums") -> "ActivationSums":
        return ActivationSums(
            *(getattr(self, one.name) + getattr(other, one.name) for one in fields(self))
        )


@dataclass(frozen=True)
class Activations:
    """Both sides of one RM."""

    chosen: ActivationSums
    rejected: ActivationSums

    @property
    def sides(self) -> tuple[ActivationSums, ActivationSums]:
        return self.chosen, self.rejected

    def __add__(self, other: "Activations") -> "Activations":
        return Activations(self.chosen + other.chosen, self.rejected + other.rejected)


def save_activations(path: Path, by_objective: Mapping[str, Activations]) -> None:
    """Write a trio's sums as tensors named `<objective>.<side>.<field>`."""
    tensors = {
        f"{objective}.{side}.{field.name}": np.asarray(
            getattr(getattr(activations, side), field.name)
        )
        for objective, activations in by_objective.items()
        for side in ("chosen", "rejected")
        for field in fields(ActivationSums)
    }
    with whole(path) as partial:
        save_file(tensors, partial)


def load_activations(path: Path) -> dict[str, Activations]:
    """Read what `save_activations` wrote, by objective; UserError if it is something else."""
    try:
        return _by_objective(load_file(path))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise UserError(
            f"{path}: cannot be read ({what}); `dvc checkout {path}`, or run its stage again"
        ) from error


def _by_objective(tensors: Mapping[str, Any]) -> dict[str, Activations]:
    """Raises KeyError if a tensor is missing."""

    def side(objective: str, name: str) -> ActivationSums:
        prefix = f"{objective}.{name}"
        sums = {field.name: tensors[f"{prefix}.{field.name}"] for field in fields(ActivationSums)}
        return ActivationSums(**{**sums, "tokens": int(sums["tokens"])})

    objectives = dict.fromkeys(name.split(".")[0] for name in tensors)
    return {
        objective: Activations(side(objective, "chosen"), side(objective, "rejected"))
        for objective in objectives
    }
