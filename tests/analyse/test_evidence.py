from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rm_tension.analyse import accuracy
from rm_tension.analyse.bootstrap import DRAWN, Replicates, resample_items
from rm_tension.analyse.evidence import LOWEST_MARGIN_RATIO, grid_evidence, trio_evidence
from rm_tension.analyse.files import REFERENCE, read_tables
from rm_tension.analyse.neuron_evidence import neuron_evidence
from rm_tension.analyse.neurons import (
    Neurons,
    backbone_table,
    depth_table,
    neuron_table,
    overlap_table,
    retention_table,
    rmsd_table,
)
from rm_tension.analyse.outcomes import answer_layout, outcomes, prompts, score
from rm_tension.analyse.published_evidence import published_evidence
from rm_tension.analyse.retention import MEASURES, retention
from rm_tension.analyse.score_shift import sides, task_rewards
from rm_tension.base.grid import Trio
from synthetic import (
    make_activations,
    make_benchmarks,
    make_preferences,
    make_rewards,
    small_params,
)

PAPER = read_tables(Path(__file__).parents[2] / "reference", REFERENCE)
TRIOS = [Trio("gpt2-small", 0), Trio("gpt2-small", 247), Trio("smollm2-135m", 0)]
BENCHMARKS, PREFERENCES = make_benchmarks(without=["rm-bench/math"]), make_preferences()
LAYOUT = answer_layout(
    pd.concat([BENCHMARKS, PREFERENCES], ignore_index=True), small_params().grid.ablates
)
FILES = small_params().grid.test_files


def rewards_of(trio):
    """Items and sides of one synthetic trio, whose benchmarks lack half of Math."""
    scored = score(make_rewards(small_params(), trio, BENCHMARKS, PREFERENCES), LAYOUT, FILES)
    return outcomes(scored), list(sides(task_rewards(scored, 10)))


@pytest.fixture(scope="module")
def grid():
    return {trio: rewards_of(trio) for trio in TRIOS}


@pytest.fixture(scope="module")
def rewards(grid):
    return grid[TRIOS[0]]


def evidence(rewards, resamples=20):
    return trio_evidence(*rewards, 10, prompts(LAYOUT), FILES, resamples)


def test_the_first_row_is_what_the_tables_say(rewards):
    items, _ = rewards
    estimate = evidence(rewards).iloc[0]
    tasks = accuracy.task_accuracy(items)
    plain = tasks[tasks["kind"] == "none"].set_index(["objective", "task"])["accuracy"]
    assert len(plain) == 3 * 24
    for (objective, task), value in plain.items():
        assert estimate["accuracy", objective, "none", task, 0] == pytest.approx(value)
    for row in accuracy.changes(tasks.assign(backbone="b", seed=0)).itertuples():
        assert estimate["delta", row.objective, row.kind, row.task, 0] == pytest.approx(row.delta)
    kept = retention(items).query("kind == 'none'").set_index("task")
    assert len(kept) == 24
    for measure in MEASURES:
        for task, value in kept[measure].items():
            assert estimate[measure, "mixed", "none", task, 0] == pytest.approx(value)
    drops = hh_drops(items)
    for (objective, kind, percent), drop in drops.items():
        assert estimate["hh_delta", objective, kind, "", percent] == pytest.approx(-drop)
    for kind, percent in (("change", 10), ("magnitude", 30)):
        mean = drops.xs((kind, percent), level=(1, 2)).mean()
        assert estimate["hh_delta", "", kind, "", percent] == pytest.approx(-mean)
    assert not [column for column in estimate.index if column[3] == "math"]


def hh_drops(items):
    """Points of accuracy, by objective, kind and percent."""
    table = (
        accuracy.hh_accuracy(items, FILES)
        .query("subset == 'own'")
        .astype({"objective": "str", "kind": "str"})
    )
    own = table.set_index(["objective", "kind", "percent"])["accuracy"]
    return pd.concat(
        {o: own[o]["none", 0] - own[o].drop("none") for o in FILES}, names=["objective"]
    )


