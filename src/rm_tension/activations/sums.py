"""Sums of an RM's activations over its training pairs, and the file that keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from rm_tension.base.errors import UserError
from rm_tension.base.files import atomic_write

Sums = NDArray[np.float64]  # [layers, neurons]
Part = TypeVar("Part", "ActivationSums", "Attribution")


@dataclass(frozen=True)
class ActivationSums:
    """Sums over the tokens of one side (chosen or rejected) of an RM's training split.

    Each array is float64 [layers, neurons]. With a the neuron's activation in the RM, b in its
    backbone, and p what the RM's output projection takes, they hold the sums of a, |a|, (a - b)^2,
    b and p. Without a gate, p is a; with one, it is a times the gated projection.
    """

    sum: Sums
    abs_sum: Sums
    change_square_sum: Sums
    backbone_sum: Sums
    product_sum: Sums
    tokens: int

    def __add__(self, other: "ActivationSums") -> "ActivationSums":
        return ActivationSums(
            *(getattr(self, one.name) + getattr(other, one.name) for one in fields(self))
        )


@dataclass(frozen=True)
class Attribution:
    """The sum of a x d(margin)/da over the tokens of some pairs: float64 [layers, neurons].

    A token of the common prefix has one derivative, of the margin, and counts for both sides among
    the `tokens`.
    """

    sum: Sums
    tokens: int


@dataclass(frozen=True)
class Activations:
    """Both sides of one RM, and the attribution of a sample of its pairs, where it was computed."""

    chosen: ActivationSums
    rejected: ActivationSums
    attribution: Attribution | None = None

    @property
    def sides(self) -> tuple[ActivationSums, ActivationSums]:
        return self.chosen, self.rejected

    def __add__(self, other: "Activations") -> "Activations":
        return Activations(self.chosen + other.chosen, self.rejected + other.rejected)


def save_activations(path: Path, by_objective: Mapping[str, Activations]) -> None:
    """Write a trio's sums as tensors `<objective>.<part>.<field>`, by parts of Activations."""
    tensors = {}
    for objective, activations in by_objective.items():
        for part in fields(Activations):
            sums = getattr(activations, part.name)
            for field in fields(sums) if sums else ():
                value = np.asarray(getattr(sums, field.name))
                tensors[f"{objective}.{part.name}.{field.name}"] = value
    with atomic_write(path) as partial:
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
    """Raise KeyError if a tensor is missing; only the attribution may be."""
    objectives = dict.fromkeys(name.split(".")[0] for name in tensors)
    by_objective = {}
    for objective in objectives:
        own = partial(_part, tensors, objective)
        known = f"{objective}.attribution.sum" in tensors
        by_objective[objective] = Activations(
            own("chosen", ActivationSums),
            own("rejected", ActivationSums),
            own("attribution", Attribution) if known else None,
        )
    return by_objective


def _part(tensors: Mapping[str, Any], objective: str, name: str, kind: type[Part]) -> Part:
    """Return a part of Activations from its tensors."""
    sums = {field.name: tensors[f"{objective}.{name}.{field.name}"] for field in fields(kind)}
    return kind(**{**sums, "tokens": int(sums["tokens"])})
