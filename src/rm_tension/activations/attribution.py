"""Attribution of the margin to neurons: activation times gradient (METHOD.md section 10)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rm_tension.activations.sums import Attribution
from rm_tension.backbone.neurons import neuron_shape, on_activations
from rm_tension.base.progress import Progress
from rm_tension.model.device import Compute, TokenBudget
from rm_tension.model.reward_model import rewards
from rm_tension.model.rows import Item, Rows, batches, collate, row_length, token_count


def attribute(
    model: PreTrainedModel,
    pairs: Sequence[Item],
    compute: Compute,
    budget: TokenBudget,
    progress: str,
) -> Attribution:
    """Sum a x d(margin)/da over all tokens of `pairs` (chosen, rejected).

    The model must be on the place's device, and its weights need no gradients.
    """
    total = budget.run(lambda tokens: _attribute(model, pairs, compute, tokens, progress))
    return Attribution(total.cpu().numpy(), token_count(pairs))


def _attribute(
    model: PreTrainedModel, pairs: Sequence[Item], compute: Compute, tokens: int, progress: str
) -> Tensor:
    device = compute.float64_device
    total = torch.zeros(neuron_shape(model), dtype=torch.float64, device=device)
    groups = batches([row_length(pair) for pair in pairs], tokens)
    with compute.autocast(), Progress(progress, len(groups)) as bar:
        for group in groups:
            rows = collate([pairs[index] for index in group]).to(compute.device)
            total += _batch(model, rows).to(device)
            bar.advance(tokens=rows.input_ids.numel())
    return total


def _batch(model: PreTrainedModel, rows: Rows) -> Tensor:
    """Return the sums of a batch, float32 [layers, neurons]."""
    activations: list[Tensor] = []

    def see(_layer: int, activation: Tensor) -> None:
        # the first one starts the graph, for no weight does; the later ones depend on it
        activations.append(activation if activation.requires_grad else activation.requires_grad_())

    with torch.enable_grad(), on_activations(model, see):
        reward = rewards(model, rows)  # chosen and rejected in turn
        margin = (reward[0::2] - reward[1::2]).sum()
    gradients = torch.autograd.grad(margin, activations)
    terms = [
        (activation.detach() * gradient)[0].float().sum(dim=0)
        for activation, gradient in zip(activations, gradients, strict=True)
    ]
    return torch.stack(terms)
