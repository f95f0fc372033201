"""Where a model's MLP neurons are, found by one forward pass, and what silences them.

A neuron is one unit of a block's MLP hidden layer, its activation the output of the activation
function (METHOD.md section 4).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from rm_tension.base.errors import UserError


@dataclass(frozen=True)
class Site:
    """A block's neurons: the module that gives their activations, and their output projection."""

    block: nn.Module
    activation: nn.Module
    output: nn.Module

    @property
    def output_weight(self) -> Tensor:
        """Return a view [neurons, width] of the weights that the neurons act through."""
        weight = self.output.get_parameter("weight").detach()
        # GPT-2's Conv1D keeps its weight as [in, out], Linear as [out, in]
        return weight if isinstance(self.output, Conv1D) else weight.T


_known: WeakKeyDictionary[nn.Module, list[Site]] = WeakKeyDictionary()


def neuron_sites(model: PreTrainedModel) -> list[Site]:
    """Return the neurons of each block, in order; a forward pass of two tokens finds them, once.

    An activation module has no parameters, and as many outputs as the output projection of its
    block has inputs. Raise UserError, with the names of a block's modules, if there is not exactly
    one such pair in a block.
    """
    base = model.base_model
    if base not in _known:
        blocks = _blocks(base)
        widths = _activation_widths(base, blocks)
        _known[base] = [_site(base, block, widths) for block in blocks]
    return _known[base]


def _blocks(base: PreTrainedModel) -> Sequence[nn.Module]:
    """Return the longest list of modules that is not part of another, as a block's experts are."""
    lists: dict[str, Sequence[nn.Module]] = {}
    for name, module in base.named_modules():
        if isinstance(module, nn.ModuleList) and not name.startswith(tuple(lists)):
            lists[f"{name}."] = list(module)
    return max(lists.values(), key=len, default=[])


def _activation_widths(base: PreTrainedModel, blocks: Sequence[nn.Module]) -> dict[nn.Module, int]:
    """Return the last dimension of what each module without parameters puts out."""
    widths: dict[nn.Module, int] = {}

    def see(module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() > 1:
            widths[module] = output.shape[-1]

    modules = [module for block in blocks for module in block.modules()]
    bare = [module for module in modules if next(module.parameters(), None) is None]
    training = base.training
    base.eval()  # dropout would draw random numbers
    try:
        with torch.no_grad(), _attached(module.register_forward_hook(see) for module in bare):
            base(input_ids=torch.ones(1, 2, dtype=torch.int64, device=base.device), use_cache=False)
    finally:
        base.train(training)
    return widths


def _site(base: PreTrainedModel, block: nn.Module, widths: dict[nn.Module, int]) -> Site:
    hidden = base.config.get_text_config().hidden_size
    # width is hidden for dropout and the like
    activations = [part for part in block.modules() if widths.get(part, hidden) != hidden]
    projections = [
        part
        for part in block.modules()
        if isinstance(weight := getattr(part, "weight", None), nn.Parameter) and weight.dim() == 2
    ]
    sites = []
    for activation, projection in product(activations, projections):
        site = Site(block, activation, projection)
        if site.output_weight.shape == (widths[activation], hidden):
            sites.append(site)
    if len(sites) != 1:
        modules = [f"{name} ({type(part).__name__})" for name, part in block.named_modules()]
        raise UserError(
            f"model type {base.config.model_type!r}: {len(sites)} pairs of an activation module "
            f"and an output projection in a block, instead of one; its modules are "
            f"{', '.join(modules[1:])}"
        )
    return sites[0]


def output_weights(model: PreTrainedModel) -> list[Tensor]:
    """Return for each block a view [neurons, width] of the weights that its neurons act through."""
    return [site.output_weight for site in neuron_sites(model)]


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

    activations = [site.activation for site in neuron_sites(model)]
    with _attached(
        part.register_forward_hook(hook(layer)) for layer, part in enumerate(activations)
    ):
        yield


@contextmanager
def on_products(model: PreTrainedModel, see: Callable[[Tensor], None]) -> Iterator[None]:
    """Call `see(products [rows, length, neurons])` with what each output projection takes.

    Of a gated MLP that is the activation times the gated projection, else the activation.
    """

    def hook(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        see(arguments[0])

    outputs = [site.output for site in neuron_sites(model)]
    with _attached(part.register_forward_pre_hook(hook) for part in outputs):
        yield


@contextmanager
def _attached(hooks: Iterable[RemovableHandle]) -> Iterator[None]:
    """Attach hooks, and remove them at the end."""
    handles = list(hooks)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def neurons_by_layer(
    model: PreTrainedModel, forward: Callable[[], Any]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield activations and products of each layer in the pass that `forward` would make.

    A layer is computed when it is asked for, and nothing of the earlier ones is kept: several
    models in step, a layer of each at a time, need the memory of one layer. So `forward` runs only
    to the first block, whose arguments it has prepared, and the blocks are called here, one by one.
    """
    seen: list[Tensor] = []
    with (
        on_activations(model, lambda _, activations: seen.append(activations)),
        on_products(model, seen.append),
    ):
        hidden, others, named = _into_blocks(model, forward)
        for site in neuron_sites(model):
            hidden = site.block(hidden, *others, **named)
            # the last ones: another pass of the same model in step leaves its own, too
            *_, activations, products = seen
            seen.clear()
            yield activations, products


class _Reached(Exception):  # noqa: N818
    """Ends a forward pass at the first block; holds the block's arguments."""


def _into_blocks(
    model: PreTrainedModel, forward: Callable[[], Any]
) -> tuple[Tensor, tuple[Any, ...], dict[str, Any]]:
    """Return what all blocks would be called with; of the hidden states, the first block's."""

    def stop(_block: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        raise _Reached(arguments, named)

    handle = neuron_sites(model)[0].block.register_forward_pre_hook(stop, with_kwargs=True)
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
