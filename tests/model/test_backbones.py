"""Backbones of the miniature, and what a real one must bring."""

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from rm_tension.config import HubFiles, RandomWeights, TrainedTokenizer
from rm_tension.errors import UserError
from rm_tension.model.backbones import make_backbone, save_backbone
from rm_tension.model.neurons import input_weights, neuron_shape
from rm_tension.model.reward_model import new_reward_model
from rm_tension.tokens import make_tokenizer


def shape(family, **changes):
    values = {"layers": 2, "width": 16, "heads": 2, "init_std": 0.1, "gain_spread": 1.0, "seed": 1}
    return RandomWeights(kind="random", family=family, **{**values, **changes})


@pytest.fixture
def tokenizer(tmp_path):
    tokenizer = make_tokenizer(TrainedTokenizer(kind="trained", vocabulary=300), ["some words"])
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def test_random_backbones_have_their_shape_and_depend_on_the_seed(family, tokenizer):
    first, again, other = (make_backbone(shape(family, seed=seed), tokenizer, 32) for seed in (1, 1, 2))
    assert neuron_shape(first) == (2, 64)
    assert first.config.vocab_size == len(PreTrainedTokenizerFast.from_pretrained(tokenizer))
    weights = [torch.cat([p.flatten() for p in model.parameters()]) for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_gain_spread_makes_few_neurons_large(family, tokenizer):
    def share_of_top_tenth(spread):
        model = make_backbone(shape(family, gain_spread=spread), tokenizer, 32)
        sizes = torch.cat([weights.square().sum(dim=1) for weights in input_weights(model)]).sort().values
        return float(sizes[-len(sizes) // 10 :].sum() / sizes.sum())

    assert share_of_top_tenth(0.0) < 0.3 < share_of_top_tenth(1.5)


def test_a_saved_backbone_becomes_a_reward_model(family, tokenizer, tmp_path):
    save_backbone(make_backbone(shape(family), tokenizer, 32), tmp_path / "backbone", tokenizer)
    assert (tmp_path / "backbone" / "tokenizer" / "tokenizer.json").is_file()
    assert neuron_shape(new_reward_model(tmp_path / "backbone", 0, 0.02, "float32")) == (2, 64)


def test_a_backbone_that_is_nowhere_is_named(tokenizer, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="backbone nobody/nothing at 0123"):
        make_backbone(HubFiles(kind="hub", repo="nobody/nothing", revision="0123"), tokenizer, 32)


def test_a_backbone_with_too_few_positions_is_refused(tokenizer, tmp_path):
    make_backbone(shape("gpt2"), tokenizer, 32).save_pretrained(tmp_path / "small")
    with pytest.raises(UserError, match=r"tokens\.max_length is 64, but the backbone has 32 positions"):
        make_backbone(HubFiles(kind="hub", repo=str(tmp_path / "small"), revision="main"), tokenizer, 64)
