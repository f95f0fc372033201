"""Controls take the neurons that they say, and set them to what they say."""

from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch

from rm_tension.activations.sums import Activations, ActivationSums
from rm_tension.backbone.neurons import ablated, neuron_shape, output_weights
from rm_tension.base.config import load_params
from rm_tension.evaluate.conditions import Condition
from rm_tension.evaluate.controls import CONTROLS
from rm_tension.evaluate.evaluation import NeuronSets, Texts, evaluate
from rm_tension.evaluate.groups import group_margins, groups_by_block
from rm_tension.evaluate.mean_ablation import mean_activation, set_to
from rm_tension.evaluate.scores import SCORES, Score
from rm_tension.model.device import Compute, TokenBudget
from rm_tension.model.reward_model import rewards
from rm_tension.model.rows import collate
from samples import random_items

CPU = Compute(torch.device("cpu"), "float32")
PARAMS = load_params()


def sums(shape, seed, tokens):
    generator = np.random.default_rng(seed)
    return ActivationSums(*(generator.normal(size=shape) for _ in range(5)), tokens=tokens)


def random_activations(shape):
    return Activations(sums(shape, 0, 7), sums(shape, 1, 13))


@pytest.fixture
def activations():
    return random_activations((3, 100))


def mask(activations, kind, percent=20, seed=247):
    return NeuronSets({"mixed": activations}, PARAMS, seed).mask(Condition(kind, percent), "mixed")


def test_new_and_old_neurons_are_parts_of_the_top_and_alike_in_number(activations):
    own, backbone = mask(activations, "magnitude"), mask(activations, "backbone")
    new, old = mask(activations, "new"), mask(activations, "old/1")
    assert backbone.sum() == own.sum() == 60
    assert np.array_equal(new, own & ~backbone)
    assert not (old & ~(own & backbone)).any()
    assert 0 < old.sum() == min(new.sum(), (own & backbone).sum())


def test_depth_matched_neurons_are_drawn_block_by_block(activations):
    own = mask(activations, "magnitude")
    draws = [mask(activations, f"depth-matched/{draw}") for draw in range(1, 301)]
    for draw in draws:
        assert draw.sum(axis=1).tolist() == own.sum(axis=1).tolist()
    assert np.array_equal(draws[0], mask(activations, "depth-matched/1"))
    assert not np.array_equal(draws[0], mask(activations, "depth-matched/1", seed=0))
    shares = np.mean(draws, axis=0)
    np.testing.assert_allclose(shares, np.repeat(own.mean(axis=1)[:, None], 100, 1), atol=0.12)


def test_a_drawn_control_has_a_kind_for_each_draw():
    assert CONTROLS["depth-matched"].kinds("depth-matched", 2) == [
        "depth-matched/1",
        "depth-matched/2",
    ]
    assert CONTROLS["backbone"].kinds("backbone", 2) == ["backbone"]


@contextmanager
def without_and_with_a_constant(model, silenced, values):
    """Zero, and what the values would add, in the output projections' biases."""
    biases = [block.mlp.c_proj.bias for block in model.base_model.h]
    constants = [
        torch.from_numpy(np.where(layer, value, 0)).float() @ weight
        for layer, value, weight in zip(silenced, values, output_weights(model), strict=True)
    ]
    with torch.no_grad():
        for bias, constant in zip(biases, constants, strict=True):
            bias += constant
        with ablated(model, silenced):
            yield
        for bias, constant in zip(biases, constants, strict=True):
            bias -= constant


def scored(model, items):
    with torch.no_grad():
        return rewards(model, collate(items)).numpy()


def test_a_mean_without_a_gate_is_a_constant_in_the_output_projection(model, family):
    if family != "gpt2":
        pytest.skip("a gate multiplies the activation")
    shape, items = neuron_shape(model), random_items(3, 4)
    silenced = np.random.default_rng(2).random(shape) < 0.3
    values = np.random.default_rng(3).normal(size=shape)
    with set_to(model, silenced, values):
        by_hook = scored(model, items)
    with without_and_with_a_constant(model, silenced, values):
        by_weights = scored(model, items)
    np.testing.assert_allclose(by_hook, by_weights, atol=2e-5)
    assert np.abs(by_hook - scored(model, items)).max() > 1e-2


def test_a_mean_of_zero_is_ablation(model):
    silenced = np.random.default_rng(2).random(neuron_shape(model)) < 0.3
    items = random_items(3, 4)
    with set_to(model, silenced, np.zeros(silenced.shape)):
        by_hook = scored(model, items)
    with ablated(model, silenced):
        np.testing.assert_allclose(by_hook, scored(model, items), atol=2e-5)


def table_of(items):
    ids = [str(number) for number in range(len(items))]
    return pd.DataFrame({"dataset": "hh-rlhf", "item_id": ids, "answers": items})


def test_the_mean_is_that_of_all_tokens_and_evaluation_sets_the_top_to_it(model):
    activations = random_activations(neuron_shape(model))
    chosen, rejected = activations.sides
    mean = mean_activation(activations)
    assert mean[0, 0] == pytest.approx((chosen.sum[0, 0] + rejected.sum[0, 0]) / 20)
    items = random_items(3, 4)
    texts = Texts.lay_out(table_of(items), TokenBudget(1000))
    sets = NeuronSets({"mixed": activations}, PARAMS, 0)
    condition = Condition("mean-ablation", 20)
    (table,) = evaluate(model, "mixed", "key", [(texts, [condition])], sets, CPU)
    with set_to(model, sets.mask(Condition("magnitude", 20), "mixed"), mean):
        np.testing.assert_allclose(table["reward"], scored(model, items), atol=1e-5)


def test_groups_rise_with_the_score_and_hold_each_block_alike():
    scores = np.random.default_rng(0).normal(size=(3, 40))
    groups = groups_by_block(scores, 10)
    for layer, own in zip(scores, groups, strict=True):
        assert np.bincount(own).tolist() == [0] + [4] * 10
        assert layer[own == 10].min() > layer[own == 9].max()


def test_margins_of_groups_are_those_of_the_model_without_them(model, monkeypatch):
    ranks = np.random.default_rng(5).random(neuron_shape(model))
    monkeypatch.setattr(
        "rm_tension.evaluate.groups.SCORES", {"planted": Score("", lambda *_: ranks)}
    )
    monkeypatch.setitem(SCORES, "planted", Score("", lambda *_: ranks))
    items = random_items(3, 6)
    activations = random_activations(neuron_shape(model))
    texts = Texts.lay_out(table_of(items), TokenBudget(30))
    table = group_margins(model, activations, 0, texts, 4, CPU, "test")
    assert table["group"].unique().tolist() == [0, 1, 2, 3, 4]
    third = table[table["group"] == 3]
    assert third["item_id"].tolist() == [str(number) for number in range(6)]
    with ablated(model, groups_by_block(ranks, 4) == 3):
        reward = scored(model, items)
    np.testing.assert_allclose(third["margin"], reward[0::2] - reward[1::2], atol=1e-5)
