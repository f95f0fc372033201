"""Scores, exact top p% and trio sets, worked by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rm_tension.activations.sums import (
    Activations,
    ActivationSums,
    Attribution,
    load_activations,
    save_activations,
)
from rm_tension.base.errors import UserError
from rm_tension.evaluate.scores import SCORES, backbone_score, neuron_scores
from rm_tension.evaluate.selection import top, trio_sets


def sums(total, absolute, change, before, product, tokens):
    values = (total, absolute, change, before, product)
    return ActivationSums(*(np.array([value], dtype=float) for value in values), tokens)


# Two neurons; chosen has two tokens with activations (1, -2) and (3, -4), rejected one with (5, 0).
BY_HAND = Activations(
    chosen=sums([4, -6], [4, 6], [8, 18], [2, 0], [8, -6], tokens=2),
    rejected=sums([5, 0], [5, 0], [25, 0], [1, -1], [0, 1], tokens=1),
    attribution=Attribution(np.array([[6.0, -3.0]]), tokens=3),
)


def test_scores_by_hand():
    expected = {
        "magnitude": [[(2 + 5) / 2, (-3 + 0) / 2]],
        "absolute": [[(2 + 5) / 2, (3 + 0) / 2]],
        "change": [[(2 + 5) / 2, (3 + 0) / 2]],
        "contrast": [[5 - 2, 3]],
        "product": [[(4 + 0) / 2, (-3 + 1) / 2]],
        "attribution": [[2, -1]],
    }
    assert {"random", *expected} == set(SCORES)
    for name, score in expected.items():
        np.testing.assert_allclose(neuron_scores(name, BY_HAND, 0), score)
    np.testing.assert_allclose(backbone_score(BY_HAND), [[(1 + 1) / 2, (0 - 1) / 2]])
    first, again, other = (neuron_scores("random", BY_HAND, seed) for seed in (247, 247, 932))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    with pytest.raises(UserError, match="run the stage activations again"):
        neuron_scores("attribution", replace(BY_HAND, attribution=None), 0)


def test_top_takes_exactly_the_rounded_share_of_all_layers_together():
    scores = np.array([[5.0, 1.0, 4.0, -9.0], [3.0, 2.0, -1.0, 6.0]])
    assert top(scores, 25).tolist() == [[True, False, False, False], [False, False, False, True]]
    assert top(scores, 10).sum() == round(0.1 * 8)
    assert top(scores, 100).all()


@given(arrays(np.float64, (4, 30), elements=st.floats(-1e6, 1e6), unique=True), st.integers(1, 100))
def test_every_selected_neuron_scores_above_every_other(scores, percent):
    mask = top(scores, percent)
    assert mask.sum() == round(percent / 100 * scores.size)
    if mask.any() and not mask.all():
        assert scores[mask].min() > scores[~mask].max()


def test_few_ties_go_to_the_first_neuron_and_many_are_refused():
    scores = np.arange(4000.0).reshape(4, 1000)
    scores[3, 600] = scores[2, 5] = scores[3, 599]
    scores[0, :] += 0.5  # so that only these share the 401st score
    mask = top(scores, 10)
    assert mask.sum() == 400
    assert mask[2, 5]
    clamped = np.maximum(scores - 3800, 0)  # as in the released code: most scores are 0
    message = r"top 10% is not defined: \d+ other neurons share the score 0 of the 400th of 4000"
    with pytest.raises(UserError, match=message):
        top(clamped, 10)
    with pytest.raises(UserError, match="1 of 4 neuron scores are not finite"):
        top(np.array([[1.0, np.nan], [2.0, 3.0]]), 50)


def test_trio_sets_partition_the_union():
    helpful, harmless = (
        np.array([[True, True, False, False]]),
        np.array([[False, True, True, False]]),
    )
    sets = trio_sets(helpful, harmless)
    assert {name: np.flatnonzero(mask).tolist() for name, mask in sets.items()} == {
        "shared": [1],
        "helpful-only": [0],
        "harmless-only": [2],
    }


def test_activations_come_back_from_their_file(tmp_path):
    save_activations(tmp_path / "a.safetensors", {"helpful": BY_HAND, "mixed": BY_HAND})
    loaded = load_activations(tmp_path / "a.safetensors")
    assert list(loaded) == ["helpful", "mixed"]
    for side, expected in zip(loaded["mixed"].sides, BY_HAND.sides, strict=True):
        assert side.tokens == expected.tokens
        np.testing.assert_array_equal(side.change_square_sum, expected.change_square_sum)
    assert loaded["mixed"].attribution.tokens == 3
    without = {"helpful": replace(BY_HAND, attribution=None)}
    save_activations(tmp_path / "b.safetensors", without)
    assert load_activations(tmp_path / "b.safetensors")["helpful"].attribution is None
