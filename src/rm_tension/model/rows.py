"""Shared-prefix rows: the only way texts reach a model.

The answers to one prompt begin with the same tokens. A row holds that prefix once, followed by the rest of each answer:

    tokens      p p p p a a a b b          prefix p, answers pppp aaa and pppp bb
    segments    0 0 0 0 1 1 1 2 2
    positions   0 1 2 3 4 5 6 4 5

A token sees the earlier tokens of the prefix and of its own segment, nothing else, so each answer gets exactly the
hidden states that it would have on its own, and the prefix is computed once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Tokens = NDArray[np.int32]  # one tokenised text
Item = Sequence[Tokens]  # the tokenised texts that share a row: (chosen, rejected), or the answers to a prompt

PREFIX, PADDING = 0, -1
ROW_TOKENS = 2048  # two texts of the length limit
LAUNCH = 256  # tokens: what one more batch costs, whatever is in it


def prefix_length(item: Item) -> int:
    """Number of leading tokens that all texts of the item share."""
    shortest = min(len(text) for text in item)
    same = np.logical_and.reduce([text[:shortest] == item[0][:shortest] for text in item])
    return shortest if same.all() else int(np.argmin(same))


def row_length(item: Item) -> int:
    """Tokens in the item's row."""
    return sum(len(text) for text in item) - (len(item) - 1) * prefix_length(item)


def token_count(items: Sequence[Item]) -> int:
    """Tokens of all texts, each prefix counted once for every text that it belongs to."""
    return sum(len(text) for item in items for text in item)


def row_cost(length: int, width: int) -> float:
    """What a row costs a model of this width, in tokens without attention.

    A block computes 24 width^2 FLOP for a token and 4 width for each pair of tokens, all of which a mask is laid over.
    """
    return length + length**2 / (6 * width)


def split(item: Item, width: int) -> Iterator[Item]:
    """The item in one or several rows: a text shares a row where its prefix saves more than its attention costs.

    No row of several texts has more than ROW_TOKENS, so that time and memory grow with an item's tokens.
    """
    prefix = prefix_length(item)
    row: list[Tokens] = []
    length = prefix
    for text in item:
        longer = length + len(text) - prefix
        alone = row_cost(len(text), width)
        if row and (longer > ROW_TOKENS or row_cost(longer, width) - row_cost(length, width) > alone):
            yield row
            row, longer = [], len(text)
        row.append(text)
        length = longer
    yield row


def batches(lengths: Sequence[int], budget: int, width: int) -> list[list[int]]:
    """Indices of rows of these lengths in batches of at most `budget` tokens including padding, longest rows first.

    They are the cheapest groups of rows sorted by length, found by dynamic programming: a batch costs what its rows
    cost at the longest one's length, and LAUNCH. A row that is longer than the budget is a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    best = np.full(len(order) + 1, np.inf)  # of the first rows
    best[0] = 0
    start = np.zeros(len(order) + 1, dtype=np.int64)  # of the batch that ends there
    for first, index in enumerate(order):
        most = min(max(1, budget // lengths[index]), len(order) - first)
        found = best[first] + LAUNCH + np.arange(1, most + 1) * row_cost(lengths[index], width)
        ends = np.arange(first + 1, first + most + 1)[found < best[first + 1 : first + most + 1]]
        best[ends] = found[ends - first - 1]
        start[ends] = first
    groups: list[list[int]] = []
    end = len(order)
    while end:
        groups.append(order[start[end] : end])
        end = int(start[end])
    return groups[::-1]


@dataclass(frozen=True)
class Rows:
    """A batch of rows, and where in it the reward of each text is read (texts in the order of the items)."""

    input_ids: Tensor  # int64 [rows, length]
    position_ids: Tensor  # int64 [rows, length]
    segments: Tensor  # int64 [rows, length]: 0 prefix, k the k-th text, -1 padding
    text_row: Tensor  # int64 [texts]
    text_last: Tensor  # int64 [texts]: column of the text's last token

    def to(self, device: torch.device) -> "Rows":
        return Rows(*(tensor.to(device, non_blocking=True) for tensor in self.__dict__.values()))

    def attention_mask(self) -> Tensor:
        """Which token may attend to which: bool [rows, 1, length, length]."""
        length = self.segments.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=self.segments.device).tril()
        query, key = self.segments[:, :, None], self.segments[:, None, :]
        # Padding attends to padding, too: a row of the mask without a single True would give NaN.
        return (causal & ((key == PREFIX) | (key == query)))[:, None]

    def belongs_to(self, text: int) -> Tensor:
        """Whether each token is part of the row's text number `text` (from 0): bool [rows, length]."""
        return (self.segments == PREFIX) | (self.segments == text + 1)


def collate(items: Sequence[Item], pad_id: int = 0) -> Rows:
    """Lay the items out as one batch; raises ValueError for an empty text, which has no last token."""
    length = max(map(row_length, items))
    ids = np.full((len(items), length), pad_id, dtype=np.int64)
    positions = np.zeros_like(ids)
    segments = np.full_like(ids, PADDING)
    text_row, text_last = [], []
    for row, item in enumerate(items):
        if min(map(len, item)) == 0:
            raise ValueError("a text without tokens has no reward")
        prefix = end = prefix_length(item)
        _fill(ids[row], positions[row], segments[row], item[0][:prefix], column=0, position=0, segment=PREFIX)
        for number, text in enumerate(item, start=1):
            _fill(ids[row], positions[row], segments[row], text[prefix:], column=end, position=prefix, segment=number)
            end += len(text) - prefix
            text_row.append(row)
            text_last.append(end - 1 if len(text) > prefix else prefix - 1)
    return Rows(*map(torch.as_tensor, (ids, positions, segments, np.array(text_row), np.array(text_last))))


def _fill(
    ids: NDArray[np.int64],
    positions: NDArray[np.int64],
    segments: NDArray[np.int64],
    tokens: Tokens,
    *,
    column: int,
    position: int,
    segment: int,
) -> None:
    place = slice(column, column + len(tokens))
    ids[place] = tokens
    positions[place] = np.arange(position, position + len(tokens))
    segments[place] = segment


def row_batches(items: Sequence[Item], budget: int, width: int) -> Iterator[tuple[list[int], Rows]]:
    """Batches of rows, one for each item, with the indices of their items; `width` is the model's."""
    for indices in batches([row_length(item) for item in items], budget, width):
        yield indices, collate([items[index] for index in indices])
