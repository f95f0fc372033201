import numpy as np
import pandas as pd
import pytest

from rm_tension.analyse.as_published import (
    COLUMNS,
    math_components,
    retention_after_ablation,
    ties,
    to_bfloat16,
    undo_running_means,
)

CONDITIONS = (("none", 0), ("helpful-only", 10), ("harmless-only", 10), ("shared", 10))


def make_retention(*rows):
    """Rows of (backbone, seed, (kind, percent), task, retention); as published, one that is not defined is 0."""
    frame = pd.DataFrame(rows, columns=["backbone", "seed", "condition", "task", "retention"])
    condition = frame.pop("condition").str
    return frame.assign(
        kind=condition[0], percent=condition[1], retention_as_published=frame["retention"].fillna(0)
    )


def test_running_means_are_made_and_undone():
    rows = [
        ("x", seed, condition, "chat", value + seed)
        for condition, value in zip(CONDITIONS, (0.8, 0.6, 0.7, 0.1), strict=True)
        for seed in (0, 1)
    ]
    rows += [("y", 0, condition, "chat", 0.5) for condition in CONDITIONS] + [
        ("x", 0, ("shared", 5), "chat", 9.0)
    ]
    found = (
        retention_after_ablation(make_retention(*rows), 10).set_index("column").loc[list(COLUMNS)]
    )
    corrected = (np.array([0.8, 0.6, 0.7, 0.1]) + 0.5 + 0.5) / 2
    assert found["corrected"].tolist() == pytest.approx(corrected.tolist())
    assert found["as_published"].tolist() == pytest.approx(
        (corrected.cumsum() / [1, 2, 3, 4]).tolist()
    )
    printed = found["as_published"].to_frame().T
    assert undo_running_means(printed).iloc[0].tolist() == pytest.approx(corrected.tolist())


def test_a_column_without_rewards_is_missing_and_so_are_the_running_means_after_it():
    rows = [
        ("x", 0, condition, "chat", 0.5)
        for condition in CONDITIONS
        if condition != ("helpful-only", 10)
    ]
    found = retention_after_ablation(make_retention(*rows), 10).set_index("column")
    assert found["corrected"].isna().tolist() == [False, True, False, False]
    assert found["as_published"].isna().tolist() == [False, True, True, True]


def test_a_retention_of_nothing_is_left_out_and_as_published_0():
    rows = [
        ("x", seed, condition, "chat", 0.6 if seed else np.nan)
        for condition in CONDITIONS
        for seed in (0, 1)
    ]
    found = retention_after_ablation(make_retention(*rows), 10)
    assert found["corrected"].tolist() == pytest.approx([0.6] * 4)
    assert found["as_published"].tolist() == pytest.approx([0.3] * 4)


def test_math_components_stand_apart():
    items = pd.DataFrame(
        [
            ("reward-bench-2", "math", True),
            ("rm-bench", "math", True),
            ("rm-bench", "math", False),
            ("rm-bench", "chat", True),
        ],
        columns=["dataset", "subset", "correct"],
    ).assign(objective="mixed", kind="none", percent=0)
    found = math_components(items).set_index("suite")
    assert found[["items", "accuracy", "chance"]].to_numpy().tolist() == [[1, 100, 25], [2, 50, 50]]


def test_bfloat16_rounds_to_eight_bits_and_ties_to_even():
    values = np.array(
        [1, 1 + 2**-9, 1 + 2**-8, 1 + 3 * 2**-8, -1.00001, 0, 3.3895314e38], dtype=np.float32
    )
    expected = [1, 1, 1, 1 + 2**-6, -1, 0, 3.3895314e38]
    assert to_bfloat16(values).tolist() == pytest.approx(expected)


def test_bfloat16_makes_ties_that_count_as_wrong():
    scored = pd.DataFrame({"reward": np.array([1.0001, 1.0, 2.0, 1.0], dtype=np.float32)})
    scored = scored.assign(
        objective="helpful",
        kind="none",
        percent=0,
        dataset="rm-bench",
        subset="chat",
        chosen=[True, False] * 2,
        item=[0, 0, 1, 1],
    )
    row = ties(scored).iloc[0]
    assert row[["items", "accuracy", "ties", "accuracy_bfloat16", "ties_bfloat16"]].tolist() == [
        2,
        100,
        0,
        50,
        50,
    ]
