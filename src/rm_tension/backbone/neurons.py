"""Where a model's MLP neurons are: the one place that knows model families.

A neuron is one unit of a block's MLP hidden layer, its activation the output of the activation function
(METHOD.md section 4).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from rm_tension.base.errors import UserError


@dataclass(frozen=True)
class Family:
    """Paths of a family's parts, and which axis of the projections' weights counts neurons.

    `input` is the projection whose result the activation function takes.
    """

    blocks: str
    activation: str
    input: str
    input_axis: int
    output: str
    output_axis: int


FAMILIES: dict[str, Family] = {
    # GPT-2's Conv1D keeps its weight as [in, out], Linear as [out, in]
    "gpt2": Family(
        "h", "mlp.act", input="mlp.c_fc", input_axis=1, output="mlp.c_proj", output_axis=0
    ),
    "llama": Family(
        "layers",
        "mlp.act_fn",
        input="mlp.gate_proj",
        input_axis=0,
        output="mlp.down_proj",
        output_axis=1,
    ),
}


def family(model: PreTrainedModel) -> Family:
    """The family of a model, by its config's model_type."""
    model_type = model.config.model_type
    if model_type not in FAMILIES:
        raise UserError(
            f"model type {model_type!r} is not one of {', '.join(FAMILIES)}: add it to FAMILIES"
        )
    return FAMILIES[model_type]


def _parts(model: PreTrainedModel, path: str) -> list[nn.Module]:
    """The module at `path` in every block, in order."""
    return [
        block.get_submodule(path) for block in model.base_model.get_submodule(family(model).blocks)
    ]


def _weights(model: PreTrainedModel, path: str, neuron_axis: int) -> list[Tensor]:
    weights = [part.get_parameter("weight").detach() for part in _parts(model, path)]
    return [weight if neuron_axis == 0 else weight.T for weight in weights]


def input_weights(model: PreTrainedModel) -> list[Tensor]:
    """Per block, a view [neurons, width] of the weights that drive its neurons."""
    return _weights(model, family(model).input, family(model).input_axis)


def output_weights(model: PreTrainedModel) -> list[Tensor]:
    """Per block, a view [neurons, width] of the weights through which its neurons act."""
    return _weights(model, family(model).output, family(model).output_axis)


def neuron_shape(model: PreTrainedModel) -> tuple[int, int]:
    """(layers, neurons per layer)."""
    weights = output_weights(model)
    return len(weights), len(weights[0])


@contextmanager
def on_activations(
    model: PreTrainedModel, see: Callable[[int, Tensor], Tensor | None]
) -> Iterator[None]:
    """Call `see(layer, activations [rows, length, neurons])` in every forward pass; what it returns replaces them."""

    def hook(layer: int) -> Callable[[nn.Module, Any, Tensor], Tensor | None]:
        return lambda _module, _inputs, output: see(layer, output)

    handles = [
        part.register_forward_hook(hook(i))
        for i, part in enumerate(_parts(model, family(model).activation))
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def activations_by_layer(model: PreTrainedModel, forward: Callable[[], Any]) -> Iterator[Tensor]:
    """The activations of each layer in turn in the forward pass that `forward` would make of the model.

    A layer is computed when it is asked for, and nothing of the earlier ones is kept: several models in step, a layer
    of each at a time, need the memory of one layer.
    """
    seen: list[Tensor] = []
    with on_activations(model, lambda _layer, activations: seen.append(activations)):
        hidden, others, named = _into_blocks(model, forward)
        for block in _parts(model, ""):
            hidden = block(hidden, *others, **named)
            yield seen.pop()


class _Reached(Exception):  # noqa: N818
    """The first block, with its arguments."""


def _into_blocks(
    model: PreTrainedModel, forward: Callable[[], Any]
) -> tuple[Tensor, tuple[Any, ...], dict[str, Any]]:
    """What the first block would be called with: all of them get the same, but for the hidden states."""

    def stop(_block: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        raise _Reached(arguments, named)

    handle = _parts(model, "")[0].register_forward_pre_hook(stop, with_kwargs=True)
    try:
        forward()
    except _Reached as reached:
        (hidden, *others), named = reached.args
        return hidden, tuple(others), named
    finally:
        handle.remove()
    raise AssertionError("a forward pass that reaches no block")


@contextmanager
def ablated(model: PreTrainedModel, mask: NDArray[np.bool_]) -> Iterator[None]:
    """Silence the neurons of `mask` [layers, neurons] inside the block, and restore them whatever happens.

    A neuron whose activation is zero adds nothing to the residual stream; zeroing its weights in the output projection
    does the same at every position, without a hook and at no cost per token.
    """
    if mask.shape != neuron_shape(model):
        raise ValueError(f"mask of shape {mask.shape} for neurons of shape {neuron_shape(model)}")
    weights = output_weights(model)
    chosen = [
        torch.from_numpy(layer).to(weight.device)
        for layer, weight in zip(mask, weights, strict=True)
    ]
    saved = [weight[where].clone() for weight, where in zip(weights, chosen, strict=True)]
    try:
        for weight, where in zip(weights, chosen, strict=True):
            weight[where] = 0
        yield
    finally:
        for weight, where, before in zip(weights, chosen, saved, strict=True):
            weight[where] = before
