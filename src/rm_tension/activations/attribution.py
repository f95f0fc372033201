"""Attribution of the margin to neurons: activation times gradient (METHOD.md section 10)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rm_tension.activations.sums import Attribution
from rm_tension.backbone.neurons import neuron_shape, on_activations
from rm_tension.base.progress import Progress
from rm_tension.model.device import Compute, TokenBudget
from rm_tension.model.reward_model import rewards, takes_rows
from rm_tension.model.rows import Item, Rows, batches, collate, row_length, token_count

SIGNS = 1, -1  # of the rewards of a chosen and a rejected text in the margin


def attribute(
    model: PreTrainedModel,
    pairs: Sequence[Item],
    compute: Compute,
    budget: TokenBudget,
    progress: str,
) -> Attribution:
    """Sum a x d(margin)/da over all tokens of `pairs` (chosen, rejected).

    The model must be on the device of `compute`, and its weights need no gradients.
    """
    total = budget.run(lambda tokens: _attribute(model, pairs, compute, tokens, progress))
    return Attribution(total.cpu().numpy(), token_count(pairs))


def _attribute(
    model: PreTrainedModel, pairs: Sequence[Item], compute: Compute, tokens: int, progress: str
) -> Tensor:
    device = compute.float64_device
    total = torch.zeros(neuron_shape(model), dtype=torch.float64, device=device)
    layout: list[tuple[Sequence[int], list[Item]]]  # signs and items of each batch
    if takes_rows(model):
        groups = batches([row_length(pair) for pair in pairs], tokens)
        layout = [(SIGNS, [pairs[index] for index in group]) for group in groups]
    else:
        texts = [(sign, text) for pair in pairs for sign, text in zip(SIGNS, pair, strict=True)]
        layout = [([sign], [[text]]) for sign, text in texts]
    with compute.autocast(), Progress(progress, len(layout)) as bar:
        for signs, items in layout:
            rows = collate(items).to(compute.device)
            total += _batch(model, rows, signs).to(device)
            bar.advance(tokens=rows.input_ids.numel())
    return total


def _batch(model: PreTrainedModel, rows: Rows, signs: Sequence[int]) -> Tensor:
    """Return the sums of a batch, float32 [layers, neurons]; `signs` are those of each item."""
    activations: list[Tensor] = []

    def see(_layer: int, activation: Tensor) -> None:
        # the first one starts the graph, for no weight does; the later ones depend on it
        activations.append(activation if activation.requires_grad else activation.requires_grad_())

    with torch.enable_grad(), on_activations(model, see):
        reward = rewards(model, rows)
        margin = (reward.view(-1, len(signs)) * reward.new_tensor(signs)).sum()
    gradients = torch.autograd.grad(margin, activations)
    terms = [
        (activation.detach() * gradient).flatten(end_dim=-2).float().sum(dim=0)
        for activation, gradient in zip(activations, gradients, strict=True)
    ]
    return torch.stack(terms)
