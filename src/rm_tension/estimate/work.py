"""What passes over rows of given lengths compute, in the batches that the stages make."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

import numpy as np

from rm_tension.estimate.lengths import Lengths
from rm_tension.estimate.shapes import Shape

SAMPLE = 4096  # rows that stand for all


@dataclass(frozen=True)
class Work:
    """`tokens` with their padding, the `attended` pairs of tokens, and the tokens of the largest batch."""

    tokens: float
    attended: float  # attention is dense within a padded row
    largest: int = 0

    def __add__(self, other: "Work") -> "Work":
        largest = max(self.largest, other.largest)
        return Work(self.tokens + other.tokens, self.attended + other.attended, largest)

    def __mul__(self, times: float) -> "Work":
        return Work(self.tokens * times, self.attended * times, self.largest)


def forward(shape: Shape, work: Work) -> float:
    """FLOP of a forward pass; the head reads one token a text, and there are no logits."""
    return 2 * shape.layers * (shape.block * work.tokens + 2 * shape.width * work.attended)


def one_pass(parts: Collection[Lengths], budget: int, width: int, rows_per_step: int | None = None) -> Work:
    """Over all rows of the parts, in batches of at most `budget` tokens, by a model of a width.

    Batches are made of all rows, or, as in training, of each `rows_per_step` random ones.
    """
    return _one_pass(tuple(parts), budget, width, rows_per_step)


@cache
def _one_pass(parts: tuple[Lengths, ...], budget: int, width: int, rows_per_step: int | None) -> Work:
    from rm_tension.model.rows import batches  # the stages' own; torch's import takes seconds

    rows = sum(part.rows for part in parts)
    sizes = [round(part.rows * min(1, SAMPLE / rows)) for part in parts]
    sample = np.concatenate([part.sample(size) for part, size in zip(parts, sizes, strict=True)])
    lengths = np.random.default_rng(0).permutation(sample)
    work = Work(0, 0)
    for start in range(0, len(lengths), rows_per_step or len(lengths)):
        step = lengths[start : start + (rows_per_step or len(lengths))]
        for group in batches(step.tolist(), budget, width):
            longest = int(step[group].max())
            work += Work(len(group) * longest, len(group) * longest**2, len(group) * longest)
    return work * (rows / len(lengths))
