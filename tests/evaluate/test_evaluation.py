"""Every condition silences its own set, and every reward has its place."""

import numpy as np
import pandas as pd
import pytest
import torch

from rm_tension.activations.sums import Activations, ActivationSums
from rm_tension.backbone.neurons import ablated, neuron_shape
from rm_tension.base.config import EvaluateConfig
from rm_tension.evaluate.conditions import ALL, NONE, Condition, hh_conditions, task_conditions
from rm_tension.evaluate.evaluation import NeuronSets, Texts, evaluate
from rm_tension.evaluate.selection import neuron_scores, top
from rm_tension.model.device import Budget, Place
from rm_tension.model.reward_model import rewards
from rm_tension.model.rows import collate
from samples import random_items

CONFIG = EvaluateConfig(
    hh_percents={"random": (10, 20), "change": (10, 20), "magnitude": (10, 20), "absolute": (10,)},
    task_percents={"magnitude": (20,), "absolute": (10, 20)},
    set_percents=(5, 20),
    task_percent=20,
    precision="float32",
    tokens_per_batch=60,
)


def activations(shape, seed):
    generator = np.random.default_rng(seed)

    def side():
        return ActivationSums(*(generator.random(shape) for _ in range(4)), tokens=7)

    return Activations(side(), side())


@pytest.fixture
def sets(model):
    shape = neuron_shape(model)
    return NeuronSets(
        {o: activations(shape, i) for i, o in enumerate(("helpful", "harmless", "mixed"))}, seed=247
    )


def test_conditions_are_those_of_the_settings():
    scores = [
        f"{score} {percent}%" for score in ("random", "change", "magnitude") for percent in (10, 20)
    ]
    assert [str(c) for c in hh_conditions(CONFIG)] == [
        "none 0%",
        "all 100%",
        *scores,
        "absolute 10%",
    ]
    tasks = ["none 0%", "magnitude 20%", "absolute 10%", "absolute 20%"]
    assert [str(c) for c in task_conditions(CONFIG, "helpful")] == tasks
    sets = [
        f"{kind} {percent}%"
        for kind in ("shared", "helpful-only", "harmless-only")
        for percent in (5, 20)
    ]
    assert [str(c) for c in task_conditions(CONFIG, "mixed")] == tasks + sets


def test_masks_of_conditions(model, sets):
    assert not sets.mask(NONE, "helpful").any()
    assert sets.mask(ALL, "helpful").all()
    random = neuron_scores("random", activations(neuron_shape(model), 2), 247)
    assert np.array_equal(sets.mask(Condition("random", 10), "mixed"), top(random, 10))
    own = {o: sets.mask(Condition("magnitude", 20), o) for o in ("helpful", "harmless", "mixed")}
    assert not np.array_equal(own["helpful"], own["harmless"])
    assert np.array_equal(
        sets.mask(Condition("shared", 20), "mixed"), own["helpful"] & own["harmless"]
    )
    assert np.array_equal(
        sets.mask(Condition("harmless-only", 20), "mixed"), own["harmless"] & ~own["helpful"]
    )


def test_rewards_are_those_of_the_ablated_model_in_the_order_of_the_items(model, sets):
    answers = random_items(0, 3, answers=4) + random_items(1, 3, answers=2)
    items = pd.DataFrame(
        {"dataset": "suite", "subset": "part", "item_id": list("abcdef"), "answers": answers}
    )
    conditions = [NONE, Condition("shared", 20), ALL]
    texts = Texts.lay_out(items, Budget(60))
    found = pd.concat(
        evaluate(
            model,
            "mixed",
            "key",
            [(texts, conditions)],
            sets,
            Place(torch.device("cpu"), "float32"),
        )
    )
    assert found[["kind", "percent"]].drop_duplicates().to_numpy().tolist() == [
        ["none", 0],
        ["shared", 20],
        ["all", 100],
    ]
    assert found["reward"].dtype == np.float32
    for condition in conditions:
        table = found[(found["kind"] == condition.kind) & (found["percent"] == condition.percent)]
        assert table["item_id"].tolist() == list("aaaabbbbccccddeeff")
        assert table["answer_index"].tolist() == [0, 1, 2, 3] * 3 + [0, 1] * 3
        with torch.no_grad(), ablated(model, sets.mask(condition, "mixed")):
            alone = [float(rewards(model, collate([[text]]))) for item in answers for text in item]
        np.testing.assert_allclose(table["reward"], alone, rtol=0, atol=1e-5)
