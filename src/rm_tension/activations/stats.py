"""All sums of METHOD.md section 4 in one pass; raw activations are never stored."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rm_tension.activations.sums import Activations, ActivationSums
from rm_tension.backbone.neurons import (
    neuron_shape,
    neurons_by_layer,
    on_activations,
    on_products,
)
from rm_tension.base.progress import Progress
from rm_tension.model.device import Compute, TokenBudget
from rm_tension.model.reward_model import hidden_states, takes_rows
from rm_tension.model.rows import Item, Rows, batches, collate, row_length

CHOSEN, REJECTED = BOTH = 0, 1
# Of an RM; backbone_sum is its backbone's
OWN_SUMS = ("sum", "abs_sum", "change_square_sum", "product_sum")


def collect(
    models: Mapping[str, PreTrainedModel],
    backbone: PreTrainedModel,
    pairs: Sequence[Item],
    compute: Compute,
    budget: TokenBudget,
    progress: str,
) -> dict[str, Activations]:
    """Sum over all tokens of `pairs` (chosen, rejected), in each model and in their backbone.

    A token of a shared prefix counts for both sides. All models must be on the place's device.
    """
    return budget.run(lambda tokens: _collect(models, backbone, pairs, compute, tokens, progress))


def _collect(
    models: Mapping[str, PreTrainedModel],
    backbone: PreTrainedModel,
    pairs: Sequence[Item],
    compute: Compute,
    tokens: int,
    progress: str,
) -> dict[str, Activations]:
    sums = _Sums(models, backbone, compute)
    layout: list[tuple[Sequence[int], list[Item]]]  # sides and items of each batch
    if all(map(takes_rows, (backbone, *models.values()))):
        groups = batches([row_length(pair) for pair in pairs], tokens)
        layout = [(BOTH, [pairs[index] for index in group]) for group in groups]
    else:
        layout = [([side], [[pair[side]]]) for pair in pairs for side in BOTH]
    with torch.inference_mode(), compute.autocast(), Progress(progress, len(layout)) as bar:
        for sides, items in layout:
            rows = collate(items).to(compute.device)
            sums.add(rows, sides)
            bar.advance(tokens=rows.input_ids.numel())
    return sums.by_model()


def _neurons(model: PreTrainedModel, rows: Rows) -> Iterable[tuple[Tensor, Tensor]]:
    """Return activations and products of each layer; of rows, whose blocks go alike, in step."""
    if takes_rows(model):
        return neurons_by_layer(model, lambda: hidden_states(model, rows))
    activations: list[Tensor] = []
    products: list[Tensor] = []
    with (
        on_activations(model, lambda _, one: activations.append(one)),
        on_products(model, products.append),
    ):
        hidden_states(model, rows)
    return zip(activations, products, strict=True)


def _by_token(neurons: Tensor) -> Tensor:
    """Return float32 [tokens, neurons]; OPT has no dimension for rows."""
    return neurons.flatten(end_dim=-2).float()


class _Sums:
    """Running sums of several models and their backbone, on their device, which never waits.

    Totals are float64, because a training split has 10^8 tokens.
    """

    def __init__(
        self, models: Mapping[str, PreTrainedModel], backbone: PreTrainedModel, compute: Compute
    ) -> None:
        self._models, self._backbone, self._compute = models, backbone, compute
        device = compute.float64_device
        shape = (2, *neuron_shape(backbone))  # sides, layers, neurons
        self._tokens = torch.zeros(2, dtype=torch.int64, device=device)
        self._of_backbone = torch.zeros(shape, dtype=torch.float64, device=device)
        self._of_models = torch.zeros(
            len(models), len(OWN_SUMS), *shape, dtype=torch.float64, device=device
        )

    def add(self, rows: Rows, sides_there: Sequence[int]) -> None:
        """Pass a batch through all models in step, a layer at a time."""
        sides = torch.stack([rows.belongs_to(CHOSEN), rows.belongs_to(REJECTED)])
        for absent in {*BOTH} - {*sides_there}:
            sides[absent] = False
        self._tokens += sides.sum(dim=1).to(self._tokens.device)
        weights = sides.float()  # [2, tokens]
        passes = [_neurons(model, rows) for model in (self._backbone, *self._models.values())]
        for layer, neurons in enumerate(zip(*passes, strict=True)):
            (before, _), *after = ([_by_token(one) for one in pair] for pair in neurons)
            with self._compute.float32():
                self._of_backbone[:, layer] += self._moved(weights @ before)
                for number, (a, product) in enumerate(after):
                    terms = (a, a.abs(), (a - before).square(), product)
                    found = torch.stack([weights @ term for term in terms])
                    self._of_models[number, :, :, layer] += self._moved(found)

    def by_model(self) -> dict[str, Activations]:
        """Return all sums, with the backbone's beside each model's."""
        backbone, models = self._of_backbone.cpu().numpy(), self._of_models.cpu().numpy()
        tokens = self._tokens.tolist()

        def side(number: int, which: int) -> ActivationSums:
            own = dict(zip(OWN_SUMS, models[number, :, which], strict=True))
            return ActivationSums(**own, backbone_sum=backbone[which], tokens=tokens[which])

        return {
            name: Activations(side(number, CHOSEN), side(number, REJECTED))
            for number, name in enumerate(self._models)
        }

    def _moved(self, sums: Tensor) -> Tensor:
        return sums.to(self._of_models.device)
