"""Texts become ids once, with EOS in training and without at scoring; long pairs go, long texts are cut."""

import numpy as np
import pandas as pd
import pytest

from rm_tension.config import HubFiles, TokensConfig, TrainedTokenizer
from rm_tension.errors import UserError
from rm_tension.token_files import TokenFiles
from rm_tension.tokens import encode_benchmarks, encode_preferences, make_tokenizer

TEXTS = ["\n\nHuman: hello there\n\nAssistant: hello {you}", "\n\nHuman: a\n\nAssistant: b", "ünïcode 🙂 " * 8]


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(TrainedTokenizer(kind="trained", vocabulary=300), TEXTS)


def preferences():
    table = pd.DataFrame({"chosen": TEXTS, "rejected": TEXTS[::-1], "source": "helpful-base"})
    return table.assign(pair_id=[f"p{i}" for i in table.index])


def test_every_text_survives_the_trained_tokenizer(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = type(tokenizer).from_pretrained(tmp_path)
    assert loaded.eos_token_id == tokenizer.eos_token_id == 0
    for text in TEXTS:
        assert loaded.decode(loaded(text)["input_ids"]) == text


def test_pairs_end_with_eos_and_long_ones_are_dropped(tokenizer):
    table, dropped = encode_preferences(tokenizer, preferences(), max_length=1000)
    assert dropped == 0
    assert table.columns.tolist() == ["pair_id", "source", "chosen", "rejected"]
    for ids, text in zip(table["chosen"], TEXTS, strict=True):
        assert ids.dtype == np.int32
        assert ids.tolist() == [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    longest = table["chosen"].map(len).max()
    kept, dropped = encode_preferences(tokenizer, preferences(), max_length=longest - 1)
    assert (kept["pair_id"].tolist(), dropped) == (["p1"], 2)
    kept, dropped = encode_preferences(tokenizer, preferences(), max_length=longest)
    assert (len(kept), dropped) == (3, 0)


def test_benchmark_texts_follow_the_template_and_are_cut(tokenizer):
    config = TokensConfig(max_length=12, template="Human:{prompt}\n\nAssistant:{answer}", tokenizers={})
    answers = [["yes {prompt}", "no"], ["a much longer answer than the limit admits"]]
    items = pd.DataFrame({"suite": "s", "item_id": ["a", "b"], "prompt": ["{answer}?", "why"], "answers": answers})
    table, cut = encode_benchmarks(tokenizer, items, config)
    whole, _ = encode_benchmarks(tokenizer, items, TokensConfig(1000, config.template, {}))
    assert [len(ids) for ids in table["answers"]] == [2, 1]
    assert tokenizer.decode(whole["answers"][0][0]) == "Human:{answer}?\n\nAssistant:yes {prompt}"
    texts = [
        (short, long) for i in (0, 1) for short, long in zip(table["answers"][i], whole["answers"][i], strict=True)
    ]
    assert cut == sum(len(long) > 12 for _, long in texts) > 0
    for short, long in texts:
        assert short.tolist() == long.tolist()[:12]


def test_a_tokenizer_that_is_nowhere_is_named(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="tokenizer nobody/nothing at 0123"):
        make_tokenizer(HubFiles(kind="hub", repo="nobody/nothing", revision="0123"), [])


def test_pairs_of_some_sources_and_of_none(tokenizer, tmp_path):
    files = TokenFiles(tmp_path, "t")
    files.folder.mkdir()
    encode_preferences(tokenizer, preferences(), 1000)[0].to_parquet(files.preferences("train"))
    assert len(files.pairs("train", ["helpful-base", "harmless-base"])) == 3
    with pytest.raises(UserError, match=r"train\.parquet: no pairs of harmless-base"):
        files.pairs("train", ["harmless-base"])
