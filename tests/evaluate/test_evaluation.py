"""Every condition silences its own set, and every reward stands in its row."""

import numpy as np
import pandas as pd
import pytest
import torch

from rm_tension.activations.sums import Activations, ActivationSums
from rm_tension.backbone.neurons import ablated, neuron_shape
from rm_tension.base.config import ControlsConfig, EvaluateConfig, GroupsConfig, load_params
from rm_tension.evaluate.conditions import ALL, NONE, Condition, hh_conditions, task_conditions
from rm_tension.evaluate.evaluation import NeuronSets, Texts, evaluate
from rm_tension.evaluate.scores import neuron_scores
from rm_tension.evaluate.selection import top
from rm_tension.model.device import Compute, TokenBudget
from rm_tension.model.reward_model import rewards
from rm_tension.model.rows import collate
from samples import random_items

CONFIG = EvaluateConfig(
    hh_percents={"random": (10, 20), "change": (10,), "absolute": (10,)},
    task_percents={"magnitude": (20,), "absolute": (10, 20)},
    set_percents=(5, 20),
    task_percent=20,
    controls=ControlsConfig(percents=(20,), hh={"old": 2}, tasks={"backbone": 2}),
    groups=GroupsConfig(number=10, pairs=3),
    precision="float32",
    tokens_per_batch=60,
)

PARAMS = load_params()


@pytest.fixture
def activations(model):
    """Random sums of each objective."""
    generator, shape = np.random.default_rng(0), neuron_shape(model)
    sides = [
        ActivationSums(*(generator.random(shape) for _ in range(5)), tokens=7) for _ in range(6)
    ]
    pairs = map(Activations, sides[::2], sides[1::2])
    return dict(zip(("helpful", "harmless", "mixed"), pairs, strict=True))


@pytest.fixture
def sets(activations):
    return NeuronSets(activations, PARAMS, seed=247)


def test_conditions_are_those_of_the_settings():
    hh = ["none 0%", "all 100%", "random 10%", "random 20%", "change 10%", "absolute 10%"]
    hh += ["old/1 20%", "old/2 20%"]
    assert list(map(str, hh_conditions(CONFIG))) == hh
    tasks = ["none 0%", "magnitude 20%", "absolute 10%", "absolute 20%", "backbone 20%"]
    assert list(map(str, task_conditions(CONFIG, "helpful"))) == tasks
    sets = [f"{kind} {n}%" for kind in ("shared", "helpful-only", "harmless-only") for n in (5, 20)]
    assert list(map(str, task_conditions(CONFIG, "mixed"))) == tasks + sets


def test_masks_of_conditions(activations, sets):
    assert not sets.mask(NONE, "helpful").any()
    assert sets.mask(ALL, "helpful").all()
    random = top(neuron_scores("random", activations["mixed"], 247), 10)
    assert np.array_equal(sets.mask(Condition("random", 10), "mixed"), random)
    helpful, harmless = (sets.mask(Condition("magnitude", 20), o) for o in ("helpful", "harmless"))
    for kind, mask in (("shared", helpful & harmless), ("harmless-only", harmless & ~helpful)):
        assert np.array_equal(sets.mask(Condition(kind, 20), "mixed"), mask)
        assert mask.any()


def test_rewards_are_those_of_the_ablated_model_in_the_order_of_the_items(model, sets):
    answers = random_items(0, 3, answers=4) + random_items(1, 3, answers=2)
    answers[4][1] = answers[4][0].copy()  # equal texts have equal rewards
    items = pd.DataFrame({"dataset": "suite", "item_id": list("abcdef"), "answers": answers})
    conditions = [NONE, Condition("shared", 20), ALL]
    work = [(Texts.lay_out(items, TokenBudget(60)), conditions)]
    tables = list(
        evaluate(model, "mixed", "key", work, sets, Compute(torch.device("cpu"), "float32"))
    )
    for condition, table in zip(conditions, tables, strict=True):
        assert (table["kind"] == condition.kind).all()
        assert (table["percent"] == condition.percent).all()
        assert table["item_id"].tolist() == list("aaaabbbbccccddeeff")
        assert table["answer_index"].tolist() == [0, 1, 2, 3] * 3 + [0, 1] * 3
        assert table["reward"].dtype == np.float32
        with torch.no_grad(), ablated(model, sets.mask(condition, "mixed")):
            alone = [float(rewards(model, collate([[text]]))) for item in answers for text in item]
        np.testing.assert_allclose(table["reward"], alone, rtol=0, atol=1e-5)
        first, second = table.loc[table["item_id"] == "e", "reward"]
        assert first == second
