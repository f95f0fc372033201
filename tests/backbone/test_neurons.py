"""Ablation by weights and by hooks agree, and always ends."""

import contextlib

import numpy as np
import pytest
import torch

from rm_tension.backbone.neurons import (
    ablated,
    family,
    neuron_shape,
    on_activations,
    output_weights,
)
from rm_tension.base.errors import UserError
from rm_tension.model.reward_model import rewards
from rm_tension.model.rows import collate
from samples import random_items

ITEMS = random_items(0, 5)


def random_mask(model, share, seed=0):
    return np.random.default_rng(seed).random(neuron_shape(model)) < share


@pytest.mark.parametrize("share", [0.1, 0.5, 1.1])
def test_zeroed_weights_and_zeroed_activations_give_the_same_rewards(model, share):
    mask = random_mask(model, share)
    rows = collate(ITEMS)

    def silence(layer, activations):
        return activations.masked_fill(torch.from_numpy(mask[layer]), 0.0)

    with torch.no_grad():
        whole = rewards(model, rows)
        with on_activations(model, silence):
            by_hooks = rewards(model, rows)
        with ablated(model, mask):
            by_weights = rewards(model, rows)
        torch.testing.assert_close(by_weights, by_hooks, rtol=0, atol=1e-5)
        assert not torch.allclose(by_weights, whole, atol=1e-3)
        assert torch.equal(rewards(model, rows), whole)


def test_weights_come_back_after_an_error(model):
    before = [weight.clone() for weight in output_weights(model)]
    with contextlib.suppress(KeyboardInterrupt), ablated(model, random_mask(model, 0.5)):
        assert not torch.equal(output_weights(model)[0], before[0])
        raise KeyboardInterrupt
    for weight, saved in zip(output_weights(model), before, strict=True):
        assert torch.equal(weight, saved)


def test_hooks_go_after_an_error(model):
    def fail(layer, activations):
        raise RuntimeError("boom")

    with torch.no_grad():
        with pytest.raises(RuntimeError, match="boom"), on_activations(model, fail):
            rewards(model, collate(ITEMS))
        rewards(model, collate(ITEMS))


def test_each_block_has_its_own_hook(model):
    seen = []
    with (
        torch.no_grad(),
        on_activations(model, lambda layer, output: seen.append((layer, output.shape[-1]))),
    ):
        rewards(model, collate(ITEMS))
    layers, neurons = neuron_shape(model)
    assert seen == [(layer, neurons) for layer in range(layers)]


def test_a_mask_of_another_model_is_refused(model):
    with (
        pytest.raises(ValueError, match="mask of shape"),
        ablated(model, np.zeros((1, 1), dtype=bool)),
    ):
        pass


def test_an_unknown_family_is_named(model):
    model.config.model_type = "bert"
    with pytest.raises(UserError, match="'bert' is not one of gpt2, llama"):
        family(model)
