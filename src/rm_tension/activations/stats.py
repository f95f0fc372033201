"""One pass over training pairs, all sums of METHOD.md section 4. Raw activations are never stored."""

from collections.abc import Mapping, Sequence
from dataclasses import fields

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rm_tension.activations.sums import Activations, ActivationSums
from rm_tension.backbone.neurons import activations_by_layer, neuron_shape
from rm_tension.base.progress import Progress
from rm_tension.model.device import Budget, Place
from rm_tension.model.reward_model import hidden_states
from rm_tension.model.rows import Item, Rows, batches, collate, row_length

CHOSEN, REJECTED = 0, 1
SUMS = [field.name for field in fields(ActivationSums) if field.name != "tokens"]


def collect(
    models: Mapping[str, PreTrainedModel],
    backbone: PreTrainedModel,
    pairs: Sequence[Item],
    place: Place,
    budget: Budget,
    progress: str,
) -> dict[str, Activations]:
    """Sums over all tokens of `pairs` (chosen, rejected) in each of the models, and in their backbone beside them.

    A token of a shared prefix counts for both sides. All models must be on the place's device.
    """
    return budget.run(lambda tokens: _collect(models, backbone, pairs, place, tokens, progress))


def _collect(
    models: Mapping[str, PreTrainedModel],
    backbone: PreTrainedModel,
    pairs: Sequence[Item],
    place: Place,
    tokens: int,
    progress: str,
) -> dict[str, Activations]:
    sums = [_Sums(model, place.device) for model in models.values()]
    groups = batches([row_length(pair) for pair in pairs], tokens)
    with torch.inference_mode(), place.computing(), Progress(progress, len(groups)) as bar:
        for group in groups:
            rows = collate([pairs[index] for index in group]).to(place.device)
            _add(sums, backbone, rows)
            bar.advance(tokens=rows.input_ids.numel())
    return {
        name: Activations(one.side(CHOSEN), one.side(REJECTED))
        for name, one in zip(models, sums, strict=True)
    }


def _add(sums: Sequence["_Sums"], backbone: PreTrainedModel, rows: Rows) -> None:
    """All models in step, a layer at a time."""
    weights = torch.stack(
        [rows.belongs_to(CHOSEN), rows.belongs_to(REJECTED)]
    ).float()  # [2, tokens]
    passes = [
        activations_by_layer(model, lambda model=model: hidden_states(model, rows))  # type: ignore[misc]
        for model in (backbone, *(one.model for one in sums))
    ]
    for one in sums:
        one.tokens += weights.sum(dim=1).long()
    for layer, (before, *after) in enumerate(zip(*passes, strict=True)):
        for one, activations in zip(sums, after, strict=True):
            one.add(layer, activations[0].float(), before[0].float(), weights)


class _Sums:
    """Running sums of one model, on its device, which nobody waits for before the end."""

    def __init__(self, model: PreTrainedModel, device: torch.device) -> None:
        self.model = model
        # in float64, for a training split has 10^8 tokens; Apple's GPUs have none
        device = torch.device("cpu") if device.type == "mps" else device
        self._totals = torch.zeros(
            len(SUMS), 2, *neuron_shape(model), dtype=torch.float64, device=device
        )
        self.tokens = torch.zeros(2, dtype=torch.int64, device=device)

    def add(self, layer: int, a: Tensor, before: Tensor, weights: Tensor) -> None:
        """Activations float32 [tokens, neurons] of the RM and its backbone; weights [2, tokens]."""
        terms = {
            "sum": a,
            "abs_sum": a.abs(),
            "change_square_sum": (a - before).square(),
            "backbone_sum": before,
        }
        with torch.autocast(a.device.type, enabled=False):
            found = torch.stack([weights @ terms[name] for name in SUMS])
        self._totals[:, :, layer] += found.to(self._totals.device)

    def side(self, number: int) -> ActivationSums:
        totals = dict(zip(SUMS, self._totals[:, number].cpu().numpy(), strict=True))
        return ActivationSums(**totals, tokens=int(self.tokens[number]))
