"""Texts become ids once, without EOS; long ones are cut, and training pairs with one are marked."""

import numpy as np
import pandas as pd
import pytest

from rm_tension.base.config import TrainedTokenizer
from rm_tension.model.tokenizer import read_tokenizer
from rm_tension.tokens.encode import encode_test_items, encode_training_pairs
from rm_tension.tokens.make_tokenizer import make_tokenizer

TEMPLATE = "Human:{prompt}\n\nAssistant:{answer}"
TEXTS = [
    "\n\nHuman: hello there\n\nAssistant: hello {you}",
    "\n\nHuman: a\n\nAssistant: b",
    "ünïcode 🙂 " * 8,
]


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(TrainedTokenizer(kind="trained", vocabulary=300), TEXTS).save_pretrained(folder)
    return read_tokenizer(folder)


def pairs():
    answers = [list(sides) for sides in zip(TEXTS, TEXTS[::-1], strict=True)]
    return pd.DataFrame(
        {
            "dataset": "hh-rlhf",
            "subset": "helpful-base",
            "item_id": ["p0", "p1", "p2"],
            "prompt": "",
            "answers": answers,
        }
    )


def test_training_pairs_have_no_eos_and_those_that_would_be_too_long_with_one_are_marked(words):
    table, left = encode_training_pairs(words, pairs(), TEMPLATE, max_length=1000)
    assert left == {"texts_cut": 0, "too_long": 0}
    assert table.columns.tolist() == ["dataset", "subset", "item_id", "answers", "too_long"]
    for (ids, _), text in zip(table["answers"], TEXTS, strict=True):
        assert ids.dtype == np.int32
        assert (
            words.decode(ids.tolist(), skip_special_tokens=False) == text
        )  # the dialogue as it is, in no template
    longest = max(len(ids) for ids, _ in table["answers"])  # of two pairs, a side each
    for limit, marked, cut in ((longest + 1, 0, 0), (longest, 2, 0), (longest - 1, 2, 2)):
        found, left = encode_training_pairs(words, pairs(), TEMPLATE, max_length=limit)
        assert left == {"texts_cut": cut, "too_long": marked}
        assert found["too_long"].tolist() == [bool(marked), False, bool(marked)]
        for ids, whole in zip(found["answers"].explode(), table["answers"].explode(), strict=True):
            assert ids.tolist() == whole.tolist()[:limit]


def test_test_pairs_all_stay_and_are_cut(words):
    assert all_stay_and_are_cut(words, pairs()) > 0


def test_benchmark_texts_follow_the_template_and_are_cut(words):
    answers = [["yes {prompt}", "no"], ["a much longer answer than the limit admits"]]
    items = {
        "dataset": "s",
        "subset": "t",
        "item_id": ["a", "b"],
        "prompt": ["{answer}?", "why"],
        "answers": answers,
    }
    items = pd.DataFrame(items)
    assert all_stay_and_are_cut(words, items) > 0
    whole, _ = encode_test_items(words, items, TEMPLATE, 1000)
    assert [len(ids) for ids in whole["answers"]] == [2, 1]
    assert (
        words.decode(whole["answers"][0][0].tolist()) == "Human:{answer}?\n\nAssistant:yes {prompt}"
    )


def all_stay_and_are_cut(words, items, limit=12):
    """How many texts were cut at the limit."""
    whole, none = encode_test_items(words, items, TEMPLATE, 1000)
    cut, left = encode_test_items(words, items, TEMPLATE, limit)
    assert none == {"texts_cut": 0}
    assert cut["item_id"].tolist() == items["item_id"].tolist()
    texts = list(zip(cut["answers"].explode(), whole["answers"].explode(), strict=True))
    for short, long in texts:
        assert short.tolist() == long.tolist()[:limit]
    assert left == {"texts_cut": sum(len(long) > limit for _, long in texts)}
    return left["texts_cut"]
