"""Neurons set to their mean activation, not to zero (METHOD.md section 10)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rm_tension.activations.sums import Activations, Sums
from rm_tension.backbone.neurons import on_activations
from rm_tension.evaluate.selection import Mask


def mean_activation(activations: Activations) -> Sums:
    """Return the mean over all tokens of an RM's texts, chosen and rejected: [layers, neurons]."""
    chosen, rejected = activations.sides
    return (chosen.sum + rejected.sum) / (chosen.tokens + rejected.tokens)


@contextmanager
def set_to(model: PreTrainedModel, mask: Mask, values: Sums) -> Iterator[None]:
    """Set the neurons of `mask` to `values` [layers, neurons] within the `with` block.

    A constant activation is no constant output where a gate multiplies it, so no change of the
    weights does the same in every architecture: a hook replaces the activations.
    """
    constants = torch.from_numpy(values).to(model.device, torch.float32)
    masks = torch.from_numpy(mask).to(model.device)

    def see(layer: int, activations: Tensor) -> Tensor:
        return torch.where(masks[layer], constants[layer].to(activations.dtype), activations)

    with on_activations(model, see):
        yield
