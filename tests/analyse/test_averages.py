from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rm_tension.analyse import published
from rm_tension.analyse.averages import is_partial, over_backbones, over_seeds, with_groups
from rm_tension.analyse.comparison import beside
from rm_tension.analyse.files import REFERENCE, read_tables
from rm_tension.paper.tasks import GROUPS

PAPER = read_tables(Path(__file__).parents[2] / "reference", REFERENCE)


def test_spread_is_of_seeds_within_a_backbone_and_unknown_for_one_seed():
    frame = pd.DataFrame(
        {"backbone": ["a", "a", "b"], "seed": [0, 1, 0], "accuracy": [50.0, 60.0, 95.0]}
    )
    seeds = over_seeds(frame.assign(task="chat", tasks=1), "accuracy")
    assert seeds["mean"].tolist() == [55, 95]
    assert seeds["spread"].iloc[0] == 5
    assert np.isnan(seeds["spread"].iloc[1])
    assert over_backbones(seeds)[["mean", "spread"]].iloc[0].tolist() == [75, 5]


def test_an_error_is_of_the_mean_over_seeds_and_of_the_mean_over_backbones():
    """The variances are 50 and 2: of two seeds, 25 and 1 of a mean; of the mean of both backbones, 26/4."""
    frame = pd.DataFrame(
        {"backbone": ["a", "a", "b", "b"], "seed": [0, 1, 0, 1], "accuracy": [50.0, 60.0, 7.0, 9.0]}
    )
    seeds = over_seeds(frame.assign(task="chat", tasks=1), "accuracy")
    assert seeds["spread"].tolist() == [5, 1]
    assert seeds["error"].tolist() == pytest.approx([5, 1])
    assert over_backbones(seeds)["error"].tolist() == pytest.approx([np.sqrt(26) / 2])
    one = frame[
        (frame["backbone"] == "a") | (frame["seed"] == 0)
    ]  # of b's error nothing is known: it counts as a's
    error = over_seeds(one.assign(task="chat", tasks=1), "accuracy")
    assert over_backbones(error)["error"].tolist() == pytest.approx([np.sqrt(50) / 2])
    alone = over_seeds(frame[frame["seed"] == 0].assign(task="chat", tasks=1), "accuracy")
    assert over_backbones(alone)["error"].isna().all()


def test_group_averages_are_of_the_tasks_that_have_a_value():
    frame = pd.DataFrame(
        {"task": ["chat", "focus", "safety", "donotanswer"], "retention": [0.2, 0.4, 0.5, np.nan]}
    )
    groups = with_groups(frame, "retention").set_index("task")
    assert groups["retention"].to_dict() == pytest.approx(
        {"chat": 0.2, "focus": 0.4, "safety": 0.5, "helpfulness": 0.3, "harmlessness": 0.5}
    )
    assert groups["tasks"].to_dict() == {
        "chat": 1,
        "focus": 1,
        "safety": 1,
        "helpfulness": 2,
        "harmlessness": 1,
    }
    assert is_partial("helpfulness", 16)
    assert not is_partial("helpfulness", 17)
    assert not is_partial("chat", 1)


@pytest.mark.parametrize("measure", ["baseline_accuracy", "delta"])
def test_published_backbones_average_to_published_tables_2_and_3(measure):
    frame = PAPER["ablation_magnitude_p10"].query("task != 'average'")
    ours = over_backbones(published.published(frame, measure))["mean"]
    theirs = PAPER["ablation_magnitude_p10_average"].set_index(["objective", "task"])[measure]
    assert len(theirs) == 75
    assert (ours.reindex(theirs.index) - theirs).abs().max() <= 0.0101


