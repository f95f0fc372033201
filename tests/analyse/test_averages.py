"""Averages, the published numbers in their shape, and how the two are held against each other."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rm_tension.analyse import as_published
from rm_tension.analyse.averages import is_partial, over_backbones, over_seeds, with_groups
from rm_tension.analyse.comparison import POINTS, PRINTED, agreement, beside
from rm_tension.analyse.published import published_evidence, published_means, read_published
from rm_tension.analyse.tables import POINTS as CURVE_POINTS
from rm_tension.analyse.tables import training_curve
from rm_tension.paper.tasks import GROUPS

PATH = Path(__file__).parents[2] / "reference/published.csv"
PAPER = read_published(PATH)
MEANS = published_means(PAPER)
KEYS = ["backbone", "objective", "task"]


def seeds_of(values):
    """Accuracies by backbone, of seeds 0, 1, ..."""
    rows = [(name, seed, value) for name, own in values.items() for seed, value in enumerate(own)]
    frame = pd.DataFrame(rows, columns=["backbone", "seed", "accuracy"])
    return over_seeds(frame.assign(task="chat", tasks=1), "accuracy")


def test_spread_is_of_seeds_within_a_backbone_and_unknown_for_one_seed():
    seeds = seeds_of({"a": [50.0, 60], "b": [95.0]})
    assert seeds["mean"].tolist() == [55, 95]
    assert seeds["spread"].tolist() == pytest.approx([5, math.nan], nan_ok=True)
    assert over_backbones(seeds)[["mean", "spread"]].iloc[0].tolist() == [75, 5]


def test_an_error_is_of_the_mean_over_seeds_and_of_the_mean_over_backbones():
    """The variances are 50 and 2: of two seeds, 25 and 1 of a mean; of both backbones, 26/4."""
    seeds = seeds_of({"a": [50.0, 60], "b": [7.0, 9]})
    assert seeds["error"].tolist() == pytest.approx([5, 1])
    assert over_backbones(seeds)["error"].tolist() == pytest.approx([np.sqrt(26) / 2])
    # of b's error nothing is known: it counts as a's
    seeds = seeds_of({"a": [50.0, 60], "b": [7.0]})
    assert over_backbones(seeds)["error"].tolist() == pytest.approx([np.sqrt(50) / 2])
    assert over_backbones(seeds_of({"a": [50.0], "b": [7.0]}))["error"].isna().all()


def test_group_averages_are_of_the_tasks_that_have_a_value():
    values = {"chat": 0.2, "focus": 0.4, "safety": 0.5, "donotanswer": np.nan}
    frame = pd.DataFrame({"task": list(values), "retention": list(values.values())})
    groups = with_groups(frame, "retention").set_index("task").loc[list(GROUPS)]
    assert groups["retention"].to_dict() == pytest.approx({"helpfulness": 0.3, "harmlessness": 0.5})
    assert groups["tasks"].to_dict() == {"helpfulness": 2, "harmlessness": 1}
    assert is_partial("helpfulness", 16)
    assert not is_partial("helpfulness", 17)
    assert not is_partial("chat", 1)


def test_published_averages_are_those_of_tables_2_and_3_and_what_20_and_21_print():
    """Up to rounding: of backbones, and of tasks."""
    means = MEANS["ablation_magnitude"]["mean"]
    average = means.xs("average", level="backbone")
    others = means.drop("average", level="backbone")
    ours = others.groupby(["measure", "objective", "task"]).mean().reindex(average.index)
    assert len(average) == 2 * 3 * (25 + 2)
    assert (ours - average).abs().max() <= 0.0101
    rows = PAPER[PAPER["table"].isin(["20", "21"]) & PAPER["task"].isin(GROUPS)]
    rows = rows.replace({"measure": {"accuracy": "baseline_accuracy"}})
    paper = rows.set_index(["measure", "objective", "backbone", "task"])["value"]
    assert len(paper) == 2 * 3 * 6 * 2
    assert (means.reindex(paper.index) - paper).abs().max() <= 0.0101


def test_published_sets_average_to_table_4():
    frame = MEANS["ablation_shared_sets"]["mean"].droplevel("backbone").rename("value")
    frame = frame.reset_index()
    groups = frame["task"].isin(GROUPS)
    ours = with_groups(frame[~groups], "value").set_index(["ablated_set", "task"])["value"]
    paper = frame[groups].set_index(["ablated_set", "task"])["value"]
    assert len(paper) == 8
    assert (ours.reindex(paper.index) - paper).abs().max() <= 0.0101


def test_published_accuracies_are_the_baselines_of_tables_20_and_21():
    baselines = MEANS["ablation_magnitude"]["mean"]["baseline_accuracy"]
    baselines = baselines.drop("average", level="backbone")
    accuracy = MEANS["accuracy"]["mean"].reindex(baselines.index)
    assert (accuracy - baselines).abs().max() <= 0.0101


def test_the_backbone_that_tables_13_and_14_leave_out_has_its_published_spreads():
    frame = MEANS["accuracy"]
    assert frame.loc[("helpful", "smollm2-135m", "donotanswer")].tolist()[:3] == pytest.approx(
        [10.05, 1.51, 1.51 / np.sqrt(2)]
    )
    tasks = frame[~frame.index.get_level_values("task").isin(GROUPS)]
    assert tasks["spread"].notna().all()
    assert len(tasks) == 3 * 7 * 25  # six backbones and their average


def test_table_1s_averages_are_as_printed_and_its_tasks_those_of_table_15():
    retention = MEANS["retention"]["mean"]["retention", "average"]
    assert retention[list(GROUPS)].tolist() == [0.5656, 0.6287]
    focus = PAPER[(PAPER["table"] == "15") & (PAPER["task"] == "focus")]["value"]
    assert retention["focus"] == pytest.approx(focus.mean())
    pairwise = MEANS["retention"]["mean"]["mixed_vs_harmless", "gpt2-large", "alpacaeval-easy"]
    assert pairwise == 0.052069


def test_published_cells_of_table_10_stand_beside_ours_and_no_row_is_added():
    keys = ["backbone", "objective", "kind", "percent", "subset"]
    rows = [
        ("smollm2-135m", "helpful", "none", 0, "own", 73.32),
        ("smollm2-135m", "helpful", "none", 0, "helpful-base", 73.32),
        ("smollm2-135m", "helpful", "magnitude", 10, "own", 60.0),
        ("average", "helpful", "none", 0, "own", 75.0),
    ]
    ours = pd.DataFrame(rows, columns=[*keys, "mean"]).assign(spread=0.5, error=0.5)
    five = MEANS["hh_accuracy"]
    assert sorted(five["mean"]) == [70.32, 70.62, 73.17, 73.75, 74.53]
    cells = beside(ours, five[five["mean"] == 70.32], 3.0)
    assert cells["difference"].tolist() == pytest.approx([3.0, *[math.nan] * 3], nan_ok=True)


def test_published_evidence_is_what_is_printed():
    row = published_evidence(PAPER).iloc[0]
    assert row["accuracy", "mixed", "none", "donotanswer", 0] == 31.17
    assert row["delta", "harmless", "magnitude", "alpacaeval-easy", 0] == 17.56
    assert row["delta", "mixed", "shared", "donotanswer", 0] == 6.62
    assert row["retention", "mixed", "none", "focus", 0] == pytest.approx(0.25, abs=0.01)
    assert row["jaccard", "harmless-helpful", "", "", 0] == pytest.approx(0.477, abs=0.0005)
    # of helpful, harmless and mixed RM: 71.2 - 57.9, 71.8 - 56.9, 67.3 - 53.2
    assert row["hh_delta", "", "magnitude", "", 10] == pytest.approx(-(13.3 + 14.9 + 14.1) / 3)
    assert row["hh_delta", "", "magnitude", "", 30] == pytest.approx(-(17.9 + 19.7 + 16.9) / 3)
    counts = row.index.to_frame()["measure"].value_counts().to_dict()
    assert (counts["delta"], counts["accuracy"], counts["hh_delta"]) == (150, 75, 2)


def means(values):
    """By objective and task, as (mean, spread over three seeds)."""
    rows = [("average", *key, *value, 1) for key, value in values.items()]
    frame = pd.DataFrame(rows, columns=[*KEYS, "mean", "spread", "tasks"])
    return frame.assign(error=frame["spread"] / math.sqrt(2))


@pytest.mark.parametrize(
    ("ours", "spread", "paper", "paper_spread", "agrees"),
    [
        (53.0, math.nan, 50.0, math.nan, True),  # three points without spreads
        (53.01, math.nan, 50.0, math.nan, False),
        (58.5, 2.0, 50.0, math.sqrt(12.0), False),  # 3 sqrt((4 + 12) / 2) = 8.485
        (58.48, 2.0, 50.0, math.sqrt(12.0), True),
        (44.0, 0.0, 50.0, math.sqrt(8.0), True),  # 3 sqrt(8 / 2) = 6
        (43.99, 0.0, 50.0, math.sqrt(8.0), False),
    ],
)
def test_agreement_is_within_three_points_or_three_standard_errors(
    ours, spread, paper, paper_spread, agrees
):
    mine = means({("mixed", "focus"): (ours, spread)})
    published = means({("mixed", "focus"): (paper, paper_spread)}).set_index(KEYS)
    cells = beside(mine, published, 3.0)
    assert cells["beyond"].tolist() == [not agrees]
    assert cells["difference"].tolist() == [ours - paper]
    assert not beside(mine, published, None)["beyond"].any()


def test_either_may_be_missing_and_keys_may_stand_in_any_order():
    ours = means({("mixed", "focus"): (50.0, 0.0), ("mixed", "safety"): (60.0, 0.0)})
    paper = means({("helpful", "chat"): (10.0, 1.0), ("mixed", "safety"): (50.0, 0.0)})
    cells = beside(ours, paper.set_index(KEYS[::-1]), 3.0).set_index(KEYS[1:])
    assert list(cells.index) == [("mixed", "focus"), ("mixed", "safety"), ("helpful", "chat")]
    assert cells["difference"].tolist() == pytest.approx([math.nan, 10.0, math.nan], nan_ok=True)
    assert cells["beyond"].tolist() == [False, True, False]
    assert cells.loc[("helpful", "chat"), "paper_spread"] == 1.0


def test_agreement_counts_cells_with_both_values_and_judges_no_scale_without_points():
    ours = {("mixed", "safety"): (50.0, 0), ("mixed", "chat"): (60.0, 0), ("mixed", "math"): (6, 0)}
    paper = {("mixed", "safety"): (51.0, 0), ("mixed", "chat"): (50.0, 0)}
    paper[("mixed", "harmlessness")] = (1, 0)
    cells = beside(means(ours), means(paper).set_index(KEYS), 3.0)
    none = pd.DataFrame(columns=["measure", "variant", "subset", *cells])
    table = agreement(dict.fromkeys(POINTS, none) | {"accuracy": cells})
    assert table.to_dict("records") == [
        {"table": "13", "cells": 1, "agreeing": 0, "share": 0.0, "difference": 10.0},
        {"table": "14", "cells": 1, "agreeing": 1, "share": 100.0, "difference": 1.0},
    ]
    assert {name for name, _ in PRINTED.values()} == set(POINTS)


CONDITIONS = (("none", 0), ("helpful-only", 10), ("harmless-only", 10), ("shared", 10))


def table_19(*rows):
    """From (backbone, seed, (kind, percent), retention) of one task; undefined as published is 0."""
    frame = pd.DataFrame(rows, columns=["backbone", "seed", "condition", "retention"])
    condition = frame.pop("condition").str
    frame = frame.assign(kind=condition[0], percent=condition[1], task="chat")
    frame = frame.assign(retention_as_published=frame["retention"].fillna(0))
    table = as_published.retention_after_ablation(frame, 10).set_index("column")
    return table.loc[list(as_published.COLUMNS)]


def test_running_means_are_made_and_undone():
    values = dict(zip(CONDITIONS, (0.8, 0.6, 0.7, 0.1), strict=True))
    rows = [("x", seed, key, value + seed) for key, value in values.items() for seed in (0, 1)]
    rows += [("y", 0, key, 0.5) for key in CONDITIONS] + [("x", 0, ("shared", 5), 9.0)]
    table = table_19(*rows)
    corrected = (np.array([0.8, 0.6, 0.7, 0.1]) + 0.5 + 0.5) / 2
    assert table["corrected"].tolist() == pytest.approx(corrected.tolist())
    running = (corrected.cumsum() / [1, 2, 3, 4]).tolist()
    assert table["as_published"].tolist() == pytest.approx(running)
    undone = as_published.undo_running_means(table["as_published"].to_frame().T)
    assert undone.iloc[0].tolist() == pytest.approx(corrected.tolist())


def test_a_column_without_rewards_is_missing_and_so_are_the_running_means_after_it():
    rows = [("x", 0, key, 0.5) for key in CONDITIONS if key[0] != "helpful-only"]
    table = table_19(*rows)
    assert table["corrected"].isna().tolist() == [False, True, False, False]
    assert table["as_published"].isna().tolist() == [False, True, True, True]


def test_a_retention_of_nothing_is_left_out_and_as_published_0():
    table = table_19(*(("x", s, key, 0.6 if s else np.nan) for key in CONDITIONS for s in (0, 1)))
    assert table["corrected"].tolist() == pytest.approx([0.6] * 4)
    assert table["as_published"].tolist() == pytest.approx([0.3] * 4)


@pytest.mark.parametrize("steps", [4, CURVE_POINTS, CURVE_POINTS + 1, 1009])
def test_a_training_curve_has_the_means_of_equal_parts(steps):
    losses = np.arange(float(steps))
    curve = training_curve(pd.DataFrame({"loss": losses, "accuracy": 0.5, "margin": 0.0}))
    assert len(curve) == min(steps, CURVE_POINTS)
    ends = (curve["progress"] / 100 * steps + 1e-9).astype(int).tolist()
    parts = zip([0, *ends], ends, strict=False)
    assert curve["loss"].tolist() == [losses[start:end].mean() for start, end in parts]
    assert ends[-1] == steps
