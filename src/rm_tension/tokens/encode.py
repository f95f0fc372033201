"""Texts to token ids, without EOS (METHOD.md sections 1 and 2)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tokenizers import Tokenizer

from rm_tension.base.config import HH

Tokens = NDArray[np.int32]
KEY = ["dataset", "subset", "item_id"]
TEXTS_PER_BATCH = 4096


def encode(words: Tokenizer, texts: Sequence[str]) -> list[Tokens]:
    """Return the token ids of each text, int32 arrays, with the BOS that some tokenizers' files add."""
    encoded: list[Tokens] = []
    for start in range(0, len(texts), TEXTS_PER_BATCH):
        found = words.encode_batch_fast(texts[start : start + TEXTS_PER_BATCH])
        encoded += [np.array(one.ids, dtype=np.int32) for one in found]
    return encoded


def encode_training_pairs(
    words: Tokenizer, items: pd.DataFrame, template: str, max_length: int
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return all pairs as `encode_test_items` does, with the column too_long (bool), and counts of cut and too long.

    Statistics are over all pairs (METHOD.md section 4). Training drops those that are too long: a side with an EOS
    would be over `max_length` tokens, for the release filters after it has appended one, although nothing ever reads
    it (METHOD.md section 1).
    """
    answers = _answers(words, items, template)
    too_long = np.array([max(map(len, texts)) >= max_length for texts in answers], dtype=bool)
    table, left = _cut(items, answers, max_length)
    return table.assign(too_long=too_long), {**left, "too_long": int(too_long.sum())}


def encode_test_items(
    words: Tokenizer, items: pd.DataFrame, template: str, max_length: int
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return columns dataset, subset, item_id, answers (ids of each, int32), and a count of the texts that were cut.

    What is beyond `max_length` tokens is cut off: GPT-2 has no positions for it.
    """
    return _cut(items, _answers(words, items, template), max_length)


def _cut(
    items: pd.DataFrame, answers: list[list[Tokens]], max_length: int
) -> tuple[pd.DataFrame, dict[str, int]]:
    cut = sum(len(text) > max_length for texts in answers for text in texts)
    short = pd.Series(
        [[text[:max_length] for text in texts] for texts in answers],
        index=items.index,
        dtype=object,
    )
    return items[KEY].assign(answers=short), {"texts_cut": cut}


def _answers(words: Tokenizer, items: pd.DataFrame, template: str) -> list[list[Tokens]]:
    """The ids of every answer of every item; the text is the template with prompt and answer (METHOD.md section 2)."""
    # not str.format: the texts are full of braces
    before, rest = template.split("{prompt}")
    between, after = rest.split("{answer}")
    texts: list[str] = []
    counts = []  # of HH-RLHF the answers are whole dialogues
    for dataset, prompt, answers in zip(
        items["dataset"], items["prompt"], items["answers"], strict=True
    ):
        counts.append(len(answers))
        texts += (
            list(answers)
            if dataset == HH
            else [before + prompt + between + answer + after for answer in answers]
        )
    ids = iter(encode(words, texts))
    return [[next(ids) for _ in range(count)] for count in counts]
