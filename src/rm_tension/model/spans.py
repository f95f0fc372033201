"""Which tokens attend to which in a batch of rows, as the indices that attention kernels take."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Integers = NDArray[np.int64]
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Padded:
    """Some spans as a rectangle, one a line; what stands beyond a span's end counts for nothing.

    `queries` [spans, longest own] and `keys` [spans, most keys] are places in the batch, int64;
    `mask` is bool [spans, 1, longest own, most keys], None where plain causality says the same;
    `real` says where the spans' tokens stand among the queries, int64 [tokens].
    """

    queries: Tensor
    keys: Tensor
    mask: Tensor | None
    real: Tensor


@dataclass(frozen=True)
class Spans:
    """Spans that lie end to end and cover the batch.

    The keys of each are its context, then its own tokens; a context is the beginning of a span, of
    which the answers' prefix is a part. `start` is the first token of the context, `context` and
    `own`, which is at least one, are numbers of tokens: [spans] each.
    """

    start: Integers
    context: Integers
    own: Integers
    device: torch.device = CPU

    @staticmethod
    def of(spans: Iterable[tuple[int, int, int]]) -> "Spans":
        """Make spans of (start, context, own); those without tokens of their own are left out."""
        return Spans(*np.array([span for span in spans if span[2]], dtype=np.int64).T)

    def to(self, device: torch.device) -> "Spans":
        """Return the same spans with indices on another device, and none computed yet."""
        return replace(self, device=device)

    @property
    def keys(self) -> Integers:
        """Number of keys: [spans]."""
        return self.context + self.own

    @property
    def longest(self) -> tuple[int, int]:
        """The most queries and the most keys of a span."""
        return int(self.own.max()), int(self.keys.max())

    @property
    def shared(self) -> bool:
        """Whether there is any context."""
        return bool(self.context.any())

    @cached_property
    def masks(self) -> list[Tensor | None]:
        """What each span adds to its scores on the CPU: 0 or minus infinity, [own, context + own].

        None where there is no context and plain causality says the same.
        """
        return [
            torch.full((own, context + own), -torch.inf).triu(context + 1) if context else None
            for context, own in zip(self.context.tolist(), self.own.tolist(), strict=True)
        ]

    @cached_property
    def query_ends(self) -> Tensor:
        """cu_seqlens of the queries: int32 [spans + 1]."""
        return self._cumulated(self.own)

    @cached_property
    def key_ends(self) -> Tensor:
        """cu_seqlens of the keys, among `key_places`: int32 [spans + 1]."""
        return self._cumulated(self.keys)

    @cached_property
    def key_places(self) -> Tensor:
        """The keys of all spans, end to end: int64 [keys], places in the batch."""
        begin = self._begin
        ranges = []
        for start, context, first, own in zip(
            self.start, self.context, begin, self.own, strict=True
        ):
            ranges += [np.arange(start, start + context), np.arange(first, first + own)]
        return self._tensor(np.concatenate(ranges))

    @cached_property
    def padded(self) -> list[Padded]:
        """The spans without context, and the others."""
        return [self._rectangle(numbers) for numbers in self._kinds]

    @cached_property
    def unpadded(self) -> Tensor:
        """Where each token of the batch stands among those of `padded`: int64 [tokens]."""
        begin = self._begin
        runs = [
            np.arange(begin[number], begin[number] + self.own[number])
            for number in np.concatenate(self._kinds)
        ]
        return self._tensor(np.argsort(np.concatenate(runs)))

    @property
    def _kinds(self) -> list[Integers]:
        """Numbers of the spans without context, and of the others."""
        kinds = (np.flatnonzero(self.context == 0), np.flatnonzero(self.context))
        return [kind for kind in kinds if len(kind)]

    def _rectangle(self, numbers: Integers) -> Padded:
        begin, start, context, own = (
            of[numbers, None] for of in (self._begin, self.start, self.context, self.own)
        )
        last = self.own.sum() - 1  # token of the batch
        query, key = np.arange(own.max()), np.arange((context + own).max())
        keys = np.where(key < context, start + key, np.minimum(begin - context + key, last))
        mask = None
        if context.any():  # made on the device: a mask is megabytes, its bounds are not
            bounds = self._tensor(context + query)[:, None, :, None]
            mask = torch.arange(len(key), device=self.device) <= bounds
        return Padded(
            queries=self._tensor(np.minimum(begin + query, last)),
            keys=self._tensor(keys),
            mask=mask,
            real=self._tensor(np.flatnonzero(query < own)),
        )

    @property
    def _begin(self) -> Integers:
        """First own token: [spans]."""
        return np.cumsum(self.own) - self.own

    def _cumulated(self, counts: Integers) -> Tensor:
        return self._tensor(np.cumsum([0, *counts]).astype(np.int32))

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)  # a GPU need not wait
