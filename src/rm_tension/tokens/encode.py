"""Texts to token ids, without EOS (METHOD.md sections 1 and 2)."""

import numpy as np
import pandas as pd
from tokenizers import Tokenizer

from rm_tension.base.config import TokensConfig

TEXTS_PER_BATCH = 4096


def encode(words: Tokenizer, texts: pd.Series) -> pd.Series:
    """Token ids of each text: int32 arrays."""
    encoded: list[np.ndarray] = []
    for start in range(0, len(texts), TEXTS_PER_BATCH):
        batch = texts.iloc[start : start + TEXTS_PER_BATCH].tolist()
        found = words.encode_batch_fast(batch, add_special_tokens=False)
        encoded += [np.array(one.ids, dtype=np.int32) for one in found]
    return pd.Series(encoded, index=texts.index, dtype=object)


def encode_training_pairs(
    words: Tokenizer, preferences: pd.DataFrame, max_length: int
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Columns pair_id, source, chosen, rejected (ids), and a count of the dropped pairs.

    A pair is dropped, not cut, if a side with an EOS would be over `max_length` tokens: the release filters after it
    has appended one, although nothing ever reads it (METHOD.md section 1).
    """
    table = _encode_sides(words, preferences)
    fits = (table[["chosen", "rejected"]].map(len) < max_length).all(axis=1)
    return table[fits], {"dropped_as_too_long": int((~fits).sum())}


def encode_test_pairs(
    words: Tokenizer, preferences: pd.DataFrame, max_length: int
) -> tuple[pd.DataFrame, dict[str, int]]:
    """As `encode_training_pairs`, but all pairs stay: what is beyond `max_length` tokens is cut off, and counted."""
    table = _encode_sides(words, preferences)
    sides = table[["chosen", "rejected"]]
    table[["chosen", "rejected"]] = sides.map(lambda ids: ids[:max_length])
    return table, {"texts_cut": int((sides.map(len) > max_length).to_numpy().sum())}


def _encode_sides(words: Tokenizer, preferences: pd.DataFrame) -> pd.DataFrame:
    sides = {side: encode(words, preferences[side]) for side in ("chosen", "rejected")}
    return preferences[["pair_id", "source"]].assign(**sides)


def encode_benchmarks(
    words: Tokenizer, benchmarks: pd.DataFrame, config: TokensConfig
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Columns suite, item_id, answers (one list of ids per answer), and a count of the texts that were cut.

    The text is the template with prompt and answer (METHOD.md section 2); what is beyond `max_length` tokens is cut
    off, because GPT-2 has no positions for it.
    """
    answers = benchmarks[["suite", "item_id", "prompt", "answers"]].explode("answers")
    before, between, after = _split(config.template)
    texts = before + answers["prompt"] + between + answers["answers"] + after
    ids = encode(words, texts.reset_index(drop=True))
    answers["answers"] = [text[: config.max_length] for text in ids]
    table = answers.groupby(["suite", "item_id"], sort=False)["answers"].agg(list).reset_index()
    return table, {"texts_cut": int((ids.map(len) > config.max_length).sum())}


def _split(template: str) -> tuple[str, str, str]:
    # not str.format: the texts are full of braces
    before, rest = template.split("{prompt}")
    between, after = rest.split("{answer}")
    return before, between, after
