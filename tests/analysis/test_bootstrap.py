import numpy as np
import pandas as pd
import pytest

from rm_tension.analysis.bootstrap import Draws, resample_items
from rm_tension.grid import Trio

GRID = [Trio(backbone, seed) for backbone in "abcdef" for seed in (0, 1, 2)]


def rng(seed=0):
    return np.random.default_rng(seed)


def test_item_sums_begin_with_the_estimate_and_vary_as_they_should():
    values = pd.DataFrame({"x": np.arange(40.0), "n": 1.0})
    sums = resample_items(values, rng(), 4000)
    assert sums.loc[0].tolist() == [780, 40]
    assert (sums["n"] == 40).all()
    assert sums["x"].std() == pytest.approx(values["x"].std(ddof=0) * np.sqrt(40), rel=0.05)
    pd.testing.assert_frame_equal(sums, resample_items(values, rng(), 4000))


def test_weights_are_means_of_means_even_if_backbones_differ_in_seeds():
    trios = [Trio("a", 0), Trio("a", 1), Trio("b", 7)]
    draws = Draws.of(trios, rng(), 500)
    weights = draws.weights()
    assert weights.loc[0].to_dict() == {("a", 0): 0.25, ("a", 1): 0.25, ("b", 7): 0.5}
    assert weights.sum(axis=1).to_numpy() == pytest.approx(1)
    assert set(weights["b", 7]) == {0, 0.5, 1}


def test_statistics_of_trios_and_of_backbones_agree_where_they_are_linear():
    draws = Draws.of(GRID, rng(), 200)
    values = dict(zip(GRID, rng(1).normal(size=len(GRID)), strict=True))
    of_trios = draws.of_trios({trio: pd.DataFrame({"x": np.full(201, value)}) for trio, value in values.items()})
    of_backbones = draws.of_backbones(
        lambda backbone, counts: pd.Series(
            {"x": np.average([values[Trio(backbone, seed)] for seed in (0, 1, 2)], weights=counts)}
        )
    )
    pd.testing.assert_frame_equal(of_trios, of_backbones)
    assert of_trios["x"].iloc[0] == pytest.approx(np.mean(list(values.values())))


def test_a_value_that_a_trio_lacks_is_left_out_of_the_mean():
    draws = Draws.of(GRID[:2], rng(), 50)
    frames = {GRID[0]: pd.DataFrame({"x": [1.0] * 51, "y": np.nan}), GRID[1]: pd.DataFrame({"x": [np.nan] * 51})}
    found = draws.of_trios(frames)
    assert found["x"].iloc[0] == 1
    assert found["x"].isna().any()  # rows in which only the other trio was drawn
    assert found["y"].isna().all()


def test_seeds_of_one_backbone():
    draws = Draws.of([Trio("a", 0), Trio("b", 0), Trio("b", 1)], rng(), 300).of_seeds("b")
    weights = draws.weights()
    assert list(weights) == [("b", 0), ("b", 1)]
    assert weights.loc[0].tolist() == [0.5, 0.5]
    assert weights["b", 0].mean() == pytest.approx(0.5, abs=0.07)


def test_a_single_trio_says_nothing_of_its_spread():
    draws = Draws.of(GRID[:1], rng(), 5)
    found = draws.of_backbones(lambda backbone, counts: pd.Series({"x": 3.0}))
    assert found["x"].iloc[0] == 3
    assert found["x"].iloc[1:].isna().all()


def simulate(seed, effect):
    """Whether the interval of the mean over backbones, seeds and items holds the effect that made them."""
    generator = rng(seed)
    backbones = dict.fromkeys("abcdef")
    frames = {}
    for backbone in backbones:
        centre = effect + generator.normal(0, 1)
        for place in range(3):
            items = pd.DataFrame({"x": centre + generator.normal(0, 0.5) + generator.normal(0, 3, 40)})
            frames[Trio(backbone, place)] = resample_items(items, generator, 200) / 40
    found = Draws.of(list(frames), generator, 200).of_trios(frames)["x"]
    low, high = np.percentile(found.iloc[1:], [2.5, 97.5])
    return low <= effect <= high, low > 0


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """With six backbones a percentile bootstrap is somewhat too narrow: about 90% instead of 95%."""
    covered, above = zip(*(simulate(seed, 2.0) for seed in range(150)), strict=True)
    assert 0.83 <= np.mean(covered) <= 0.99
    assert np.mean(above) > 0.9
    _, false = zip(*(simulate(seed, 0.0) for seed in range(150)), strict=True)
    assert np.mean(false) < 0.12
