import numpy as np
import pandas as pd
import pytest

from rm_tension.analyse.bootstrap import (
    DRAWN,
    DRAWN_BACKBONES,
    ESTIMATE,
    LEFT_OUT,
    Replicates,
    draw_items,
)
from rm_tension.analyse.verdicts import Part
from rm_tension.base.grid import Trio

GRID = [Trio(backbone, seed) for backbone in "abcdef" for seed in (0, 1, 2)]


def rng(seed=0):
    return np.random.default_rng(seed)


def layout_of(**sizes):
    """Prompts of three items each, by name of the subset."""
    rows = [("suite", name) for name, size in sizes.items() for _ in range(3 * size)]
    frame = pd.DataFrame(rows, columns=["dataset", "subset"])
    return frame.assign(item=np.arange(len(frame)))


def test_draws_begin_with_the_estimate_and_vary_as_they_should():
    values = np.arange(40.0)
    weights = draw_items(layout_of(a=40), 4000)
    assert (weights[0] == 1).all()
    assert (weights.sum(axis=1) == 40).all()
    assert (weights @ values).std() == pytest.approx(values.std() * np.sqrt(40), rel=0.05)


def test_a_subset_has_the_same_draws_whatever_stands_beside_it():
    both = draw_items(layout_of(a=7, b=5), 50)
    assert (both[:, 7:] == draw_items(layout_of(b=5), 50)).all()
    assert (both[:, :7].sum(axis=1) == 7).all()
    assert not (draw_items(layout_of(a=7), 50) == draw_items(layout_of(c=7), 50)).all()


def test_weights_are_means_of_means_even_if_backbones_differ_in_seeds():
    trios = [Trio("a", 0), Trio("a", 1), Trio("b", 7)]
    weights = Replicates.draw(trios, rng(), 500).weights()
    assert weights.loc[ESTIMATE].to_numpy().tolist() == [[0.25, 0.25, 0.5]]
    assert weights.sum(axis=1).to_numpy() == pytest.approx(1)
    assert set(weights.loc[DRAWN][("a", 0)]) == {0, 0.5}  # one of two seeds
    assert set(weights.loc[DRAWN][("b", 7)]) == {0.5}  # the backbones are fixed
    assert set(weights.loc[DRAWN_BACKBONES][("b", 7)]) == {0, 0.5, 1}
    assert weights.loc[LEFT_OUT, "a", 0].to_dict() == {("a", 0): 0, ("a", 1): 0.5, ("b", 7): 0.5}
    # of one seed, none can be left out
    assert list(weights.loc[LEFT_OUT].index) == [("a", 0), ("a", 1)]


def test_of_three_seeds_two_are_drawn_so_that_their_mean_varies_as_it_should():
    values = np.array([0.0, 1.0, 5.0])
    weights = Replicates.draw(GRID[:3], rng(), 20000).weights().loc[DRAWN]
    assert set(weights.to_numpy().ravel()) == {0, 0.5, 1}
    assert (weights @ values).std() == pytest.approx(values.std(ddof=1) / np.sqrt(3), rel=0.02)


def test_statistics_of_trios_and_of_backbones_agree_where_they_are_linear():
    replicates = Replicates.draw(GRID, rng(), 200)
    values = dict(zip(GRID, rng(1).normal(size=len(GRID)), strict=True))
    of_trios = replicates.mean_of_trios(
        {trio: pd.DataFrame({"x": np.full(201, value)}) for trio, value in values.items()}
    )
    of_backbones = replicates.mean_of_backbones(
        lambda backbone, counts: pd.Series(
            {"x": np.average([values[Trio(backbone, seed)] for seed in (0, 1, 2)], weights=counts)}
        )
    )
    pd.testing.assert_frame_equal(of_trios, of_backbones)
    assert of_trios["x"].iloc[0] == pytest.approx(np.mean(list(values.values())))


def test_each_row_takes_its_own_draw_of_the_items():
    replicates = Replicates.draw(GRID[:2], rng(), 3)
    frames = dict.fromkeys(GRID[:2], pd.DataFrame({"x": [0.0, 1, 2, 3]}))
    found = replicates.mean_of_trios(frames)["x"]
    assert found.tolist() == [0, 1, 2, 3, 0, 0]  # the jackknife has the items as they are