def test_the_first_row_of_rewards_is_what_the_table_says(rewards):
    estimate = evidence(rewards).iloc[0]
    spreads = {(one.comparison, one.objective, one.side): spread(one) for one in rewards[1]}
    measures = {
        "log_mean_abs": "mean_abs",
        "log_mean_abs_chosen": "mean_abs_chosen",
        "log_mean_abs_rejected": "mean_abs_rejected",
        "log_std": "std",
        "log_margin": "mean_margin",
    }
    for comparison, first, second in (
        ("retained", "single", "mixed"),
        ("ablation", "before", "after"),
    ):
        for objective in ("helpful", "harmless"):
            before, after = (spreads[comparison, objective, side] for side in (first, second))
            for measure, name in measures.items():
                ratio = abs(after[name] / before[name])
                value = np.exp(estimate[measure, objective, comparison, "", 0])
                assert value == pytest.approx(ratio), (measure, objective, comparison)
    of_all = spreads["ablation", "harmless", "before"]
    assert of_all["mean_margin"] < 0  # over all items, of which most are the other objective's


def spread(side):
    """Of the rewards of one side, straight from their definitions."""
    rewards = side.rewards.astype(float)
    return {
        "mean_abs": np.abs(rewards).mean(),
        "mean_abs_chosen": np.abs(rewards[side.chosen]).mean(),
        "mean_abs_rejected": np.abs(rewards[~side.chosen]).mean(),
        "std": rewards.std(),
        "mean_margin": np.mean(
            [
                rewards[side.chosen & (side.items == item)].min()
                - rewards[~side.chosen & (side.items == item)].max()
                for item in np.unique(side.items)
            ]
        ),
    }


def test_a_margin_counts_by_its_size_and_none_after_has_the_lowest_ratio(rewards):
    items, found = rewards
    of = {
        one.side: one
        for one in found
        if one.comparison == "ablation" and one.objective == "harmless"
    }
    assert of["before"].margins.mean() < 0  # of the items most are the other objective's
    estimate = evidence((items, found)).iloc[0]["log_margin", "harmless", "ablation", "", 0]
    assert estimate == pytest.approx(
        np.log(of["after"].margins.mean() / of["before"].margins.mean())
    )
    silent = [
        one._replace(rewards=0 * one.rewards) if one.side == "after" else one for one in found
    ]
    lowest = evidence((items, silent)).iloc[0]["log_margin", "harmless", "ablation", "", 0]
    assert lowest == pytest.approx(np.log(LOWEST_MARGIN_RATIO))


def test_drops_of_a_backbone_are_means_over_its_seeds(grid):
    replicates = Replicates.draw(TRIOS, np.random.default_rng(0), 20)
    frame = grid_evidence({trio: evidence(rewards) for trio, rewards in grid.items()}, replicates)
    drops = {
        trio: hh_drops(items).groupby(["kind", "percent"]).mean()["magnitude", 10]
        for trio, (items, _) in grid.items()
    }
    small = np.mean([drops[TRIOS[0]], drops[TRIOS[1]]])
    frame = frame.sort_index(axis=1)
    estimate = -frame.iloc[0].xs(("hh_delta", "", "magnitude", 10), level=(0, 1, 2, 4))
    assert estimate["gpt2-small"] == pytest.approx(small)
    assert estimate["smollm2-135m"] == pytest.approx(drops[TRIOS[2]])
    assert estimate[""] == pytest.approx((small + drops[TRIOS[2]]) / 2)
    assert (frame["hh_delta", "", "magnitude"].iloc[1:].std() > 0).all()


def test_trios_share_the_draws_of_the_items_that_they_have(rewards):
    items, found = rewards
    whole = evidence((items, found))
    again = evidence((items.assign(correct=~items["correct"]), found))
    task = ("accuracy", "helpful", "none", "focus", 0)
    assert (whole[task] + again[task]).to_numpy() == pytest.approx(
        100
    )  # the same items, all turned around
    focus = items[(items["subset"] == "focus") & (items["dataset"] == "reward-bench-2")]
    first, *rest = focus["item"].unique()
    without = evidence((items[items["item"] != first], found))[task]
    counts = draws_of_focus()
    right = focus.query("objective == 'helpful' and kind == 'none'").set_index("item")["correct"]
    expected = (
        100 * counts[rest].mul(right[rest].astype(float)).sum(axis=1) / counts[rest].sum(axis=1)
    )
    assert without.to_numpy() == pytest.approx(expected.to_numpy(), nan_ok=True)


def draws_of_focus(resamples=20):
    """How often each item of Focus is drawn, by row."""
    universe = prompts(LAYOUT)["reward-bench-2", "focus"]
    ones = pd.DataFrame(np.eye(len(universe)), index=universe, columns=universe * 3)
    return resample_items(ones, universe, "reward-bench-2/focus", resamples)


