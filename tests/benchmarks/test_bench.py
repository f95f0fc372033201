"""What the bench computes with; a test of docs/PERFORMANCE.md runs it."""

import numpy as np
import pytest
import torch

from benchmarks import __main__ as bench
from benchmarks.material import LIMIT, Material
from rm_tension.base.config import load_params
from rm_tension.model.rows import prefix_length

pytestmark = pytest.mark.slow

PAPER = load_params().profiles["paper"]


@pytest.mark.parametrize("wrong", [2.001, np.nan])
def test_other_numbers_are_not_timed(wrong):
    sides = {"ours": lambda: np.array([0.0, 1, 2]), "theirs": lambda: np.array([0.0, 1, wrong])}
    with pytest.raises(SystemExit, match="task, theirs: not the numbers of ours"):
        bench.measure({"task": sides}, 1e-4, 0.001)


def test_texts_have_the_published_lengths():
    material = Material.of(PAPER, "smollm2-135m")
    pairs, items = material.pairs(2000), material.benchmark_items(200)
    prefixes = [prefix_length(pair) for pair in pairs]
    assert np.mean(prefixes) == pytest.approx(153, rel=0.1)  # of four sources of 124 to 224 tokens
    assert {len(pair) for pair in pairs} == {2}
    assert {len(item) for item in items} == {2, 4, 6}
    assert 900 < max(len(text) for item in [*pairs, *items] for text in item) < LIMIT


@pytest.mark.parametrize("backbone", PAPER.backbones)
def test_models_have_the_shape_of_the_backbone(backbone):
    material = Material.of(PAPER, backbone)
    model = material.model(torch.device("meta"))
    head = model.score.weight.numel()
    assert sum(p.numel() for p in model.parameters()) - head == material.shape.parameters
