"""Ablation by weights and by hooks agree, and always ends."""

import contextlib

import numpy as np
import pytest
import torch

from architectures import CONFIGS, make_classifier
from rm_tension.backbone.neurons import (
    ablated,
    neuron_shape,
    neuron_sites,
    on_activations,
    output_weights,
)
from rm_tension.base.errors import UserError
from rm_tension.model.reward_model import rewards
from rm_tension.model.rows import collate
from samples import random_items

ROWS = collate(random_items(0, 5))


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


def test_a_mask_of_another_model_is_refused(model):
    mask = np.zeros((1, 1), dtype=bool)
    with pytest.raises(ValueError, match="mask of shape"), ablated(model, mask):
        pass


@pytest.mark.parametrize("model_type", CONFIGS)
def test_the_neurons_of_any_architecture_are_found_and_silenced(model_type):
    model = make_classifier(model_type)
    text = torch.randint(2, 97, (1, 20), generator=torch.Generator().manual_seed(1))
    layers, neurons = neuron_shape(model)
    assert (layers, neurons) in {(3, 80), (3, 128)}
    mask = np.random.default_rng(0).random((layers, neurons)) < 0.5
    seen = []

    def silence(layer, activations):
        seen.append((layer, activations.shape[-1]))
        return activations.masked_fill(torch.from_numpy(mask[layer]), 0.0)

    with torch.no_grad():
        before = model(text).logits
        with on_activations(model, silence):
            by_hooks = model(text).logits
        assert seen == [(layer, neurons) for layer in range(layers)]
        with ablated(model, mask):
            by_weights = model(text).logits
        torch.testing.assert_close(by_weights, by_hooks, rtol=0, atol=1e-5)
        assert not torch.allclose(by_weights, before, atol=1e-3)
        assert torch.equal(model(text).logits, before)


def test_the_search_draws_no_random_number_and_is_made_once(monkeypatch):
    model = make_classifier("gpt2").train()  # with dropout
    state = torch.get_rng_state()
    sites = neuron_sites(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.base_model.training
    monkeypatch.setattr(model.base_model, "forward", None)
    assert neuron_sites(model) is sites
    before = output_weights(model)[0].clone()
    model.double()  # the sites keep modules, whose weights may be replaced
    assert output_weights(model)[0].dtype == torch.float64
    assert torch.equal(output_weights(model)[0], before.double())


def test_blocks_with_several_mlps_are_refused_with_their_modules():
    message = r"'mixtral': 0 pairs of an activation module and .*mlp\.experts \(MixtralExperts\)"
    with pytest.raises(UserError, match=message):
        neuron_sites(make_classifier("mixtral"))
