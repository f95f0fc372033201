"""Where a model's MLP neurons are: the one module that knows model families.

A neuron is one unit of a block's MLP hidden layer, its activation the output of the activation
function (METHOD.md section 4).
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
    "gpt2": Family("h", "mlp.act", "mlp.c_fc", 1, "mlp.c_proj", 0),
    "llama": Family("layers", "mlp.act_fn", "mlp.gate_proj", 0, "mlp.down_proj", 1),
}


def family(model: PreTrainedModel) -> Family:
    """Return the family of a model, by its config's model_type. Raise UserError for others."""
    model_type = model.config.model_type
    if model_type not in FAMILIES:
        raise UserError(
            f"model type {model_type!r} is not one of {', '.join(FAMILIES)}: add it to FAMILIES"
        )
    return FAMILIES[model_type]


def _parts(model: PreTrainedModel, path: str) -> list[nn.Module]:
    """Return the module at `path` of every block, in order."""
    blocks = model.base_model.get_submodule(family(model).blocks)
    return [block.get_submodule(path) for block in blocks]


def _weights(model: PreTrainedModel, path: str, neuron_axis: int) -> list[Tensor]:
    weights = [part.get_parameter("weight").detach() for part in _parts(model, path)]
    return [weight if neuron_axis == 0 else weight.T for weight in weights]


def input_weights(model: PreTrainedModel) -> list[Tensor]:
    """Return for each block a view [neurons, width] of the weights that drive its neurons."""
    return _weights(model, family(model).input, family(model).input_axis)


def output_weights(model: PreTrainedModel) -> list[Tensor]:
    """Return for each block a view [neurons, width] of the weights that its neurons act through."""
    return _weights(model, family(model).output, family(model).output_axis)


def neuron_shape(model: PreTrainedModel) -> tuple[int, int]:
    """Return (layers, neurons per layer)."""
    weights = output_weights(model)
    return len(weights), len(weights[0])


@contextmanager
def on_activations(
    model: PreTrainedModel, see: Callable[[int, Tensor], Tensor | None]
) -> Iterator[None]:
    """Call `see(layer, activations [rows, length, neurons])` in every forward pass.

    What it returns, if not None, replaces the activations.
    """

    def hook(layer: int) -> Callable[[nn.Module, Any, Tensor], Tensor | None]:
        return lambda _module, _inputs, output: see(layer, output)

    parts = _parts(model, family(model).activation)
    handles = [part.register_forward_hook(hook(layer)) for layer, part in enumerate(parts)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def on_products(model: PreTrainedModel, see: Callable[[Tensor], None]) -> Iterator[None]:
    """Call `see(products [rows, length, neurons])` with what each output projection takes.

    Of a gated MLP that is the activation times the gated projection, else the activation.
    """

    def hook(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        see(arguments[0])

    parts = _parts(model, family(model).output)
    handles = [part.register_forward_pre_hook(hook) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def activations_by_layer(model: PreTrainedModel, forward: Callable[[], Any]) -> Iterator[Tensor]:
    """Yield the activations of each layer in the pass that `forward` would make of the model.

    A layer is computed when it is asked for, and nothing of the earlier ones is kept: several
    models in step, a layer of each at a time, need the memory of one layer. So `forward` runs only
    to the first block, whose arguments it has prepared, and the blocks are called here, one by one.
    """
    seen: list[Tensor] = []
    with on_activations(model, lambda _layer, activations: seen.append(activations)):
        hidden, others, named = _into_blocks(model, forward)
        for block in _parts(model, ""):
            hidden = block(hidden, *others, **named)
            yield seen.pop()


class _Reached(Exception):  # noqa: N818
    """Ends a forward pass at the first block; holds the block's arguments."""


def _into_blocks(
    model: PreTrainedModel, forward: Callable[[], Any]
) -> tuple[Tensor, tuple[Any, ...], dict[str, Any]]:
    """Return what all blocks would be called with; of the hidden states, the first block's."""

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
    """Silence the neurons of `mask` [layers, neurons] within the `with` block, then restore them.

    A neuron whose activation is zero adds nothing to the residual stream; zeroing its weights in
    the output projection does the same at every position, without a hook and at no cost per token.
    """
    if mask.shape != neuron_shape(model):
        raise ValueError(f"mask of shape {mask.shape} for neurons of shape {neuron_shape(model)}")
    weights = output_weights(model)
    layers = [torch.from_numpy(layer).to(weights[0].device) for layer in mask]
    saved = [weight[layer].clone() for weight, layer in zip(weights, layers, strict=True)]
    try:
        for weight, layer in zip(weights, layers, strict=True):
            weight[layer] = 0
        yield
    finally:
        for weight, layer, before in zip(weights, layers, saved, strict=True):
            weight[layer] = before
