"""Texts become ids once, with EOS in training and without at scoring; long pairs go, long texts are cut."""

import numpy as np
import pandas as pd
import pytest

from rm_tension.config import HubFiles, TokensConfig, TrainedTokenizer
from rm_tension.errors import UserError
from rm_tension.hub import Hub
from rm_tension.token_files import TokenFiles
from rm_tension.tokens import encode_benchmarks, encode_preferences, make_tokenizer
from small_hub import go_offline, snapshot

TEXTS = ["\n\nHuman: hello there\n\nAssistant: hello {you}", "\n\nHuman: a\n\nAssistant: b", "ünïcode 🙂 " * 8]


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(TrainedTokenizer(kind="trained", vocabulary=300), TEXTS, Hub(None))


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


PINNED = HubFiles(kind="hub", repo="owner/name", revision="1" * 40)


def test_a_tokenizer_of_the_hub_is_checked_against_its_first_fetch(tokenizer, tmp_path, monkeypatch):
    go_offline(tmp_path / "cache", monkeypatch)
    folder, hub = snapshot(tmp_path / "cache", "model", PINNED), Hub(tmp_path / "hub.sha256")
    tokenizer.save_pretrained(folder)
    found = make_tokenizer(PINNED, [], hub)
    assert found.get_vocab() == tokenizer.get_vocab()
    assert f"  models/owner/name@{PINNED.revision}/tokenizer.json\n" in hub.sums.read_text()
    with (folder / "tokenizer.json").open("a") as file:
        file.write(" ")
    with pytest.raises(UserError, match=r"tokenizer\.json: sha256 .* but .*hub\.sha256 has"):
        make_tokenizer(PINNED, [], hub)


def test_a_folder_without_a_tokenizer_is_named_and_not_recorded(tmp_path, monkeypatch):
    go_offline(tmp_path / "cache", monkeypatch)
    folder, hub = snapshot(tmp_path / "cache", "model", PINNED), Hub(tmp_path / "hub.sha256")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    with pytest.raises(UserError, match="tokenizer owner/name at 1111"):
        make_tokenizer(PINNED, [], hub)
    assert not hub.sums.exists()


def test_pairs_of_some_sources_and_of_none(tokenizer, tmp_path):
    files = TokenFiles(tmp_path, "t")
    files.folder.mkdir()
    encode_preferences(tokenizer, preferences(), 1000)[0].to_parquet(files.preferences("train"))
    assert len(files.pairs("train", ["helpful-base", "harmless-base"])) == 3
    with pytest.raises(UserError, match=r"train\.parquet: no pairs of harmless-base"):
        files.pairs("train", ["harmless-base"])
