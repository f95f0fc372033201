"""Shared-prefix rows: the only way texts reach a model.

The answers to one prompt begin with the same tokens. A row holds that prefix once, followed by the
rest of each answer:

    tokens      p p p p a a a b b          prefix p, answers pppp aaa and pppp bb
    segments    0 0 0 0 1 1 1 2 2
    positions   0 1 2 3 4 5 6 4 5

A token sees the earlier tokens of the prefix and of its own segment, nothing else, so each answer
gets exactly the hidden states that it would have on its own, and the prefix is computed once. The
rows of a batch lie end to end, without padding; `Spans` says who sees whom, and attention.py
computes it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rm_tension.model.spans import Spans

Tokens = NDArray[np.int32]  # one tokenised text
# The tokenised texts that share a row: (chosen, rejected), or the answers to a prompt
Item = Sequence[Tokens]

PREFIX = 0  # segment
# Tokens of a prefix by those of the longest answer behind it: CPUs attend to a shorter one through
# a mask that costs more than sharing saves (docs/PERFORMANCE.md).
LEAST_SHARED = 1 / 8


def prefix_length(item: Item) -> int:
    """Return the number of leading tokens that all texts of the item share."""
    shortest = min(len(text) for text in item)
    same = np.logical_and.reduce([text[:shortest] == item[0][:shortest] for text in item])
    return shortest if same.all() else int(np.argmin(same))


def row_length(item: Item) -> int:
    """Return the number of tokens in the item's row."""
    return sum(len(text) for text in item) - (len(item) - 1) * prefix_length(item)


def token_count(items: Sequence[Item]) -> int:
    """Count the tokens of all texts, each prefix once for every text that it belongs to."""
    return sum(len(text) for item in items for text in item)


def split(item: Item, budget: int) -> Iterator[Item]:
    """Yield the item's rows of at most `budget` tokens each, or of one text that is longer.

    Texts that share next to nothing get rows of their own (LEAST_SHARED).
    """
    prefix = prefix_length(item)
    if prefix * (1 + LEAST_SHARED) < LEAST_SHARED * max(map(len, item)):
        yield from ([text] for text in item)
        return
    row: list[Tokens] = []
    length = prefix
    for text in item:
        if row and length + len(text) - prefix > budget:
            yield row
            row, length = [], prefix
        row.append(text)
        length += len(text) - prefix
    yield row


def batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Return indices of rows in batches of at most `budget` tokens, longest rows first.

    A row that is longer than the budget is a batch of its own.
    """
    groups: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if lengths[index] > room:
            groups.append([])
            room = budget
        groups[-1].append(index)
        room -= lengths[index]
    return groups


@dataclass(frozen=True)
class Rows:
    """A batch of rows, end to end, with where the reward of each text is read.

    Texts are in the order of the items.
    """

    input_ids: Tensor  # int64 [1, tokens]
    position_ids: Tensor  # int64 [1, tokens]
    segments: Tensor  # int64 [tokens]: 0 prefix, k the row's k-th text
    last: Tensor  # int64 [texts]: place of the text's last token
    spans: Spans

    def to(self, device: torch.device) -> "Rows":
        tensors = ("input_ids", "position_ids", "segments", "last")
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in tensors}
        return replace(self, **moved, spans=self.spans.to(device))

    def belongs_to(self, text: int) -> Tensor:
        """Say which tokens are part of their row's text number `text` (from 0): bool [tokens]."""
        return (self.segments == PREFIX) | (self.segments == text + 1)


def collate(items: Sequence[Item]) -> Rows:
    """Lay the items out as one batch; ValueError for an empty text, which has no last token."""
    ids: list[Tokens] = []
    positions, segments, last, spans = [], [], [], []
    start = 0  # of the row
    for item in items:
        if min(map(len, item)) == 0:
            raise ValueError("a text without tokens has no reward")
        prefix = end = prefix_length(item)
        ids.append(item[0][:prefix])
        positions.append(np.arange(prefix))
        segments.append(np.full(prefix, PREFIX))
        for number, text in enumerate(item, start=1):
            own = len(text) - prefix
            ids.append(text[prefix:])
            positions.append(np.arange(prefix, len(text)))
            segments.append(np.full(own, number))
            # the first text stands right behind the prefix, and is one run with it
            spans.append((start, 0, len(text)) if number == 1 else (start, prefix, own))
            end += own
            last.append(start + (end if own else prefix) - 1)
        start += end
    return Rows(
        _tensor(ids)[None],
        _tensor(positions)[None],
        _tensor(segments),
        torch.tensor(last),
        Spans.of(spans),
    )


def _tensor(runs: Sequence[NDArray[Any]]) -> Tensor:
    return torch.from_numpy(np.concatenate(runs).astype(np.int64))


def row_batches(items: Sequence[Item], budget: int) -> Iterator[tuple[list[int], Rows]]:
    """Yield batches of rows, one for each item, with the indices of their items."""
    for indices in batches([row_length(item) for item in items], budget):
        yield indices, collate([items[index] for index in indices])
