"""What passes over rows of given lengths compute."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from rm_tension.estimate.lengths import Lengths
from rm_tension.estimate.shapes import Shape

SAMPLE = 4096  # rows that stand for all


@dataclass(frozen=True)
class Work:
    """`tokens`, the `attended` pairs of tokens that see each other, and the tokens of the largest batch."""

    tokens: float
    attended: float
    largest: int = 0

    def __add__(self, other: "Work") -> "Work":
        largest = max(self.largest, other.largest)
        return Work(self.tokens + other.tokens, self.attended + other.attended, largest)

    def __mul__(self, times: float) -> "Work":
        return Work(self.tokens * times, self.attended * times, self.largest)


def forward(shape: Shape, work: Work) -> float:
    """FLOP of a forward pass; the head reads one token a text, and there are no logits."""
    return 2 * shape.layers * (shape.block * work.tokens + 2 * shape.width * work.attended)


def one_pass(parts: Collection[Lengths], budget: int, rows_per_step: int | None = None) -> Work:
    """Over all rows of the parts, in batches of at most `budget` tokens: of all rows, or of some random ones a step."""
    rows = sum(part.rows for part in parts)
    if not rows:
        return Work(0, 0)
    samples = [part.sample(round(part.rows * min(1, SAMPLE / rows))) for part in parts]
    lengths = np.concatenate(samples)
    attended = sum(
        float((sample**2).sum()) * part.seen for part, sample in zip(parts, samples, strict=True)
    )
    size = rows_per_step or len(lengths)
    mixed = np.random.default_rng(0).permutation(lengths)
    fullest = max(mixed[start : start + size].sum() for start in range(0, len(mixed), size))
    largest = int(max(lengths.max(), min(budget, fullest)))
    return Work(float(lengths.sum()), attended, largest) * (rows / len(lengths))
