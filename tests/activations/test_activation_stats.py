"""One pass over rows gives the sums of a naive loop over separate sequences."""

import numpy as np
import pytest
import torch

from rm_tension.activations.stats import collect
from rm_tension.backbone.neurons import neuron_shape, on_activations
from rm_tension.model.device import Budget, Place
from rm_tension.model.reward_model import load_reward_model
from samples import random_items

CPU = Place(torch.device("cpu"), "float32")


def naive(model, backbone, pairs, side):
    """The four sums and the token count, text by text and without rows."""
    shape = neuron_shape(model)
    sums = {
        name: np.zeros(shape) for name in ("sum", "abs_sum", "change_square_sum", "backbone_sum")
    }
    tokens = 0
    for pair in pairs:
        ids = torch.as_tensor(pair[side], dtype=torch.int64)[None]
        seen = []
        for one in (backbone, model):
            layers = []
            with (
                torch.no_grad(),
                on_activations(one, lambda _, output, layers=layers: layers.append(output[0])),
            ):
                one.base_model(input_ids=ids)
            seen.append(torch.stack(layers).double().numpy())  # [layers, tokens, neurons]
        before, a = seen
        sums["sum"] += a.sum(axis=1)
        sums["abs_sum"] += np.abs(a).sum(axis=1)
        sums["change_square_sum"] += ((a - before) ** 2).sum(axis=1)
        sums["backbone_sum"] += before.sum(axis=1)
        tokens += ids.shape[1]
    return sums, tokens


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
    found = collect(models, untrained, pairs, CPU, Budget(budget), "test")
    assert found["helpful"].chosen.change_square_sum.max() == 0
    found = found["mixed"]
    for number, side in enumerate(found.sides):
        expected, tokens = naive(model, untrained, pairs, number)
        assert side.tokens == tokens
        for name, values in expected.items():
            np.testing.assert_allclose(
                getattr(side, name), values, rtol=1e-4, atol=1e-4, err_msg=name
            )
    assert found.chosen.change_square_sum.min() > 0


def test_parts_of_the_pairs_add_up(model, backbone):
    pairs, untrained = random_items(0, 7), load_reward_model(backbone)
    whole, first, rest = (
        collect({"a": model}, untrained, part, CPU, Budget(100), "test")["a"]
        for part in (pairs, pairs[:3], pairs[3:])
    )
    for both, one in zip((first + rest).sides, whole.sides, strict=True):
        assert both.tokens == one.tokens
        np.testing.assert_allclose(
            both.change_square_sum, one.change_square_sum, rtol=1e-5, atol=1e-6
        )
