"""Texts become ids once, without EOS; long ones are cut, and training pairs with one are marked."""

import numpy as np
import pandas as pd
import pytest

from rm_tension.base.config import TrainedTokenizer
from rm_tension.model.tokenizer import read_tokenizer
from rm_tension.tokens.encode import encode_test_items, encode_training_pairs
from rm_tension.tokens.make_tokenizer import make_tokenizer

TEMPLATE = "Human:{prompt}\n\nAssistant:{answer}"
TEXTS = ["\n\nHuman: hello\n\nAssistant: hi {you}", "\n\nHuman: a\n\nAssistant: b", "ünï 🙂 " * 8]
NAMED = {"subset": "any", "item_id": ["p0", "p1", "p2"]}
DIALOGUES = [[text, other] for text, other in zip(TEXTS, TEXTS[::-1], strict=True)]
PAIRS = pd.DataFrame({"dataset": "hh-rlhf", **NAMED, "prompt": "", "answers": DIALOGUES})
ANSWERS = [["yes {prompt}", "no"], ["a much longer answer than the limit admits"], [" "]]
PROMPTS = ["{answer}?", "why", "how"]
ITEMS = pd.DataFrame({"dataset": "suite", **NAMED, "prompt": PROMPTS, "answers": ANSWERS})


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(TrainedTokenizer(kind="trained", vocabulary=300), TEXTS).save_pretrained(folder)
    return read_tokenizer(folder)


@pytest.mark.parametrize("encode", [encode_training_pairs, encode_test_items])
@pytest.mark.parametrize("items", [PAIRS, ITEMS], ids=["pairs", "items"])
def test_ids_are_those_of_the_text_up_to_the_limit(tokenizer, encode, items):
    table, counts = encode(tokenizer, items, TEMPLATE, 12)
    full, none = encode(tokenizer, items, TEMPLATE, 1000)
    assert table["item_id"].tolist() == ["p0", "p1", "p2"]
    assert none["texts_cut"] == 0
    lengths = full["answers"].explode().map(len)
    assert counts["texts_cut"] == (lengths > 12).sum() > 0
    for short, long in zip(table["answers"].explode(), full["answers"].explode(), strict=True):
        assert short.dtype == np.int32
        assert short.tolist() == long.tolist()[:12]
    texts = [
        answer if items is PAIRS else f"Human:{prompt}\n\nAssistant:{answer}"
        for prompt, answers in zip(items["prompt"], items["answers"], strict=True)
        for answer in answers
    ]
    decoded = [tokenizer.decode(ids.tolist(), False) for ids in full["answers"].explode()]
    assert decoded == texts  # with no special tokens to skip


def test_pairs_that_would_be_too_long_with_an_eos_are_marked(tokenizer):
    full, counts = encode_training_pairs(tokenizer, PAIRS, TEMPLATE, 1000)
    assert counts == {"texts_cut": 0, "too_long": 0}
    longest = full["answers"].explode().map(len).max()  # of two pairs, a side each
    for limit, marked, cut in ((longest + 1, 0, 0), (longest, 2, 0), (longest - 1, 2, 2)):
        table, counts = encode_training_pairs(tokenizer, PAIRS, TEMPLATE, int(limit))
        assert counts == {"texts_cut": cut, "too_long": marked}
        assert table["too_long"].tolist() == [bool(marked), False, bool(marked)]
