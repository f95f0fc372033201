"""A reward that demonstrably flows through five neurons: which scores and controls find them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rm_tension.activations.attribution import attribute
from rm_tension.activations.stats import collect
from rm_tension.backbone.backbones import input_weights
from rm_tension.backbone.neurons import ablated, neuron_shape, output_weights
from rm_tension.base.config import load_params
from rm_tension.evaluate.conditions import Condition
from rm_tension.evaluate.controls import CONTROLS
from rm_tension.evaluate.evaluation import NeuronSets
from rm_tension.evaluate.scores import SCORES, neuron_scores
from rm_tension.evaluate.selection import top
from rm_tension.model.device import Compute, TokenBudget
from rm_tension.model.reward_model import load_reward_model, rewards
from rm_tension.model.rows import collate
from samples import random_items

PLANTED = [3, 8, 14, 21, 30]  # of the last block
MARK = 7  # the last token of every chosen text
CPU = Compute(torch.device("cpu"), "float32")
BUDGET = TokenBudget(10_000)


def plant(model):
    """Let the planted neurons see the mark, and write what they see along the head."""
    embedding = model.get_input_embeddings().weight
    with torch.no_grad():
        mark = embedding[MARK].clone()
        embedding[MARK] = 8 * mark / mark.norm()
        head = model.score.weight[0] / model.score.weight.norm()
        for neuron in PLANTED:
            list(input_weights(model))[-1][neuron] += 6 * mark / mark.norm()
            output_weights(model)[-1][neuron] = 6 * head


@pytest.fixture
def trio(model, backbone):
    """A planted RM, its untrained backbone, pairs whose chosen text is marked, and activations."""
    plant(model.requires_grad_(False))
    untrained = load_reward_model(backbone)
    pairs = [
        [np.append(chosen, MARK).astype(np.int32), np.append(rejected, MARK + 1).astype(np.int32)]
        for chosen, rejected in random_items(0, 40)
    ]
    found = collect({"rm": model}, untrained, pairs, CPU, BUDGET, "test")["rm"]
    found = replace(found, attribution=attribute(model, pairs, CPU, BUDGET, "test"))
    return model, pairs, found


def margin(model, pairs):
    with torch.no_grad():
        reward = rewards(model, collate(pairs))
    return float((reward[0::2] - reward[1::2]).mean())


def planted_mask(model):
    mask = np.zeros(neuron_shape(model), dtype=bool)
    mask[-1, PLANTED] = True
    return mask


def found_by(mask, trio):
    """How many planted neurons a set has."""
    return int((mask & planted_mask(trio[0])).sum())


def test_the_reward_flows_through_the_planted_neurons(trio):
    model, pairs, _ = trio
    whole = margin(model, pairs)
    with ablated(model, planted_mask(model)):
        assert margin(model, pairs) < 0.1 * whole


def cells(trio):
    """What the table says of each score (planted of its first 5 and 10) and of what is ablated."""
    model, pairs, activations = trio
    for name, score in SCORES.items():
        scores = neuron_scores(name, activations, 0)
        firsts = [found_by(top(scores, 100 * size / scores.size), trio) for size in (5, 10)]
        yield score.title, "{} and {}".format(*firsts)
    sets, whole = NeuronSets({"rm": activations}, load_params(), 0), margin(model, pairs)
    for name in ("magnitude", *CONTROLS):
        kinds = CONTROLS[name].kinds(name, 5) if name in CONTROLS else [name]
        found, size, left = [], [], []
        for condition in [Condition(kind, 20) for kind in kinds]:
            mask = sets.mask(condition, "rm")
            found.append(found_by(mask, trio))
            size.append(mask.sum())
            with sets.ablated(model, condition, "rm"):
                left.append(100 * margin(model, pairs) / whole)
        title = CONTROLS[name].title if name in CONTROLS else "Top by magnitude"
        yield title, f"{np.mean(found):.3g} of {np.mean(size):.0f}, {np.mean(left) + 0.0:.0f}%"


def test_the_table_of_the_method_says_what_finds_them(trio, family):
    column = ["gpt2", "llama"].index(family)
    text = Path("docs/METHOD.md").read_text(encoding="utf-8").partition("**Positive control**")[2]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    table = {title: columns[column] for title, *columns in rows[1:]}
    computed = dict(cells(trio))
    assert table == {title: computed[title] for title in table}
    for title in ("Change", "Absolute", "Contrast"):  # which do as magnitude
        assert computed[title] == table["Magnitude"]
