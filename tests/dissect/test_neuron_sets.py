"""Neurons of a loaded model: their scores, their sets, and the model without them."""

import numpy as np
import pytest
import torch

from architectures import make_classifier
from hub_models import HARMLESS, HELPFUL
from rm_tension import load_reward_model
from rm_tension.activations.attribution import attribute
from rm_tension.activations.stats import collect
from rm_tension.backbone.neurons import on_activations
from rm_tension.base.errors import UserError
from rm_tension.dissect.neurons import jaccard
from rm_tension.evaluate.scores import neuron_scores
from rm_tension.evaluate.selection import top
from rm_tension.model.device import TokenBudget
from rm_tension.score.items import read_items
from small_repository import KEY, PLACE


@pytest.fixture(scope="module")
def rm(trained):
    return load_reward_model(KEY, repo=trained / "origin", device="cpu")


def test_the_ten_lines_of_the_documentation(rm):
    found = rm.neurons(helpful=HELPFUL, harmless=HARMLESS)
    shared = found.top("magnitude", 10, "helpful") & found.top("magnitude", 10, "harmless")
    question = ("How do I boil an egg?", ["Seven minutes.", "No."])
    before = rm.score(*question)

    def silence(layer, activations):
        return activations.masked_fill(torch.from_numpy(shared.mask[layer]), 0.0)

    with on_activations(rm.model, silence):
        by_hooks = rm.score(*question)
    with rm.ablated(shared):
        without = rm.score(*question)
    assert without == pytest.approx(by_hooks, abs=1e-5)
    assert without != pytest.approx(before, abs=1e-4)
    with rm.ablated(shared.mask):
        assert rm.score(*question) == without
    assert rm.score(*question) == before
    assert repr(shared) == f"{len(shared)} of 192 neurons ({len(shared) / 192:.1%})"
    assert repr(found).startswith("3 x 64 neurons by random, ")
    assert " on helpful (" in repr(found)


def test_scores_are_those_of_the_stages(rm, trained):
    found = rm.neurons(backbone=trained / "origin" / PLACE, seed=7, helpful=HELPFUL)
    pairs = rm.encode(read_items(HELPFUL))
    sums = collect({"rm": rm.model}, rm.model, pairs, rm.compute, TokenBudget(4096), "")["rm"]
    for name in found.scores:
        assert np.array_equal(found.score(name), neuron_scores(name, sums, 7))
    assert "change" in found.scores
    attributed = rm.neurons(attribution=True, helpful=HELPFUL).score("attribution")
    total = attribute(rm.model, pairs, rm.compute, TokenBudget(1024), "")
    assert np.array_equal(attributed, total.sum / total.tokens)
    assert found.score("change", "helpful").max() == 0  # the model is its own backbone here
    mask = top(neuron_scores("absolute", sums, 7), 25)
    assert np.array_equal(found.top("absolute", 25).mask, mask)


def test_sets_combine_as_sets_do(rm):
    found = rm.neurons(helpful=HELPFUL, harmless=HARMLESS)
    first, second = (found.top("absolute", 20, name) for name in ("helpful", "harmless"))
    both, either = first & second, first | second
    assert len(first) == len(second) == round(0.2 * 192)
    assert len(both) + len(either) == len(first) + len(second)
    assert np.array_equal((first - second).mask, (first & ~second).mask)
    assert len(~first) == 192 - len(first)
    assert jaccard(first, second) == len(both) / len(either)


def test_what_there_is_not_is_named(rm, tmp_path):
    found = rm.neurons(helpful=HELPFUL, harmless=HARMLESS)
    with pytest.raises(UserError, match=r"score 'change': there are random, .* name one"):
        found.top("change", 10, "helpful")
    with pytest.raises(UserError, match=r"score 'attribution': there are .* ask for attribution"):
        found.score("attribution", "helpful")
    with pytest.raises(UserError, match="text set None: there are helpful, harmless"):
        found.top("magnitude", 10)
    with pytest.raises(UserError, match="101%: must be more than 0"):
        found.top("magnitude", 101, "helpful")
    with pytest.raises(UserError, match="no set of pairs"):
        rm.neurons()
    with pytest.raises(UserError, match="helpful: no pairs"):
        rm.neurons(helpful=[])
    with pytest.raises(UserError, match="helpful: item 1 has 1 answers"):
        rm.neurons(helpful=[("Why?", ["So."])])
    make_classifier("llama").save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"3 x 80 neurons, other than the model's"):
        rm.neurons(backbone=tmp_path, helpful=HELPFUL)
