"""Texts to rewards, in evaluation."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import PreTrainedModel

from rm_tension.model.device import Budget
from rm_tension.model.reward_model import rewards
from rm_tension.model.rows import Item, Rows, row_batches, split

Batches = list[tuple[list[int], Rows]]
ROW_TOKENS = 2048  # in one row: two texts of the length limit always fit


class Scorer:
    """A set of items laid out once, to be scored under many ablations.

    Time and memory grow with the tokens, also of an item with a thousand answers. Equal texts of an item are scored
    once, so that rounding never decides between them. Rewards come back flat, item by item, text by text.
    """

    def __init__(self, items: Sequence[Item], budget: Budget) -> None:
        self._budget = budget
        self._rows: list[Item] = []
        copies: list[int] = []
        count = 0
        for item in items:
            distinct = {text.tobytes(): text for text in item}
            number = {text: count + place for place, text in enumerate(distinct)}
            copies += [number[text.tobytes()] for text in item]
            self._rows += split(list(distinct.values()), ROW_TOKENS)
            count += len(distinct)
        self._copies = np.array(copies, dtype=np.int64)
        self._starts = np.cumsum([0, *map(len, self._rows)])
        self._lay_out = cache(lambda tokens: list(row_batches(self._rows, tokens)))

    def score(self, model: PreTrainedModel, accelerator: Accelerator, progress: str) -> NDArray[np.float32]:
        """Rewards of all texts: float32 [texts]. `progress` labels the bar."""
        return self._budget.run(lambda tokens: self._score(self._lay_out(tokens), model, accelerator, progress))

    def _score(
        self, batches: Batches, model: PreTrainedModel, accelerator: Accelerator, progress: str
    ) -> NDArray[np.float32]:
        scores = np.full(self._starts[-1], np.nan, dtype=np.float32)
        for indices, rows in tqdm(batches, desc=progress, leave=False, disable=None):
            with torch.inference_mode(), accelerator.autocast():
                found = rewards(model, rows.to(accelerator.device)).cpu().numpy()
            places = [np.arange(self._starts[index], self._starts[index + 1]) for index in indices]
            scores[np.concatenate(places)] = found
        return scores[self._copies]
