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

ROWS = collate(random_items(0, 5))


@pytest.mark.parametrize("share", [0.1, 0.5, 1.1])
def test_zeroed_weights_and_zeroed_activations_give_the_same_rewards(model, share):
    mask = np.random.default_rng(0).random(neuron_shape(model)) < share
    seen = []

    def silence(layer, activations):
        seen.append((layer, activations.shape[-1]))
        return activations.masked_fill(torch.from_numpy(mask[layer]), 0.0)

    with torch.no_grad():
        before = rewards(model, ROWS)
        with on_activations(model, silence):
            by_hooks = rewards(model, ROWS)
        with ablated(model, mask):
            by_weights = rewards(model, ROWS)
        torch.testing.assert_close(by_weights, by_hooks, rtol=0, atol=1e-5)
        assert not torch.allclose(by_weights, before, atol=1e-3)
        assert torch.equal(rewards(model, ROWS), before)
    layers, neurons = neuron_shape(model)
    assert seen == [(layer, neurons) for layer in range(layers)]


def test_weights_and_hooks_are_as_before_after_an_error(model):
    before = [weight.clone() for weight in output_weights(model)]
    mask = np.random.default_rng(0).random(neuron_shape(model)) < 0.5
    with contextlib.suppress(KeyboardInterrupt), ablated(model, mask):
        assert not torch.equal(output_weights(model)[0], before[0])
        raise KeyboardInterrupt
    for weight, saved in zip(output_weights(model), before, strict=True):
        assert torch.equal(weight, saved)

    def fail(layer, activations):
        raise RuntimeError("boom")

    with torch.no_grad():
        with pytest.raises(RuntimeError, match="boom"), on_activations(model, fail):
            rewards(model, ROWS)
        rewards(model, ROWS)


def test_a_mask_of_another_model_and_an_unknown_family_are_refused(model):
    mask = np.zeros((1, 1), dtype=bool)
    with pytest.raises(ValueError, match="mask of shape"), ablated(model, mask):
        pass
    model.config.model_type = "bert"
    with pytest.raises(UserError, match="'bert' is not one of gpt2, llama"):
        family(model)