def test_the_same_seed_gives_the_same_resamples(rewards):
    first, second = evidence(rewards), evidence(rewards)
    pd.testing.assert_frame_equal(first, second)
    estimate, spread = first.iloc[0], first.iloc[1:].std()
    for measure, whole in (("accuracy", 100), ("retention", 1)):
        between = estimate[measure].between(
            0, whole, inclusive="neither"
        )  # none right, or all, resamples to the same
        assert between.sum() > 10
        assert (spread[measure][between] > 0).all()
    assert (spread > 0).mean() > 0.8


def test_neurons_first_row_is_what_the_tables_say():
    trios = [
        Trio(backbone, seed) for backbone in ("gpt2-small", "smollm2-135m") for seed in (0, 247)
    ]
    found = {
        backbone: Neurons.of_table(
            neuron_table(
                backbone, {seed: make_activations(Trio(backbone, seed)) for seed in (0, 247)}, 10
            )
        )
        for backbone in ("gpt2-small", "smollm2-135m")
    }
    depth = pd.concat(
        [depth_table(one, 10).assign(backbone=backbone) for backbone, one in found.items()]
    )
    frame = neuron_evidence(found, 10, Replicates.draw(trios, np.random.default_rng(0), 50))
    estimate = frame.iloc[0]
    overlaps = [overlap_table(one, 10).iloc[2]["jaccard"] for one in found.values()]
    assert estimate["jaccard", "helpful-harmless", "", "", 0] == pytest.approx(np.mean(overlaps))
    kept = [retention_table(one, 10).iloc[0]["retention"] for one in found.values()]
    assert estimate["neuron_retention", "mixed", "", "", 0] == pytest.approx(np.mean(kept))
    sizes = [rmsd_table(one, 10).set_index("objective").loc["helpful"] for one in found.values()]
    ratios = [one["rmsd"] / one["mean_top_score"] for one in sizes]
    assert estimate["rmsd", "helpful", "", "", 0] == pytest.approx(np.mean(ratios))
    late = depth[
        (depth["variant"] == "corrected")
        & (depth["third"] == "late")
        & (depth["objective"] == "mixed")
    ]
    assert estimate["late_excess", "mixed", "", "pooled", 0] == pytest.approx(
        late["neurons"].sum() / 48 - 1 / 3
    )
    of_one = depth.query("variant == 'corrected' and third == 'late' and backbone == 'gpt2-small'")
    assert estimate["late_excess", "", "", "gpt2-small", 0] == pytest.approx(
        of_one["neurons"].sum() / 72 - 1 / 3
    )
    of_backbone = pd.concat([backbone_table(one, 10) for one in found.values()])
    helpful = of_backbone.query("objective == 'helpful'")["jaccard"]
    assert len(helpful) == 4
    assert estimate["backbone_overlap", "helpful", "", "", 0] == pytest.approx(helpful.mean())
    spread = frame.loc[DRAWN].std()
    assert (spread.drop("late_excess") > 0).all()
    assert (spread["late_excess"].xs("pooled", level=2) > 0).any()


def test_published_numbers_are_computed_from_the_reference():
    row = published_evidence(PAPER).iloc[0]
    assert row["accuracy", "mixed", "none", "donotanswer", 0] == 31.17
    assert row["delta", "harmless", "magnitude", "alpacaeval-easy", 0] == 17.56
    assert row["delta", "mixed", "shared", "donotanswer", 0] == 6.62
    assert row["retention", "mixed", "none", "focus", 0] == pytest.approx(0.25, abs=0.01)
    assert row["jaccard", "helpful-harmless", "", "", 0] == pytest.approx(0.477, abs=0.0005)
    assert row["mixed_vs_harmless", "mixed", "none", "alpacaeval-easy", 0] == 0.052069
    at_10 = (
        13.3 + 14.9 + 14.1
    ) / 3  # of helpful, harmless and mixed RM: 71.2 - 57.9, 71.8 - 56.9, 67.3 - 53.2
    assert row["hh_delta", "", "magnitude", "", 10] == pytest.approx(-at_10)
    assert row["hh_delta", "", "magnitude", "", 30] == pytest.approx(-(17.9 + 19.7 + 16.9) / 3)
    counts = row.index.to_frame()["measure"].value_counts()
    assert counts.to_dict() == {
        "delta": 150,
        "accuracy": 75,
        "retention": 25,
        "mixed_vs_helpful": 25,
        "mixed_vs_harmless": 25,
        "hh_delta": 2,
        "jaccard": 1,
        "neuron_retention": 1,
    }
