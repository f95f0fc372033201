"""Backbones of the miniature, and what a real one must bring."""

import hashlib
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModel, PreTrainedTokenizerFast

import samples
from rm_tension.backbone import stage as stage
from rm_tension.backbone.backbones import input_weights, make_backbone, save_backbone
from rm_tension.backbone.neurons import neuron_shape
from rm_tension.base.config import HubFiles, Pretraining, RandomWeights, TrainedTokenizer
from rm_tension.base.errors import UserError
from rm_tension.base.files import read_json
from rm_tension.base.grid import Paths
from rm_tension.base.job import Job
from rm_tension.base.provenance import LoadedFile, LoadedWeights, Snapshot
from rm_tension.model.reward_model import new_reward_model
from rm_tension.tokens.make_tokenizer import make_tokenizer
from samples import changed
from small_hub import PARAMS, go_offline, hub_source, snapshot

PINNED = HubFiles(kind="hub", repo="owner/name", revision="1" * 40)
LIFE = Pretraining(steps=60, chunks_per_step=8, length=13, learning_rate=0.02)


def shape(family, **changes):
    values = {"layers": 2, "width": 16, "heads": 2, "init_std": 0.1, "gain_spread": 1.0, "seed": 1}
    return RandomWeights(kind="random", family=family, **{**values, "pretraining": None, **changes})


@pytest.fixture
def files(tmp_path):
    """A tokenizer, and training pairs of which each token says the next."""
    tokenizer, pairs = tmp_path / "tokenizer", tmp_path / "train.parquet"
    trained = TrainedTokenizer(kind="trained", vocabulary=300)
    make_tokenizer(trained, ["some words"]).save_pretrained(tokenizer)
    texts = [np.arange(start, start + 12, dtype=np.int32) for start in range(5, 25)]
    answers = [list(pair) for pair in zip(texts, texts[::-1], strict=True)]
    named = dict.fromkeys(("dataset", "subset", "item_id"), "any")
    pd.DataFrame({**named, "answers": answers, "too_long": False}).to_parquet(pairs)
    return tokenizer, pairs


@pytest.fixture
def make(family, files):
    """Make a random backbone of these changes of its shape."""
    return lambda **changes: make_backbone(shape(family, **changes), *files, 32)[0]


def test_random_backbones_have_their_shape_and_depend_on_the_seed(make, files):
    first, again, other = (make(seed=seed) for seed in (1, 1, 2))
    assert neuron_shape(first) == (2, 64)
    assert first.config.vocab_size == len(PreTrainedTokenizerFast.from_pretrained(files[0]))
    weights = [torch.cat([p.flatten() for p in m.parameters()]) for m in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_gain_spread_makes_few_neurons_large(make):
    shares = []
    for spread in (0.0, 1.5):
        weights = torch.cat(list(input_weights(make(gain_spread=spread))))
        sizes = weights.square().sum(dim=1).sort(descending=True)[0]
        shares.append(float(sizes[: len(sizes) // 10].sum() / sizes.sum()))
    assert shares[0] < 0.3 < shares[1]


def test_pretraining_learns_the_texts_alike_for_the_same_seed(make):
    first, again, untrained = make(pretraining=LIFE), make(pretraining=LIFE), make()
    for weight, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(weight, other)
    text = torch.arange(5, 17)[None]
    hits = []
    for model in (first, untrained):  # the output embedding is tied to the input's
        with torch.no_grad():
            scores = model(input_ids=text).last_hidden_state @ model.get_input_embeddings().weight.T
        hits.append(float((scores[0, :-1].argmax(dim=-1) == text[0, 1:]).float().mean()))
    assert hits[0] > 0.9 > 0.5 > hits[1]


def test_texts_that_do_not_fill_a_chunk_are_refused(files):
    life = changed(LIFE, length=521)  # 40 texts of 12 tokens and an EOS
    message = r"pretraining\.length .* is 521, but the training texts have 520 tokens"
    with pytest.raises(UserError, match=message):
        make_backbone(shape("gpt2", pretraining=life), *files, 1024)


def test_no_eos_follows_a_text_that_was_cut(files):
    """Of two pairs of 12 tokens a side, one is too long: its texts are no part of the stream."""
    table = pd.read_parquet(files[1]).head(2).assign(too_long=[False, True])
    table.to_parquet(files[1])
    life = changed(LIFE, steps=1, length=27)  # two texts with an EOS each: 26 tokens
    with pytest.raises(UserError, match="the training texts have 26 tokens"):
        make_backbone(shape("gpt2", pretraining=life), *files, 32)


def test_a_saved_backbone_becomes_a_reward_model(make, files, tmp_path):
    save_backbone(make(), tmp_path / "backbone", files[0])
    assert (tmp_path / "backbone" / "tokenizer.json").is_file()
    assert neuron_shape(new_reward_model(tmp_path / "backbone", 0, 0.02, "float32")) == (2, 64)


@pytest.fixture
def cached(make, tmp_path, monkeypatch):
    """The folder of a backbone in the hub's cache, at its pinned revision."""
    go_offline(tmp_path / "cache", monkeypatch)
    folder = snapshot(tmp_path / "cache", "model", PINNED)
    make().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("stand_ins", [None, "another model, from 4 bits"])
@pytest.mark.parametrize("kind", ["hub", "random"])
def test_the_stage_records_what_it_loaded(cached, family, files, tmp_path, kind, stand_ins):
    paths, key = Paths("mini", tmp_path / "repository"), "gpt2-small"
    shutil.copytree(files[0], paths.tokenizer(key))
    shutil.copyfile(files[1], paths.tokens(key, "train"))
    mini, weights = PARAMS.profiles["mini"], PINNED if kind == "hub" else shape(family)
    profile = changed(
        mini,
        data=changed(mini.data, source=changed(hub_source(), stand_ins=stand_ins)),
        tokens=changed(mini.tokens, max_length=32),
        backbones={key: changed(mini.backbones[key], weights=weights)},
    )
    stage.run(Job(PARAMS, profile, paths, {"profile": "mini", "backbone": key}))
    raw = {name: (cached / name).read_bytes() for name in ("config.json", "model.safetensors")}
    loaded = [LoadedFile(n, len(b), hashlib.sha256(b).hexdigest()) for n, b in raw.items()]
    expected = LoadedWeights(Snapshot("owner/name", "1" * 40, "1" * 40, loaded), stand_ins)
    provenance = read_json(paths.backbone_provenance(key), LoadedWeights)
    # random weights are no stand-ins and come from no file
    assert provenance == (expected if kind == "hub" else LoadedWeights(None, None))
    assert neuron_shape(AutoModel.from_pretrained(paths.backbone(key))) == (2, 64)


def test_a_backbone_that_cannot_be_used_is_named(cached, family, files):
    with pytest.raises(UserError, match=r"max_length is 64, but the backbone has 32 positions"):
        make_backbone(PINNED, *files, 64)
    weights = cached / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-8])
    with pytest.raises(UserError, match="backbone owner/name at 1111"):
        make_backbone(PINNED, *files, 32)
    weights.unlink()
    (cached / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(UserError, match=r"backbone owner/name at 1111.*safetensors"):
        make_backbone(PINNED, *files, 32)
    samples.make_backbone(family, cached)  # 97 ids
    message = r"tokenizer has 26\d ids, but the backbone knows 97: name the backbone's own"
    with pytest.raises(UserError, match=message):
        make_backbone(PINNED, *files, 32)
