"""Backbones of the miniature, and what a real one must bring."""

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from rm_tension.config import HubFiles, RandomWeights, TrainedTokenizer
from rm_tension.errors import UserError
from rm_tension.hub import Hub
from rm_tension.model.backbones import make_backbone, save_backbone
from rm_tension.model.neurons import input_weights, neuron_shape
from rm_tension.model.reward_model import new_reward_model
from rm_tension.tokens import make_tokenizer
from small_hub import go_offline, snapshot

NO_HUB = Hub(None)
PINNED = HubFiles(kind="hub", repo="owner/name", revision="1" * 40)


def shape(family, **changes):
    values = {"layers": 2, "width": 16, "heads": 2, "init_std": 0.1, "gain_spread": 1.0, "seed": 1}
    return RandomWeights(kind="random", family=family, **{**values, **changes})


@pytest.fixture
def tokenizer(tmp_path):
    tokenizer = make_tokenizer(TrainedTokenizer(kind="trained", vocabulary=300), ["some words"], NO_HUB)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def test_random_backbones_have_their_shape_and_depend_on_the_seed(family, tokenizer):
    first, again, other = (make_backbone(shape(family, seed=seed), tokenizer, 32, NO_HUB) for seed in (1, 1, 2))
    assert neuron_shape(first) == (2, 64)
    assert first.config.vocab_size == len(PreTrainedTokenizerFast.from_pretrained(tokenizer))
    weights = [torch.cat([p.flatten() for p in model.parameters()]) for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_gain_spread_makes_few_neurons_large(family, tokenizer):
    def share_of_top_tenth(spread):
        model = make_backbone(shape(family, gain_spread=spread), tokenizer, 32, NO_HUB)
        sizes = torch.cat([weights.square().sum(dim=1) for weights in input_weights(model)]).sort().values
        return float(sizes[-len(sizes) // 10 :].sum() / sizes.sum())

    assert share_of_top_tenth(0.0) < 0.3 < share_of_top_tenth(1.5)


def test_a_saved_backbone_becomes_a_reward_model(family, tokenizer, tmp_path):
    save_backbone(make_backbone(shape(family), tokenizer, 32, NO_HUB), tmp_path / "backbone", tokenizer)
    assert (tmp_path / "backbone" / "tokenizer" / "tokenizer.json").is_file()
    assert neuron_shape(new_reward_model(tmp_path / "backbone", 0, 0.02, "float32")) == (2, 64)


@pytest.fixture
def cached(family, tokenizer, tmp_path, monkeypatch):
    """The folder of a backbone in the hub's cache, at its pinned revision."""
    go_offline(tmp_path / "cache", monkeypatch)
    folder = snapshot(tmp_path / "cache", "model", PINNED)
    make_backbone(shape(family), tokenizer, 32, NO_HUB).save_pretrained(folder)
    return folder


def test_a_backbone_of_the_hub_is_checked_against_its_first_fetch(cached, tokenizer, tmp_path):
    hub = Hub(tmp_path / "hub.sha256")
    for _ in range(2):
        assert neuron_shape(make_backbone(PINNED, tokenizer, 32, hub)) == (2, 64)
    recorded = hub.sums.read_text().splitlines()
    assert [line.split("/")[-1] for line in recorded] == ["config.json", "model.safetensors"]
    weights = bytearray((cached / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (cached / "model.safetensors").write_bytes(weights)
    with pytest.raises(UserError, match=r"model\.safetensors: sha256 .* but .*hub\.sha256 has"):
        make_backbone(PINNED, tokenizer, 32, hub)


def test_a_truncated_backbone_is_named_and_not_recorded(cached, tokenizer, tmp_path):
    weights = cached / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    hub = Hub(tmp_path / "hub.sha256")
    with pytest.raises(UserError, match="backbone owner/name at 1111"):
        make_backbone(PINNED, tokenizer, 32, hub)
    assert not hub.sums.exists()


def test_weights_other_than_safetensors_are_refused(cached, tokenizer):
    (cached / "model.safetensors").rename(cached / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"backbone owner/name at 1111.*safetensors"):
        make_backbone(PINNED, tokenizer, 32, NO_HUB)


def test_a_backbone_with_too_few_positions_is_refused(cached, tokenizer):
    with pytest.raises(UserError, match=r"tokens\.max_length is 64, but the backbone has 32 positions"):
        make_backbone(PINNED, tokenizer, 64, NO_HUB)
