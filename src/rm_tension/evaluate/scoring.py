"""Texts to rewards, in evaluation."""

from collections.abc import Sequence

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import PreTrainedModel

from rm_tension.model.reward_model import rewards
from rm_tension.model.rows import Item, row_batches


class Scorer:
    """A set of items laid out once, to be scored under many ablations.

    `counts` [items] says how many texts each item has; rewards come back flat, item by item, text by text.
    """

    def __init__(self, items: Sequence[Item], budget: int) -> None:
        self.counts = np.array([len(item) for item in items], dtype=np.int64)
        self._batches = list(row_batches(items, budget))
        self._starts = np.concatenate([[0], np.cumsum(self.counts)])

    def score(self, model: PreTrainedModel, accelerator: Accelerator, progress: str) -> NDArray[np.float32]:
        """Rewards of all texts: float32 [texts]. `progress` labels the bar."""
        scores = np.full(self._starts[-1], np.nan, dtype=np.float32)
        for indices, rows in tqdm(self._batches, desc=progress, leave=False, disable=None):
            with torch.inference_mode(), accelerator.autocast():
                found = rewards(model, rows.to(accelerator.device)).cpu().numpy()
            places = [np.arange(self._starts[index], self._starts[index + 1]) for index in indices]
            scores[np.concatenate(places)] = found
        return scores