@pytest.mark.parametrize("measure", ["baseline_accuracy", "delta"])
def test_published_tasks_average_to_published_averages_of_tables_20_and_21(measure):
    frame = PAPER["ablation_magnitude_p10"]
    average = frame["task"] == "average"
    groups = frame[average]["table"].map({20: "harmlessness", 21: "helpfulness"})
    theirs = (
        frame[average].assign(task=groups).set_index(["objective", "backbone", "task"])[measure]
    )
    ours = published.published(frame[~average], measure)["mean"].reindex(theirs.index)
    assert (ours - theirs).abs().max() <= 0.0101


def test_published_sets_average_to_table_4():
    frame = published.shared_sets(PAPER)["mean"].droplevel("backbone").rename("value").reset_index()
    ours = with_groups(frame[~frame["task"].isin(GROUPS)], "value").set_index(
        ["ablated_set", "task"]
    )["value"]
    theirs = frame[frame["task"].isin(GROUPS)].set_index(["ablated_set", "task"])["value"]
    assert len(theirs) == 8
    assert (ours.reindex(theirs.index) - theirs).abs().max() <= 0.0101


def test_published_accuracies_are_the_baselines_of_tables_20_and_21():
    frame = PAPER["ablation_magnitude_p10"].query("task != 'average'")
    accuracy = published.accuracy(PAPER)["mean"]
    baselines = frame.set_index(["objective", "backbone", "task"])["baseline_accuracy"]
    assert (accuracy.reindex(baselines.index) - baselines).abs().max() <= 0.0101


def test_the_backbone_that_tables_13_and_14_leave_out_has_its_published_spreads():
    found = published.accuracy(PAPER)
    assert found.loc[
        ("harmless", "smollm2-135m", "alpacaeval-easy"), ["mean", "spread"]
    ].tolist() == [28.67, 9.39]
    assert found.loc[("helpful", "smollm2-135m", "donotanswer"), ["mean", "spread"]].tolist() == [
        10.05,
        1.51,
    ]
    assert found["error"]["helpful", "smollm2-135m", "donotanswer"] == pytest.approx(
        1.51 / np.sqrt(2)
    )
    tasks = found[~found.index.get_level_values("task").isin(GROUPS)]
    assert tasks["spread"].notna().all()
    assert len(tasks) == 3 * 7 * 25  # six backbones and their average


def test_five_cells_of_table_10_are_published_and_no_mean_of_backbones():
    found = published.hh_accuracy(PAPER)
    values = {
        (objective, backbone): mean for (objective, backbone, *_), mean in found["mean"].items()
    }
    assert values == {
        ("helpful", "smollm2-1.7b"): 74.53,
        ("harmless", "smollm2-1.7b"): 73.75,
        ("mixed", "smollm2-1.7b"): 73.17,
        ("helpful", "smollm2-135m"): 70.32,
        ("harmless", "smollm2-135m"): 70.62,
    }
    assert found["spread"].isna().all()
    assert set(found.reset_index()["subset"]) == {"own"}


def test_published_cells_of_table_10_stand_beside_ours_and_no_row_is_added():
    keys = ["backbone", "objective", "kind", "percent", "subset"]
    rows = [
        ("smollm2-135m", "helpful", "none", 0, "own", 73.32, 0.5),
        ("smollm2-135m", "helpful", "none", 0, "helpful-base", 73.32, 0.5),
        ("smollm2-135m", "helpful", "magnitude", 10, "own", 60.0, 0.5),
        ("average", "helpful", "none", 0, "own", 75.0, 0.5),
    ]
    ours = pd.DataFrame(rows, columns=[*keys, "mean", "spread"]).assign(error=0.5)
    theirs = (
        published.hh_accuracy(PAPER).loc[(slice(None), "smollm2-135m"), :].drop(index="harmless")
    )
    cells = beside(ours, theirs, 3.0)
    assert cells["difference"].tolist() == pytest.approx([3.0, np.nan, np.nan, np.nan], nan_ok=True)
    assert cells["paper"].tolist() == pytest.approx([70.32, np.nan, np.nan, np.nan], nan_ok=True)
