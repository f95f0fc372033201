"""Texts to rewards, in evaluation."""

from collections.abc import Sequence
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from rm_tension.base.progress import Progress
from rm_tension.model.device import Compute, TokenBudget
from rm_tension.model.reward_model import rewards, takes_rows
from rm_tension.model.rows import Item, Rows, row_batches, split

Batches = list[tuple[NDArray[np.int64], Rows]]  # with the indices of their texts


class Scorer:
    """A set of items laid out once, to be scored under many ablations.

    Time and memory grow with the tokens, also of an item with a thousand answers. Equal texts of an
    item are scored once, so that rounding never decides between them.
    """

    def __init__(self, items: Sequence[Item], budget: TokenBudget) -> None:
        self._budget = budget
        self._items: list[Item] = []  # without equal texts
        copies: list[int] = []
        count = 0
        for item in items:
            distinct = {text.tobytes(): text for text in item}
            number = {text: count + index for index, text in enumerate(distinct)}
            copies += [number[text.tobytes()] for text in item]
            self._items.append(list(distinct.values()))
            count += len(distinct)
        self._copies = np.array(copies, dtype=np.int64)
        self._lay_out = cache(partial(_lay_out, self._items))

    def score(self, model: PreTrainedModel, compute: Compute, progress: str) -> NDArray[np.float32]:
        """Return the rewards of all texts, item by item: float32 [texts]; `progress` is a label."""

        def score(tokens: int) -> NDArray[np.float32]:
            batches = self._lay_out(tokens if takes_rows(model) else 1, compute.device)
            return self._score(batches, model, compute, progress)

        return self._budget.run(score)

    def _score(
        self, batches: Batches, model: PreTrainedModel, compute: Compute, progress: str
    ) -> NDArray[np.float32]:
        scored: list[Tensor] = []
        bar = Progress(progress, len(batches))
        with torch.inference_mode(), compute.autocast(), bar:
            for _, rows in batches:
                # the masks that a pass makes go with this copy: those of all would fill the memory
                scored.append(rewards(model, rows.to(compute.device)))
                bar.advance(tokens=rows.input_ids.numel())
            flat = torch.cat(scored).cpu().numpy()  # the one time that the device is waited for
        order = np.concatenate([texts for texts, _ in batches])
        return flat[np.argsort(order)][self._copies]


def _lay_out(items: Sequence[Item], budget: int, device: torch.device) -> Batches:
    rows = [row for item in items for row in split(item, budget)]
    starts = np.cumsum([0, *map(len, rows)])
    batches: Batches = []
    for indices, batch in row_batches(rows, budget):
        texts = np.concatenate([np.arange(starts[row], starts[row + 1]) for row in indices])
        batches.append((texts, batch.to(device)))
    return batches
