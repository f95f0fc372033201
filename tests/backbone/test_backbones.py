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
from rm_tension.backbone.backbones import make_backbone as make_and_record
from rm_tension.backbone.backbones import save_backbone
from rm_tension.backbone.neurons import input_weights, neuron_shape
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


def sha256_hex(content):
    return hashlib.sha256(content).hexdigest()


def make_backbone(*arguments):
    """The model alone."""
    return make_and_record(*arguments)[0]


def shape(family, **changes):
    values = {
        "layers": 2,
        "width": 16,
        "heads": 2,
        "init_std": 0.1,
        "gain_spread": 1.0,
        "seed": 1,
        "pretraining": None,
    }
    return RandomWeights(kind="random", family=family, **{**values, **changes})


@pytest.fixture
def files(tmp_path):
    """A tokenizer, and training pairs of which each token says the next."""
    tokenizer, pairs = tmp_path / "tokenizer", tmp_path / "train.parquet"
    make_tokenizer(
        TrainedTokenizer(kind="trained", vocabulary=300), ["some words"]
    ).save_pretrained(tokenizer)
    texts = [np.arange(start, start + 12, dtype=np.int32) for start in range(5, 25)]
    named = dict.fromkeys(("dataset", "subset", "item_id"), "any")
    answers = [list(pair) for pair in zip(texts, texts[::-1], strict=True)]
    pd.DataFrame({**named, "answers": answers, "too_long": False}).to_parquet(pairs)
    return tokenizer, pairs


def test_random_backbones_have_their_shape_and_depend_on_the_seed(family, files):
    first, again, other = (
        make_backbone(shape(family, seed=seed), *files, 32) for seed in (1, 1, 2)
    )
    assert neuron_shape(first) == (2, 64)
    assert first.config.vocab_size == len(PreTrainedTokenizerFast.from_pretrained(files[0]))
    weights = [
        torch.cat([p.flatten() for p in model.parameters()]) for model in (first, again, other)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_gain_spread_makes_few_neurons_large(family, files):
    def share_of_top_tenth(spread):
        model = make_backbone(shape(family, gain_spread=spread), *files, 32)
        sizes = torch.cat([weights.square().sum(dim=1) for weights in input_weights(model)]).sort(
            descending=False
        )[0]
        return float(sizes[-len(sizes) // 10 :].sum() / sizes.sum())

    assert share_of_top_tenth(0.0) < 0.3 < share_of_top_tenth(1.5)


def test_pretraining_learns_the_texts_alike_for_the_same_seed(family, files):
    life = Pretraining(steps=60, chunks_per_step=8, length=13, learning_rate=0.02)
    first, again = (make_backbone(shape(family, pretraining=life), *files, 32) for _ in range(2))
    untrained = make_backbone(shape(family), *files, 32)
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    text = torch.arange(5, 17)[None]
    hits = []
    for model in (first, untrained):  # the output embedding is tied to the input's
        with torch.no_grad():
            scores = model(input_ids=text).last_hidden_state @ model.get_input_embeddings().weight.T
        hits.append(float((scores[0, :-1].argmax(dim=-1) == text[0, 1:]).float().mean()))
    assert hits[0] > 0.9 > 0.5 > hits[1]


def test_texts_that_do_not_fill_a_chunk_are_refused(files):
    life = Pretraining(
        steps=1, chunks_per_step=1, length=521, learning_rate=0.02
    )  # 40 texts of 12 tokens and an EOS
    with pytest.raises(
        UserError, match=r"pretraining\.length .* is 521, but the training texts have 520 tokens"
    ):
        make_backbone(shape("gpt2", pretraining=life), *files, 1024)


def test_a_saved_backbone_becomes_a_reward_model(family, files, tmp_path):
    save_backbone(make_backbone(shape(family), *files, 32), tmp_path / "backbone", files[0])
    assert (tmp_path / "backbone" / "tokenizer.json").is_file()
    assert neuron_shape(new_reward_model(tmp_path / "backbone", 0, 0.02, "float32")) == (2, 64)


@pytest.fixture
def cached(family, files, tmp_path, monkeypatch):
    """The folder of a backbone in the hub's cache, at its pinned revision."""
    go_offline(tmp_path / "cache", monkeypatch)
    folder = snapshot(tmp_path / "cache", "model", PINNED)
    make_backbone(shape(family), *files, 32).save_pretrained(folder)
    return folder


@pytest.fixture
def job(cached, files, tmp_path):
    """Make the stage's job in a profile that says `stand_ins` of its files."""
    paths = Paths("mini", tmp_path / "repository")
    paths.tokenizer("gpt2-small").parent.mkdir(parents=True)
    for path, place in zip(
        files, (paths.tokenizer("gpt2-small"), paths.tokens("gpt2-small", "train")), strict=True
    ):
        (shutil.copytree if path.is_dir() else shutil.copyfile)(path, place)

    def make(weights, stand_ins):
        mini = PARAMS.profiles["mini"]
        profile = changed(
            mini,
            data=changed(mini.data, source=changed(hub_source(), stand_ins=stand_ins)),
            tokens=changed(mini.tokens, max_length=32),
            backbones={"gpt2-small": changed(mini.backbones["gpt2-small"], weights=weights)},
        )
        return Job(PARAMS, profile, paths, {"profile": "mini", "backbone": "gpt2-small"})

    return make


@pytest.mark.parametrize("stand_ins", [None, "another model, from 4 bits"])
def test_the_stage_records_what_the_cache_gave_and_that_stand_ins_were_compared_with_nothing(
    job, cached, stand_ins
):
    here = job(PINNED, stand_ins)
    stage.run(here)
    found = read_json(here.paths.backbone_provenance("gpt2-small"), LoadedWeights)
    names = ["config.json", "model.safetensors"]
    raw = [(cached / name).read_bytes() for name in names]
    loaded = [
        LoadedFile(*one) for one in zip(names, map(len, raw), map(sha256_hex, raw), strict=True)
    ]
    assert found == LoadedWeights(Snapshot("owner/name", "1" * 40, "1" * 40, loaded), stand_ins)
    assert neuron_shape(AutoModel.from_pretrained(here.paths.backbone("gpt2-small"))) == (2, 64)


@pytest.mark.usefixtures("cached")
def test_random_weights_are_no_stand_ins_and_come_from_no_file(job, family):
    here = job(shape(family), "another model, from 4 bits")
    stage.run(here)
    assert read_json(here.paths.backbone_provenance("gpt2-small"), LoadedWeights) == LoadedWeights(
        None, None
    )


def test_a_truncated_backbone_is_named(cached, files):
    weights = cached / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(UserError, match="backbone owner/name at 1111"):
        make_backbone(PINNED, *files, 32)


def test_weights_other_than_safetensors_are_refused(cached, files):
    (cached / "model.safetensors").rename(cached / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"backbone owner/name at 1111.*safetensors"):
        make_backbone(PINNED, *files, 32)


def test_a_backbone_with_too_few_positions_is_refused(cached, files):
    with pytest.raises(
        UserError, match=r"tokens\.max_length is 64, but the backbone has 32 positions"
    ):
        make_backbone(PINNED, *files, 64)


def test_a_backbone_that_does_not_know_the_tokenizer_s_ids_is_refused(cached, family, files):
    samples.make_backbone(family, cached)  # 97 ids
    with pytest.raises(
        UserError,
        match=r"tokenizer has 26\d ids, but the backbone knows 97: name the backbone's own",
    ):
        make_backbone(PINNED, *files, 32)
