"""Models of real shapes with random weights, and random texts of real lengths."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from rm_tension.base.config import Profile
from rm_tension.calibration import config_of
from rm_tension.cost import LENGTHS, Shape, shape_of
from rm_tension.data.sources import OFFICIAL
from rm_tension.model import attention
from rm_tension.model.fused import fuse
from rm_tension.model.rows import Item, Tokens

PAD = 0  # no text has this token
LIMIT = 1024  # tokens of a text
TINY = {"layers": 2, "width": 64, "mlp": 96, "heads": 4, "vocabulary": 97}


@dataclass(frozen=True)
class Material:
    """A backbone's shape, and texts of the lengths that its tokenizer gives the real ones."""

    shape: Shape
    tokenizer: str
    length: float = 1.0  # of a text, as a share of the real ones
    seed: int = 0

    @staticmethod
    def of(profile: Profile, backbone: str, tiny: bool = False) -> "Material":
        """Take a backbone of a profile; `tiny` shrinks all but whether heads share keys."""
        shape = shape_of(profile, backbone)
        if tiny:
            key_heads = 4 if shape.key_heads == shape.heads else 2
            shape = replace(shape, **TINY, key_heads=key_heads)
        source = profile.tokens.tokenizers[profile.backbones[backbone].tokenizer]
        length = 1 / 8 if tiny else 1.0
        return Material(shape, getattr(source, "repo", "miniature"), length)

    def with_layers(self, layers: int) -> "Material":
        """Return the same shape with fewer blocks."""
        return replace(self, shape=replace(self.shape, layers=min(layers, self.shape.layers)))

    def model(
        self, device: torch.device, dtype: torch.dtype = torch.float32, seed: int = 0
    ) -> PreTrainedModel:
        """Make a reward model on the device; weights depend on the seed and the device's kind."""
        torch.manual_seed(seed)
        with device:
            model = AutoModelForSequenceClassification.from_config(
                config_of(self.shape), attn_implementation=attention.NAME
            )
        return fuse(model.to(device, dtype)).eval()

    def pairs(self, count: int) -> list[Item]:
        """Return (chosen, rejected) pairs, of the four sources in the official proportion."""
        numbers = {
            f"{file.data_set}/{file.source}": file.rows[file.source]
            for file in OFFICIAL
            if file.split == "train"
        }
        pairs: list[Item] = []
        for data, number in _shares(numbers, count).items():
            pairs += self._items(data, ["chosen", "rejected"], number)
        order = np.random.default_rng(self.seed).permutation(len(pairs))
        return [pairs[number] for number in order]

    def benchmark_items(self, count: int) -> list[Item]:
        """Return prompts with all their answers, from the suites in proportion to their sizes."""
        numbers = {
            file.data_set: sum(file.rows.values())
            for file in OFFICIAL
            if file.split == "benchmarks"
        }
        items: list[Item] = []
        for data, number in _shares(numbers, count).items():
            answers = self._line(data, "answer")["count"] / self._line(data, "prefix")["count"]
            items += self._items(data, ["answer"] * round(answers), number)
        return items

    def _items(self, data: str, parts: Sequence[str], count: int) -> Iterator[Item]:
        """Yield items whose texts share a prefix, of lengths drawn from lengths.csv."""
        generator = np.random.default_rng([self.seed, *data.encode()])

        def draw(length: int) -> Tokens:
            return generator.integers(PAD + 1, self.shape.vocabulary, length).astype(np.int32)

        lengths = [self._lengths(data, part, count, generator) for part in ("prefix", *parts)]
        for prefix, *rests in zip(*lengths, strict=True):
            shared = draw(max(1, prefix))
            yield [np.concatenate([shared, draw(rest)])[: LIMIT - 1] for rest in rests]

    def _lengths(
        self, data: str, part: str, count: int, generator: np.random.Generator
    ) -> NDArray[np.int64]:
        percentiles = self._line(data, part).filter(regex=r"^p\d+$")
        levels = [int(name[1:]) / 100 for name in percentiles.index]
        drawn = np.interp(generator.random(count), levels, percentiles.astype(float))
        return (drawn * self.length).round().astype(np.int64)

    def _line(self, data: str, part: str) -> pd.Series:
        return _lengths().loc[(self.tokenizer, data, part)]


@cache
def _lengths() -> pd.DataFrame:
    return pd.read_csv(LENGTHS, comment="#").set_index(["tokenizer", "data", "part"])


def _shares(weights: Mapping[str, int], count: int) -> dict[str, int]:
    """Divide `count` in proportion to the weights."""
    ends = np.rint(np.cumsum([0, *weights.values()]) / sum(weights.values()) * count).astype(int)
    return dict(zip(weights, np.diff(ends).tolist(), strict=True))
