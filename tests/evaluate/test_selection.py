"""Scores, exact top p% and trio sets, worked by hand."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rm_tension.activations.sums import (
    Activations,
    ActivationSums,
    load_activations,
    save_activations,
)
from rm_tension.base.config import Score
from rm_tension.base.errors import UserError
from rm_tension.evaluate.selection import (
    SCORES,
    absolute_score,
    backbone_score,
    change_score,
    magnitude_score,
    neuron_scores,
    top,
    trio_sets,
)


def sums(total, absolute, change, before, tokens):
    return ActivationSums(
        *(np.array([values], dtype=float) for values in (total, absolute, change, before)), tokens
    )


# Two neurons; chosen has two tokens with activations (1, -2) and (3, -4), rejected one token with (5, 0).
BY_HAND = Activations(
    chosen=sums([4, -6], [4, 6], [8, 18], [2, 0], tokens=2),
    rejected=sums([5, 0], [5, 0], [25, 0], [1, -1], tokens=1),
)


def test_scores_by_hand():
    np.testing.assert_allclose(magnitude_score(BY_HAND), [[(2 + 5) / 2, (-3 + 0) / 2]])
    np.testing.assert_allclose(absolute_score(BY_HAND), [[(2 + 5) / 2, (3 + 0) / 2]])
    np.testing.assert_allclose(backbone_score(BY_HAND), [[(1 + 1) / 2, (0 - 1) / 2]])
    np.testing.assert_allclose(change_score(BY_HAND), [[(2 + 5) / 2, (3 + 0) / 2]])


def test_random_scores_depend_on_the_seed_alone():
    assert np.array_equal(
        neuron_scores("random", BY_HAND, 247), neuron_scores("random", BY_HAND, 247)
    )
    assert not np.array_equal(
        neuron_scores("random", BY_HAND, 247), neuron_scores("random", BY_HAND, 932)
    )


def test_scores_go_by_the_names_of_params_yaml_and_no_others():
    for name, score in (
        ("magnitude", magnitude_score),
        ("absolute", absolute_score),
        ("change", change_score),
    ):
        assert np.array_equal(neuron_scores(name, BY_HAND, 0), score(BY_HAND))
    assert tuple(SCORES) == get_args(Score)


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
    scores[3, 600] = scores[3, 599] = scores[2, 5] = scores[3, 599]
    mask = top(scores, 10)
    assert mask.sum() == 400
    assert mask[2, 5]
    clamped = np.maximum(scores - 3800, 0)  # as in the released code: most scores are 0
    with pytest.raises(
        UserError,
        match=r"top 10% is not defined: \d+ other neurons share the score 0 of the 400th of 4000",
    ):
        top(clamped, 10)


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(UserError, match="1 of 4 neuron scores are not finite"):
        top(np.array([[1.0, np.nan], [2.0, 3.0]]), 50)


def test_trio_sets_partition_the_union():
    helpful, harmless = (np.array([[bool(int(bit)) for bit in bits]]) for bits in ("1100", "0110"))
    found = trio_sets(helpful, harmless)
    assert {name: mask.astype(int).tolist() for name, mask in found.items()} == {
        "shared": [[0, 1, 0, 0]],
        "helpful-only": [[1, 0, 0, 0]],
        "harmless-only": [[0, 0, 1, 0]],
    }


def test_activations_come_back_from_their_file(tmp_path):
    save_activations(tmp_path / "a.safetensors", {"helpful": BY_HAND, "mixed": BY_HAND})
    found = load_activations(tmp_path / "a.safetensors")
    assert list(found) == ["helpful", "mixed"]
    for side, expected in zip(found["mixed"].sides, BY_HAND.sides, strict=True):
        assert side.tokens == expected.tokens
        np.testing.assert_array_equal(side.change_square_sum, expected.change_square_sum)
