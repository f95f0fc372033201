import math

import pandas as pd
import pytest

from rm_tension.analyse.averages import over_seeds
from rm_tension.analyse.comparison import POINTS, PRINTED, agreement, beside
from rm_tension.analyse.published import published

KEYS = ["backbone", "objective", "task"]


def means(values):
    """By objective and task, as (mean, spread over three seeds)."""
    rows = [("average", objective, task, *value, 1) for (objective, task), value in values.items()]
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
    theirs = means({("mixed", "focus"): (paper, paper_spread)}).set_index(KEYS)
    cells = beside(means({("mixed", "focus"): (ours, spread)}), theirs, 3.0)
    assert cells["beyond"].tolist() == [not agrees]
    assert cells["difference"].tolist() == [ours - paper]
    assert not beside(means({("mixed", "focus"): (ours, spread)}), theirs, None)["beyond"].any()


def test_a_standard_error_of_three_seeds_counts_two_degrees_of_freedom():
    """Ours are 50, 53 and 56: variance 9, error sqrt(9 / 3). The paper's spread of 1 is a population's: sqrt(1 / 2)."""
    keys = {"backbone": "gpt2-small", "objective": "mixed", "task": "focus", "tasks": 1}
    ours = over_seeds(
        pd.DataFrame({"seed": [0, 1, 2], "accuracy": [50.0, 53.0, 56.0]}).assign(**keys), "accuracy"
    )
    printed = pd.DataFrame([keys | {"accuracy": 59.0, "seed_std": 1.0}]).drop(columns="tasks")
    cells = beside(ours.reset_index(), published(printed, "accuracy"), 3.0).query("task == 'focus'")
    assert cells["error"].item() == pytest.approx(math.sqrt(3))
    assert cells["paper_error"].item() == pytest.approx(math.sqrt(1 / 2))
    for paper, beyond in ((53 + 5.61, False), (53 + 5.62, True)):  # 3 sqrt(3 + 1 / 2) = 5.612
        printed = printed.assign(accuracy=paper)
        cells = beside(ours.reset_index(), published(printed, "accuracy"), 3.0).query(
            "task == 'focus'"
        )
        assert cells["beyond"].tolist() == [beyond]


def test_either_may_be_missing_and_keys_may_stand_in_any_order():
    ours = means({("mixed", "focus"): (50.0, 0.0), ("mixed", "safety"): (60.0, 0.0)})
    theirs = means({("helpful", "chat"): (10.0, 1.0), ("mixed", "safety"): (50.0, 0.0)})
    cells = beside(ours, theirs.set_index(KEYS[::-1]), 3.0).set_index(KEYS[1:])
    assert list(cells.index) == [("mixed", "focus"), ("mixed", "safety"), ("helpful", "chat")]
    assert cells["difference"].tolist() == pytest.approx([math.nan, 10.0, math.nan], nan_ok=True)
    assert cells["beyond"].tolist() == [False, True, False]
    assert cells.loc[("helpful", "chat"), "paper_spread"] == 1.0


def test_agreement_counts_cells_with_both_values_and_judges_no_scale_without_points():
    ours = means(
        {
            ("mixed", "safety"): (50.0, 0.0),
            ("mixed", "chat"): (60.0, 0.0),
            ("mixed", "focus"): (60.0, 0.0),
        }
    )
    theirs = means(
        {
            ("mixed", "safety"): (51.0, 0.0),
            ("mixed", "chat"): (50.0, 0.0),
            ("mixed", "harmlessness"): (1, 0),
        }
    )
    none = pd.DataFrame(columns=["measure", "variant", "subset", *ours, "difference", "beyond"])
    both = dict.fromkeys(POINTS, none) | {"accuracy": beside(ours, theirs.set_index(KEYS), 3.0)}
    assert agreement(both).to_dict("records") == [
        {"table": "13", "cells": 1, "agreeing": 0, "share": 0.0, "difference": 10.0},
        {"table": "14", "cells": 1, "agreeing": 1, "share": 100.0, "difference": 1.0},
    ]


def test_every_table_is_judged_on_one_scale():
    assert {name for name, _ in PRINTED.values()} == set(POINTS)
