"""Who sees whom in a batch of rows, as the indices that attention kernels ask for."""

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
class Span:
    """A run of tokens: each sees all of the context, and of the run itself what is not behind it."""

    context: int  # number of tokens, the first ones of
    home: int  # the number of a span
    mask: (
        Tensor | None
    )  # bool [own, context + own]; None where there is no context and plain causality says the same


@dataclass(frozen=True)
class Padded:
    """Some spans as a rectangle with a line for each; beyond the end of a line stand tokens that count for nothing."""

    queries: Tensor  # int64 [spans, longest own]: places in the batch
    keys: Tensor  # int64 [spans, most keys]: places in the batch
    mask: (
        Tensor | None
    )  # bool [spans, 1, longest own, most keys]; None where plain causality says the same
    real: Tensor  # int64 [tokens]: where the spans' tokens stand among the queries


@dataclass(frozen=True)
class Spans:
    """Spans that lie end to end and cover the batch. The keys of each are its context, then its own tokens.

    A context is the beginning of a span, of which its answers' prefix is a part.
    """

    start: Integers  # [spans]: first token of the context
    context: Integers  # [spans]: its number of tokens
    own: Integers  # [spans]: number of own tokens, at least one
    device: torch.device = CPU

    @staticmethod
    def of(spans: Iterable[tuple[int, int, int]]) -> "Spans":
        """From start, context and own of each; those without tokens of their own are left out."""
        return Spans(*np.array([span for span in spans if span[2]], dtype=np.int64).T)

    def to(self, device: torch.device) -> "Spans":
        return replace(self, device=device)

    @property
    def keys(self) -> Integers:
        """Number of keys: [spans]."""
        return self.context + self.own

    @property
    def shared(self) -> bool:
        """Whether there is any context."""
        return bool(self.context.any())

    @cached_property
    def each(self) -> list[Span]:
        """One by one, with masks in the machine's memory."""
        homes = np.searchsorted(self._begin, self.start)
        found = []
        for context, own, home in np.stack([self.context, self.own, homes], axis=1).tolist():
            mask = (
                torch.ones(own, context + own, dtype=torch.bool).tril(context) if context else None
            )
            found.append(Span(context, home, mask))
        return found

    @cached_property
    def query_ends(self) -> Tensor:
        """Where the queries of each span end, after a 0: int32 [spans + 1]."""
        return self._ends(self.own)

    @cached_property
    def key_ends(self) -> Tensor:
        """Where the keys of each span end among `key_places`, after a 0: int32 [spans + 1]."""
        return self._ends(self.keys)

    @cached_property
    def key_places(self) -> Tensor:
        """The keys of all spans, end to end: int64 [keys], places in the batch."""
        ranges = zip(
            self.start, self.start + self.context, self._begin, self._begin + self.own, strict=True
        )
        return self._tensor(np.concatenate([np.r_[a:b, c:d] for a, b, c, d in ranges]))

    @cached_property
    def padded(self) -> list[Padded]:
        """The spans without context, and the others."""
        return [self._rectangle(chosen) for chosen in self._kinds]

    @cached_property
    def unpadded(self) -> Tensor:
        """Where each token of the batch stands among those of `padded`: int64 [tokens]."""
        runs = [
            np.arange(self._begin[one], self._begin[one] + self.own[one])
            for kind in self._kinds
            for one in kind
        ]
        return self._tensor(np.argsort(np.concatenate(runs)))

    @property
    def _kinds(self) -> list[Integers]:
        """Numbers of the spans without context, and of the others."""
        kinds = (np.flatnonzero(self.context == 0), np.flatnonzero(self.context))
        return [kind for kind in kinds if len(kind)]

    def _rectangle(self, chosen: Integers) -> Padded:
        begin, start, context, size = (
            of[chosen, None] for of in (self._begin, self.start, self.context, self.own)
        )
        last = self.own.sum() - 1  # token of the batch
        own, keys = np.arange(size.max()), np.arange((context + size).max())
        places = np.where(keys < context, start + keys, np.minimum(begin - context + keys, last))
        mask = self._tensor(keys <= (context + own)[:, None, :, None]) if context.any() else None
        queries, real = np.minimum(begin + own, last), np.flatnonzero(own < size)
        return Padded(self._tensor(queries), self._tensor(places), mask, self._tensor(real))

    @property
    def _begin(self) -> Integers:
        """First own token: [spans]."""
        return np.cumsum(self.own) - self.own

    def _ends(self, counts: Integers) -> Tensor:
        return self._tensor(np.cumsum([0, *counts]).astype(np.int32))

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)  # a GPU need not wait
