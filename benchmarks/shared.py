"""What all tasks share: models of a real shape with random weights, and random texts of real lengths."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from rm_tension.base.config import HH, Precision
from rm_tension.calibration import config_of
from rm_tension.cost import LENGTHS, SHAPES, Shape
from rm_tension.data.sources import OFFICIAL
from rm_tension.model import attention
from rm_tension.model.device import Place
from rm_tension.model.rows import Item, Tokens

REAL = "HuggingFaceTB/SmolLM2-135M"
TINY = "miniature"  # as lengths.csv calls it
TINY_SHAPE = Shape(
    "llama",
    layers=2,
    width=32,
    mlp=80,
    heads=4,
    key_heads=2,
    vocabulary=300,
    positions=1024,
    dtype="float32",
)
PAD = 0  # no text has this token; as in `config_of`
LIMIT = 1024  # tokens of a text
CHANGE = 0.1  # of a weight, from the backbone to the reward model: standard deviation of its share


@dataclass(frozen=True)
class Setting:
    """Where and how all sides compute; `budget`: tokens that go through a model together, where a side may choose."""

    device: str
    precision: Precision
    threads: int
    budget: int

    @property
    def place(self) -> Place:
        return Place(torch.device(self.device), self.precision)


@dataclass(frozen=True)
class Material:
    """A reward model, its backbone and a tokenizer, in the parent's memory; each side has its own copy of them."""

    model: PreTrainedModel
    backbone: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    setting: Setting

    def plain(self) -> tuple[PreTrainedModel, PreTrainedModel]:
        """RM and backbone with transformers' own attention, for what has nothing of ours."""
        for model in (self.model, self.backbone):
            model.set_attn_implementation("sdpa")
        return self.model, self.backbone


def real_shape(blocks: int | None) -> Shape:
    """SmolLM2-135M's, or so many of its blocks with as large a part of its vocabulary, so that all costs keep their
    proportions."""
    shape = SHAPES[REAL]
    if blocks is None:
        return shape
    return replace(shape, layers=blocks, vocabulary=shape.vocabulary * blocks // shape.layers)


def make_material(shape: Shape, setting: Setting) -> Material:
    """Random weights, the same in every run."""
    torch.manual_seed(0)
    config = config_of(shape)
    config.problem_type = "regression"  # or the pipeline would give the sigmoid of a reward
    backbone = AutoModelForSequenceClassification.from_config(
        config, attn_implementation=attention.NAME
    )
    model = copy.deepcopy(backbone)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1 + CHANGE * torch.randn_like(weight))
    return Material(model.eval(), backbone.eval(), _tokenizer(shape.vocabulary), setting)


def _tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """A word for each token."""
    tokenizer = Tokenizer(
        WordLevel({_word(token): token for token in range(vocabulary)}, unk_token=_word(PAD))
    )
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=_word(PAD),
        model_input_names=["input_ids", "attention_mask"],
    )


def _word(token: int) -> str:
    return f"w{token}"


def words(text: Tokens) -> str:
    """The string of which the tokenizer makes these tokens."""
    return " ".join(map(_word, text.tolist()))


@dataclass(frozen=True)
class Texts:
    """Random texts of the lengths that lengths.csv has for a tokenizer; texts of an item begin with its prefix."""

    tokenizer: str
    vocabulary: int
    generator: np.random.Generator

    def hh_pairs(self, count: int) -> list[Item]:
        """(chosen, rejected) pairs, from the four sources in proportion to their official training files."""
        rows = {
            file.source_and_split: n
            for file in OFFICIAL
            if file.data_set == "hh_rlhf"
            for n in file.rows.values()
        }
        train = {
            f"{HH}/{source}": number for (source, split), number in rows.items() if split == "train"
        }
        return [
            item
            for data, number in _shares(train, count).items()
            for item in self._items(data, ["chosen", "rejected"], number)
        ]

    def benchmark_items(self, count: int) -> list[Item]:
        """Prompts with all their answers, from the suites in proportion to their official numbers of items."""
        rows = {
            file.data_set.replace("_", "-"): sum(file.rows.values())
            for file in OFFICIAL
            if file.data_set != "hh_rlhf"
        }
        found: list[Item] = []
        for data, number in _shares(rows, count).items():
            answers = self._line(data, "answer")["count"] / self._line(data, "prefix")["count"]
            found += self._items(data, ["answer"] * round(answers), number)
        return found

    def _items(self, data: str, parts: Sequence[str], count: int) -> Iterator[Item]:
        lengths = [self._lengths(data, part, count) for part in ("prefix", *parts)]
        for prefix, *rests in zip(*lengths, strict=True):
            shared = self._draw(prefix)
            yield [np.concatenate([shared, self._draw(rest)])[: LIMIT - 1] for rest in rests]

    def _lengths(self, data: str, part: str, count: int) -> NDArray[np.int64]:
        """Drawn from the distribution, its longest too: how much is padded depends on them."""
        line = self._line(data, part)
        levels = [int(name[1:]) / 100 for name in line if name[1:].isdigit()]
        tokens = [line[name] for name in line if name[1:].isdigit()]
        return np.interp(self.generator.random(count), levels, tokens).round().astype(np.int64)

    def _line(self, data: str, part: str) -> dict[str, Any]:
        table = pd.read_csv(LENGTHS, comment="#")
        known = (
            (table["tokenizer"] == self.tokenizer)
            & (table["data"] == data)
            & (table["part"] == part)
        )
        (line,) = table[known].to_dict("records")
        return {str(name): value for name, value in line.items()}

    def _draw(self, length: int) -> Tokens:
        return self.generator.integers(PAD + 1, self.vocabulary, length).astype(np.int32)


def _shares(weights: Mapping[str, int], count: int) -> dict[str, int]:
    """So many in all, in proportion to the weights."""
    ends = np.rint(np.cumsum([0, *weights.values()]) / sum(weights.values()) * count).astype(int)
    return dict(zip(weights, np.diff(ends).tolist(), strict=True))


def padded(texts: Sequence[Tokens], length: int, device: torch.device) -> dict[str, Tensor]:
    """input_ids and attention_mask, int64 [texts, length], padded on the right."""
    ids, mask = np.full((len(texts), length), PAD), np.zeros((len(texts), length), dtype=np.int64)
    for number, text in enumerate(texts):
        ids[number, : len(text)], mask[number, : len(text)] = text, 1
    return {
        "input_ids": torch.from_numpy(ids).to(device),
        "attention_mask": torch.from_numpy(mask).to(device),
    }


def sorted_rewards(
    model: PreTrainedModel, items: Sequence[Item], at_a_time: int, device: torch.device
) -> NDArray[np.float32]:
    """Rewards of all texts, each on its own, sorted by length, so many at a time, padded to their longest.

    As in any good evaluation loop; the caller says in which precision, and that no gradient is wanted.
    """
    texts = [text for item in items for text in item]
    order = sorted(range(len(texts)), key=lambda number: -len(texts[number]))
    found = np.empty(len(texts), dtype=np.float32)
    for first in range(0, len(order), at_a_time):
        batch = order[first : first + at_a_time]
        inputs = padded([texts[number] for number in batch], len(texts[batch[0]]), device)
        found[batch] = model(**inputs, use_cache=False).logits[:, 0].float().cpu().numpy()
    return found
