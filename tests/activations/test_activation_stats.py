"""One pass over rows gives the sums of a naive loop over separate sequences."""

import numpy as np
import pytest
import torch

from benchmarks.compare import plain_sums
from rm_tension.activations.attribution import attribute
from rm_tension.activations.stats import OWN_SUMS, collect
from rm_tension.backbone.neurons import neuron_shape, on_activations
from rm_tension.model.device import Compute, TokenBudget
from rm_tension.model.reward_model import load_reward_model, rewards
from rm_tension.model.rows import collate
from samples import random_items

CPU = Compute(torch.device("cpu"), "float32")


@pytest.mark.parametrize("budget", [1, 70, 10_000])
def test_sums_equal_a_naive_loop(model, backbone, budget):
    same = np.array([7, 8, 9], np.int32)
    pairs = [
        *random_items(4, 8),
        [np.array([3, 4], np.int32), np.array([3, 4, 5], np.int32)],
        [same, same.copy()],
    ]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(
                0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
            )
    untrained = load_reward_model(backbone)
    models = {"mixed": model, "helpful": load_reward_model(backbone)}
    found = collect(models, untrained, pairs, CPU, TokenBudget(budget), "test")
    assert found["helpful"].chosen.change_square_sum.max() == 0
    found = found["mixed"]
    for number, side in enumerate(found.sides):
        texts = [torch.from_numpy(pair[number]).long()[None] for pair in pairs]
        assert side.tokens == sum(text.shape[1] for text in texts)
        plain = plain_sums(model, untrained, texts)
        for name, values in zip((*OWN_SUMS, "backbone_sum"), plain, strict=True):
            np.testing.assert_allclose(
                getattr(side, name), values, rtol=1e-4, atol=1e-4, err_msg=name
            )
    assert found.chosen.change_square_sum.min() > 0


def test_parts_of_the_pairs_add_up(model, backbone):
    pairs, untrained = random_items(0, 7), load_reward_model(backbone)
    whole, first, rest = (
        collect({"a": model}, untrained, part, CPU, TokenBudget(100), "test")["a"]
        for part in (pairs, pairs[:3], pairs[3:])
    )
    for both, one in zip((first + rest).sides, whole.sides, strict=True):
        assert both.tokens == one.tokens
        np.testing.assert_allclose(
            both.change_square_sum, one.change_square_sum, rtol=1e-5, atol=1e-6
        )


def test_without_a_gate_the_product_is_the_activation(model, backbone, family):
    untrained = load_reward_model(backbone)
    found = collect({"a": model}, untrained, random_items(0, 5), CPU, TokenBudget(100), "test")["a"]
    same = np.array_equal(found.chosen.product_sum, found.chosen.sum)
    assert same == (family == "gpt2")


@pytest.mark.parametrize("budget", [1, 10_000])
def test_attribution_is_the_derivative_of_the_margin_by_the_size_of_a_neuron(model, budget):
    """Of a factor on a neuron's activations, at 1: by differences, and text by text."""
    pairs = random_items(4, 6)
    found = attribute(model.requires_grad_(False), pairs, CPU, TokenBudget(budget), "test")
    assert found.tokens == sum(len(text) for pair in pairs for text in pair)
    model = model.double()

    def margin(factors):
        see = lambda layer, activations: activations * factors[layer]  # noqa: E731
        with torch.no_grad(), on_activations(model, see):
            reward = [float(rewards(model, collate([[text]]))) for pair in pairs for text in pair]
        return sum(reward[0::2]) - sum(reward[1::2])

    for layer, neuron in [(0, 0), (0, 7), (1, 3), (1, 30)]:
        change = torch.zeros(neuron_shape(model), dtype=torch.float64)
        change[layer, neuron] = 1e-3
        slope = (margin(1 + change) - margin(1 - change)) / 2e-3
        assert found.sum[layer, neuron] == pytest.approx(slope, rel=1e-3, abs=2e-3)
    assert np.abs(found.sum).max() > 0.1
