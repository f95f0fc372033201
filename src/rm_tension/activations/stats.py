"""One pass over an RM's training pairs, all sums of METHOD.md section 4. Raw activations are never stored."""

from collections.abc import Sequence
from dataclasses import fields

import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedModel

from rm_tension.activations.sums import Activations, ActivationSums
from rm_tension.backbone.neurons import neuron_shape, on_activations
from rm_tension.model.device import Budget
from rm_tension.model.reward_model import hidden_states
from rm_tension.model.rows import Item, Rows, row_batches

CHOSEN, REJECTED = 0, 1
SUMS = [field.name for field in fields(ActivationSums) if field.name != "tokens"]


def collect(
    model: PreTrainedModel,
    backbone: PreTrainedModel,
    pairs: Sequence[Item],
    accelerator: Accelerator,
    budget: Budget,
    progress: str,
) -> Activations:
    """Sums over all tokens of `pairs` (chosen, rejected), with those of `backbone` on the same tokens beside them.

    A token of a shared prefix counts for both sides. `model` and `backbone` must be on the accelerator's device.
    """
    return budget.run(lambda tokens: _collect(model, backbone, pairs, accelerator, tokens, progress))


def _collect(
    model: PreTrainedModel,
    backbone: PreTrainedModel,
    pairs: Sequence[Item],
    accelerator: Accelerator,
    tokens: int,
    progress: str,
) -> Activations:
    sums = _Sums(*neuron_shape(model))
    batches = list(row_batches(pairs, tokens, model.config.hidden_size))
    for _, rows in tqdm(batches, desc=progress, leave=False, disable=None):
        batch = rows.to(accelerator.device)
        sums.start(batch)
        with torch.inference_mode(), accelerator.autocast():
            with on_activations(backbone, sums.remember):
                hidden_states(backbone, batch)
            with on_activations(model, sums.add):
                hidden_states(model, batch)
    return Activations(sums.side(CHOSEN), sums.side(REJECTED))


class _Sums:
    """Running sums. For each batch: `start`, `remember` for each layer of the backbone, `add` for each of the RM."""

    def __init__(self, layers: int, neurons: int) -> None:
        # float64 on the CPU: some accelerators have none, and a training split has 10^8 tokens
        self._totals = torch.zeros(len(SUMS), 2, layers, neurons, dtype=torch.float64)
        self._tokens = torch.zeros(2, dtype=torch.int64)
        self._before: dict[int, Tensor] = {}

    def start(self, rows: Rows) -> None:
        sides = torch.stack([rows.belongs_to(CHOSEN), rows.belongs_to(REJECTED)])  # bool [2, rows, length]
        self._real = sides.any(dim=0)
        self._weights = sides[:, self._real].float()  # [2, tokens]
        self._tokens += self._weights.sum(dim=1).long().cpu()

    def remember(self, layer: int, activations: Tensor) -> None:
        self._before[layer] = activations[self._real]

    def add(self, layer: int, activations: Tensor) -> None:
        a = activations[self._real].float()  # [tokens, neurons]
        before = self._before.pop(layer).float()
        terms = {
            "sum": a,
            "abs_sum": a.abs(),
            "change_square_sum": (a - before).square(),
            "backbone_sum": before,
        }
        with torch.autocast(a.device.type, enabled=False):
            self._totals[:, :, layer] += torch.stack([self._weights @ terms[name] for name in SUMS]).cpu()

    def side(self, number: int) -> ActivationSums:
        totals = {name: self._totals[i, number].numpy() for i, name in enumerate(SUMS)}
        return ActivationSums(**totals, tokens=int(self._tokens[number]))