def test_a_value_that_a_trio_lacks_is_left_out_of_the_mean():
    replicates = Replicates.draw(GRID[:2], rng(), 50)
    frames = {
        GRID[0]: pd.DataFrame({"x": [1.0] * 51, "y": np.nan}),
        GRID[1]: pd.DataFrame({"x": [np.nan] * 51}),
    }
    found = replicates.mean_of_trios(frames)
    assert found["x"].iloc[0] == 1
    assert found["x"].isna().any()  # rows in which only the other trio was drawn
    assert found["y"].isna().all()


def test_seeds_of_one_backbone():
    trios = [Trio("a", 0), Trio("b", 0), Trio("b", 1)]
    weights = Replicates.draw(trios, rng(), 300).of_backbone("b").weights()
    assert list(weights) == [("b", 0), ("b", 1)]
    assert weights.iloc[0].tolist() == [0.5, 0.5]
    assert weights.loc[DRAWN, ("b", 0)].mean() == pytest.approx(0.5, abs=0.1)
    assert weights.loc[DRAWN_BACKBONES].isna().all(axis=None)
    assert DRAWN_BACKBONES not in Replicates.draw(trios[1:], rng(), 3).index


def test_a_single_seed_says_nothing_of_how_much_seeds_differ():
    for trios in (GRID[:1], GRID[:4]):
        found = Replicates.draw(trios, rng(), 5).mean_of_backbones(
            lambda backbone, counts: pd.Series({"x": 3.0})
        )
        assert found["x"].iloc[0] == 3
        assert found["x"].iloc[1:].isna().all()


def coverage(trios, drawn_backbones=False, simulations=150, **deviation):
    """How often the interval of the mean over trios and 200 items, which is 0, holds it.

    What makes a value: its backbone, seed and item, which all trios share, and chance, with the
    given standard deviations; `scale` is how much more the seeds of the first backbone differ.
    Each trio lacks the share `missing` of the items.
    """
    held = []
    for seed in range(simulations):
        generator = rng(seed)
        centre = {name: generator.normal(0, deviation.get("backbone", 0)) for name in "abcdef"}
        shared, frames = generator.normal(0, deviation["item"], 200), {}
        weights = draw_items(layout_of(**{str(seed): 200}), 200)
        for trio in trios:
            scale = deviation.get("scale", 1) if trio.backbone == "a" else 1
            values = centre[trio.backbone] + scale * generator.normal(0, deviation["seed"]) + shared
            there = generator.random(200) >= deviation.get("missing", 0)
            values += generator.normal(0, deviation["chance"], 200)
            frames[trio] = pd.DataFrame({"mean": weights @ (there * values) / (weights @ there)})
        replicates = Replicates.draw(trios, generator, 200)
        part = Part("mean", replicates.mean_of_trios(frames)["mean"])
        low, high = part.interval_over_backbones if drawn_backbones else part.interval
        held.append(low <= 0 <= high)
    return float(np.mean(held))


@pytest.mark.parametrize(
    "case",
    [
        {"seed": 0, "item": 1, "chance": 1},  # items alone
        {"seed": 0.15, "item": 1, "chance": 1, "missing": 0.3},  # each trio lacks some items
        {"seed": 0.5, "item": 0.5, "chance": 1, "scale": 2},  # seeds of one backbone differ most
        {"seed": 1, "item": 0.5, "chance": 1, "trios": GRID[:3]},  # a single backbone, as in C15
    ],
    ids=str,
)
def test_intervals_cover_as_often_as_they_say(case):
    """95%, up to three standard errors of a share of 150 simulations."""
    found = coverage(**{"trios": GRID} | case)
    assert found == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / 150))


def test_six_backbones_that_differ_are_few():
    """Draws of six backbones are too narrow. METHOD.md section 7 says so."""
    found = coverage(GRID, drawn_backbones=True, backbone=1, seed=0.5, item=0.5, chance=1)
    assert found == pytest.approx(0.89, abs=0.05)
