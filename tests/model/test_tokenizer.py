"""Ids are those of tokenizer.json, in the hub's form of both families and wherever a tokenizer is read again."""

import json

import pytest
from tokenizers import Tokenizer, processors
from transformers import AutoTokenizer

from hub_tokenizers import EOS, write_tokenizer
from rm_tension.base.config import HubFiles, TrainedTokenizer
from rm_tension.base.errors import UserError
from rm_tension.model.tokenizer import PROBE, read_tokenizer, stock_tokenizer
from rm_tension.tokens.encode import encode
from rm_tension.tokens.make_tokenizer import make_tokenizer
from small_hub import go_offline, snapshot

TEXTS = [
    "\n\nHuman: hello there\n\nAssistant: hello {you}",
    "\n\nHuman: 12 of 1984\n\nAssistant:\n\n1",
    "ünïcode 🙂 " * 8,
]
PINNED = HubFiles(kind="hub", repo="owner/name", revision="1" * 40)


@pytest.fixture
def published(family, tmp_path, monkeypatch):
    go_offline(tmp_path / "cache", monkeypatch)
    return write_tokenizer(family, snapshot(tmp_path / "cache", "model", PINNED), TEXTS)


def ids(folder, text):
    """As the file has them, with nothing of ours in between."""
    return Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids


def test_ids_are_those_of_the_hubs_file(family, published, tmp_path):
    make_tokenizer(PINNED, []).save_pretrained(tmp_path / "saved")
    saved, stock = (
        read_tokenizer(tmp_path / "saved"),
        AutoTokenizer.from_pretrained(tmp_path / "saved"),
    )
    for text in (*TEXTS, PROBE):
        assert saved.encode(text).ids == stock(text)["input_ids"] == ids(published, text)
    assert stock.eos_token == stock.pad_token == EOS
    theirs = AutoTokenizer.from_pretrained(published)(TEXTS[1])["input_ids"]
    assert (theirs == ids(published, TEXTS[1])) == (
        family == "gpt2"
    )  # or the test would show nothing


def test_a_class_with_other_ids_is_refused_with_both(tmp_path):
    folder = write_tokenizer("llama", tmp_path / "smollm2", TEXTS)
    with pytest.raises(
        UserError,
        match=r"GPT2Tokenizer gives other ids than tokenizer\.json, from token \d+ of .* instead of",
    ):
        stock_tokenizer(folder)
    assert (
        stock_tokenizer(write_tokenizer("gpt2", tmp_path / "gpt2", TEXTS), TEXTS).eos_token == EOS
    )


def add_specials(folder, single):
    """Give tokenizer.json a post-processor, as Llama's file has one."""
    path = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[(EOS, tokenizer.token_to_id(EOS))]
    )
    tokenizer.save(str(path))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": EOS}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def test_a_bos_that_the_file_adds_is_in_all_ids_and_an_eos_is_refused(tmp_path):
    plain = write_tokenizer("gpt2", tmp_path / "plain", TEXTS)
    folder = add_specials(write_tokenizer("gpt2", tmp_path / "bos", TEXTS), f"{EOS} $A")
    stock, encoder = stock_tokenizer(folder, TEXTS), read_tokenizer(folder)
    for text, found in zip(TEXTS, encode(encoder, TEXTS), strict=True):
        assert found.tolist() == [stock.eos_token_id, *ids(plain, text)] == stock(text)["input_ids"]
    folder = add_specials(write_tokenizer("gpt2", tmp_path / "eos", TEXTS), f"$A {EOS}")
    with pytest.raises(UserError, match="post-processor adds tokens behind a text"):
        stock_tokenizer(folder)


def test_truncation_and_padding_of_a_file_do_not_act(published, tmp_path):
    path, whole = published / "tokenizer.json", ids(published, TEXTS[1])
    words = Tokenizer.from_file(str(path))
    words.enable_truncation(4)
    words.enable_padding(length=50)
    words.save(str(path))
    make_tokenizer(PINNED, []).save_pretrained(tmp_path / "saved")
    assert read_tokenizer(published).encode(TEXTS[1]).ids == whole
    assert ids(tmp_path / "saved", TEXTS[1]) == whole


def test_a_trained_tokenizer_survives_saving(tmp_path):
    source = TrainedTokenizer(kind="trained", vocabulary=300)
    make_tokenizer(source, TEXTS).save_pretrained(tmp_path)
    words, stock = read_tokenizer(tmp_path), stock_tokenizer(tmp_path, TEXTS)
    assert stock.eos_token_id == stock.pad_token_id == words.token_to_id(EOS) == 0
    for text in TEXTS:
        assert words.decode(words.encode(text).ids) == text


def test_a_folder_without_a_tokenizer_or_eos_is_named(published):
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        (published / name).write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    with pytest.raises(
        UserError, match=r"tokenizer owner/name at 1111.*: must have an EOS token, found None"
    ):
        make_tokenizer(PINNED, [])
    for path in published.iterdir():
        if path.name != "config.json":
            path.unlink()
    with pytest.raises(
        UserError, match=r"tokenizer owner/name at 1111.*tokenizer\.json: not a tokenizer"
    ):
        make_tokenizer(PINNED, [])
