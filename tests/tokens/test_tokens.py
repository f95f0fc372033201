"""Texts become ids once, without EOS; long training pairs go, long texts to score are cut."""

import numpy as np
import pandas as pd
import pytest

from rm_tension.base.config import TokensConfig, TrainedTokenizer
from rm_tension.base.errors import UserError
from rm_tension.base.hub import Hub
from rm_tension.base.token_files import TokenFiles
from rm_tension.model.tokenizer import read_tokenizer
from rm_tension.tokens.encode import encode_benchmarks, encode_test_pairs, encode_training_pairs
from rm_tension.tokens.make_tokenizer import make_tokenizer

TEXTS = ["\n\nHuman: hello there\n\nAssistant: hello {you}", "\n\nHuman: a\n\nAssistant: b", "ünïcode 🙂 " * 8]


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(TrainedTokenizer(kind="trained", vocabulary=300), TEXTS, Hub(None)).save_pretrained(folder)
    return read_tokenizer(folder)


def preferences():
    table = pd.DataFrame({"chosen": TEXTS, "rejected": TEXTS[::-1], "source": "helpful-base"})
    return table.assign(pair_id=[f"p{i}" for i in table.index])


def test_training_pairs_have_no_eos_and_those_that_would_be_too_long_with_one_are_dropped(words):
    table, left = encode_training_pairs(words, preferences(), max_length=1000)
    assert left == {"dropped_as_too_long": 0}
    assert table.columns.tolist() == ["pair_id", "source", "chosen", "rejected"]
    for ids, text in zip(table["chosen"], TEXTS, strict=True):
        assert ids.dtype == np.int32
        assert words.decode(ids.tolist(), skip_special_tokens=False) == text
    longest = table["chosen"].map(len).max()
    kept, left = encode_training_pairs(words, preferences(), max_length=longest)
    assert (kept["pair_id"].tolist(), left) == (["p1"], {"dropped_as_too_long": 2})
    kept, left = encode_training_pairs(words, preferences(), max_length=longest + 1)
    assert (len(kept), left) == (3, {"dropped_as_too_long": 0})


def test_test_pairs_all_stay_and_are_cut(words):
    whole, _ = encode_test_pairs(words, preferences(), max_length=1000)
    cut, left = encode_test_pairs(words, preferences(), max_length=12)
    assert cut["pair_id"].tolist() == ["p0", "p1", "p2"]
    sides = ["chosen", "rejected"]
    assert left == {"texts_cut": int((whole[sides].map(len) > 12).to_numpy().sum())}
    assert left["texts_cut"] > 0
    for short, long in zip(cut[sides].to_numpy().ravel(), whole[sides].to_numpy().ravel(), strict=True):
        assert short.tolist() == long.tolist()[:12]


def test_benchmark_texts_follow_the_template_and_are_cut(words):
    config = TokensConfig(max_length=12, template="Human:{prompt}\n\nAssistant:{answer}", tokenizers={})
    answers = [["yes {prompt}", "no"], ["a much longer answer than the limit admits"]]
    items = pd.DataFrame({"suite": "s", "item_id": ["a", "b"], "prompt": ["{answer}?", "why"], "answers": answers})
    table, left = encode_benchmarks(words, items, config)
    whole, _ = encode_benchmarks(words, items, TokensConfig(max_length=1000, template=config.template, tokenizers={}))
    assert [len(ids) for ids in table["answers"]] == [2, 1]
    assert words.decode(whole["answers"][0][0].tolist()) == "Human:{answer}?\n\nAssistant:yes {prompt}"
    texts = [
        (short, long) for i in (0, 1) for short, long in zip(table["answers"][i], whole["answers"][i], strict=True)
    ]
    assert left["texts_cut"] == sum(len(long) > 12 for _, long in texts) > 0
    for short, long in texts:
        assert short.tolist() == long.tolist()[:12]


def test_pairs_of_some_sources_and_of_none(words, tmp_path):
    files = TokenFiles(tmp_path, "t")
    files.folder.mkdir()
    encode_training_pairs(words, preferences(), 1000)[0].to_parquet(files.preferences("train"))
    assert len(files.pairs("train", ["helpful-base", "harmless-base"])) == 3
    with pytest.raises(UserError, match=r"train\.parquet: no pairs of harmless-base"):
        files.pairs("train", ["harmless-base"])
