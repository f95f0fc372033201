"""Texts to token ids, once per tokenizer (METHOD.md sections 1 and 2)."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from rm_tension.config import HubFiles, TokensConfig, TrainedTokenizer
from rm_tension.errors import UserError
from rm_tension.hub import Hub

EOS = "<|endoftext|>"
# config.json, because only there GPT-2's files say of which kind the tokenizer is
TOKENIZER_FILES = ("config.json", "tokenizer*.json", "special_tokens_map.json", "vocab.json", "merges.txt")
TEXTS_PER_BATCH = 4096


def make_tokenizer(source: HubFiles | TrainedTokenizer, texts: Iterable[str], hub: Hub) -> PreTrainedTokenizerFast:
    """The tokenizer from the hub, or a byte-level BPE trained on `texts`."""
    if isinstance(source, TrainedTokenizer):
        return _train(source.vocabulary, texts)
    name = f"tokenizer {source.repo} at {source.revision}"
    with hub.model_files(source, *TOKENIZER_FILES) as folder:
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise UserError(f"{name}: {error}") from error
        if not isinstance(tokenizer, PreTrainedTokenizerFast) or tokenizer.eos_token_id is None:
            raise UserError(f"{name}: must be a fast tokenizer with an EOS token")
    return tokenizer


def _train(vocabulary: int, texts: Iterable[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[EOS], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=EOS)


def encode(tokenizer: PreTrainedTokenizerFast, texts: pd.Series, eos: bool) -> pd.Series:
    """Token ids of each text (int32 arrays), with the tokenizer's EOS at the end if `eos`."""
    end = [tokenizer.eos_token_id] if eos else []
    encoded: list[np.ndarray] = []
    for start in range(0, len(texts), TEXTS_PER_BATCH):
        batch = texts.iloc[start : start + TEXTS_PER_BATCH].tolist()
        # the backend itself: transformers would warn about each long text, which are dealt with below
        found = tokenizer.backend_tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        encoded += [np.array(one.ids + end, dtype=np.int32) for one in found]
    return pd.Series(encoded, index=texts.index, dtype=object)


def encode_preferences(
    tokenizer: PreTrainedTokenizerFast, preferences: pd.DataFrame, max_length: int
) -> tuple[pd.DataFrame, int]:
    """Columns pair_id, source, chosen, rejected (ids, EOS appended), and how many pairs were dropped.

    A pair with a side over `max_length` tokens is dropped, not cut (METHOD.md section 1).
    """
    table = preferences[["pair_id", "source"]].copy()
    for side in ("chosen", "rejected"):
        table[side] = encode(tokenizer, preferences[side], eos=True)
    fits = (table[["chosen", "rejected"]].map(len) <= max_length).all(axis=1)
    return table[fits], int((~fits).sum())


def encode_benchmarks(
    tokenizer: PreTrainedTokenizerFast, benchmarks: pd.DataFrame, config: TokensConfig
) -> tuple[pd.DataFrame, int]:
    """Columns suite, item_id, answers (one list of ids per answer), and how many texts were cut.

    The text is the template with prompt and answer, without EOS (METHOD.md section 2); what is beyond `max_length`
    tokens is cut off, because GPT-2 has no positions for it.
    """
    answers = benchmarks[["suite", "item_id", "prompt", "answers"]].explode("answers")
    before, between, after = _split(config.template)
    texts = before + answers["prompt"] + between + answers["answers"] + after
    ids = encode(tokenizer, texts.reset_index(drop=True), eos=False)
    answers["answers"] = [text[: config.max_length] for text in ids]
    table = answers.groupby(["suite", "item_id"], sort=False)["answers"].agg(list).reset_index()
    return table, int((ids.map(len) > config.max_length).sum())


def _split(template: str) -> tuple[str, str, str]:
    # not str.format: the texts are full of braces
    before, rest = template.split("{prompt}")
    between, after = rest.split("{answer}")
    return before, between, after
