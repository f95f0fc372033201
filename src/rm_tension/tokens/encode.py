"""Texts to token ids, without EOS (METHOD.md sections 1 and 2)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tokenizers import Tokenizer

Tokens = NDArray[np.int32]
KEY = ["dataset", "subset", "item_id"]
TEXTS_PER_BATCH = 4096


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Tokens]:
    """Return the token ids of each text, int32 arrays, with the BOS that some files add."""
    ids: list[Tokens] = []
    for start in range(0, len(texts), TEXTS_PER_BATCH):
        batch = texts[start : start + TEXTS_PER_BATCH]
        for encoding in tokenizer.encode_batch_fast(batch):
            ids.append(np.array(encoding.ids, dtype=np.int32))  # noqa: PERF401
    return ids


def encode_training_pairs(
    tokenizer: Tokenizer, items: pd.DataFrame, template: str, max_length: int
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return all pairs as `encode_test_items` does, with too_long (bool), and counts of both kinds.

    Statistics are over all pairs (METHOD.md section 4). Training drops those that are too long: a
    side with an EOS would be over `max_length` tokens, for the release filters after it has
    appended one, although nothing ever reads it (METHOD.md section 1).
    """
    answers = _answers(tokenizer, items, template)
    too_long = np.array([max(map(len, texts)) >= max_length for texts in answers], dtype=bool)
    table, counts = _cut(items, answers, max_length)
    return table.assign(too_long=too_long), {**counts, "too_long": int(too_long.sum())}


def encode_test_items(
    tokenizer: Tokenizer, items: pd.DataFrame, template: str, max_length: int
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return columns dataset, subset, item_id, answers (ids, int32), and a count of texts cut.

    What is beyond `max_length` tokens is cut off: GPT-2 has no positions for it.
    """
    return _cut(items, _answers(tokenizer, items, template), max_length)


def _cut(
    items: pd.DataFrame, answers: list[list[Tokens]], max_length: int
) -> tuple[pd.DataFrame, dict[str, int]]:
    cut = sum(len(text) > max_length for texts in answers for text in texts)
    short = [[text[:max_length] for text in texts] for texts in answers]
    column = pd.Series(short, index=items.index, dtype=object)
    return items[KEY].assign(answers=column), {"texts_cut": cut}


def _answers(tokenizer: Tokenizer, items: pd.DataFrame, template: str) -> list[list[Tokens]]:
    """Return the ids of every answer of every item (METHOD.md section 2).

    A text is the template with prompt and answer; of pairs, whose prompt is
    empty, the answers are whole dialogues.
    """
    # not str.format: the texts are full of braces
    before, rest = template.split("{prompt}")
    between, after = rest.split("{answer}")
    texts: list[str] = []
    for prompt, answers in zip(items["prompt"], items["answers"], strict=True):
        texts += [before + prompt + between + a + after if prompt else a for a in answers]
    ids = iter(encode(tokenizer, texts))
    return [[next(ids) for _ in answers] for answers in items["answers"]]
