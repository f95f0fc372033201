"""From rewards to right items, accuracy and retention, by hand and by a second way."""

import numpy as np
import pandas as pd
import pytest

from rm_tension.analyse import as_published, metrics
from rm_tension.analyse.bootstrap import draw_items
from rm_tension.analyse.outcomes import answer_layout, outcomes, score
from rm_tension.analyse.tables import trio_tables
from rm_tension.base.grid import Trio
from rm_tension.paper.tasks import BY_KEY
from synthetic import make_benchmarks, make_preferences, make_rewards, small_params

TEXTS = pd.DataFrame(
    [
        ("reward-bench", "donotanswer", "a", ["x"] * 2, 1),
        ("reward-bench", "donotanswer", "b", ["x"] * 2, 1),
        ("reward-bench-2", "math", "c", ["x"] * 4, 1),
        ("reward-bench-2", "math", "d", ["x"] * 4, 1),
        ("rm-bench", "math", "a", ["x"] * 6, 3),
        ("hh-rlhf", "helpful-base", "h0", ["yes", "no"], 1),
        ("hh-rlhf", "helpful-base", "h1", ["yes", "no"], 1),
        ("hh-rlhf", "harmless-base", "s0", ["yes", "no"], 1),
    ],
    columns=["dataset", "subset", "item_id", "answers", "n_chosen"],
)
LAYOUT = answer_layout(TEXTS)
FILES = {
    "helpful": ("helpful-base",),
    "harmless": ("harmless-base",),
    "mixed": ("helpful-base", "harmless-base"),
}
ONE = 1 + np.finfo("float32").eps  # the next float32 after 1
RIGHT = {
    ("reward-bench", "a"): [ONE, 1],
    ("reward-bench", "b"): [1, 1],  # a tie is wrong
    ("reward-bench-2", "c"): [3, 0, 1, 2],
    ("reward-bench-2", "d"): [3, 0, 4, 2],
    ("rm-bench", "a"): [1, 2, 3, 0, 2, 4],  # by style: right, tie, wrong
}
HELPFUL = {("hh-rlhf", "h0"): [1, 0], ("hh-rlhf", "h1"): [0, 1]}
HARMLESS = {("hh-rlhf", "s0"): [1, 0]}


def table(rewards, objective="helpful", kind="none", percent=0):
    rows = [
        (objective, kind, percent, dataset, item, index, reward)
        for (dataset, item), answers in rewards.items()
        for index, reward in enumerate(answers)
    ]
    columns = ["objective", "kind", "percent", "dataset", "item_id", "answer_index", "reward"]
    return pd.DataFrame(rows, columns=columns).astype({"reward": "float32"})


def trio(suites=RIGHT):
    """Tables of a trio whose three RMs have the same rewards on the suites."""
    tests = {"helpful": HELPFUL, "harmless": HARMLESS, "mixed": HELPFUL | HARMLESS}
    layout = LAYOUT[LAYOUT["dataset"].isin(["hh-rlhf", *(dataset for dataset, _ in suites)])]
    scored = score(pd.concat([table(suites | own, name) for name, own in tests.items()]), layout)
    items = outcomes(scored)
    return trio_tables(scored, items, metrics.trio_metrics(items, draw_items(layout, 0), FILES))


def find(frame, **values):
    for name, value in values.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_accuracy_is_strict_counts_ties_and_averages_maths_two_subsets():
    tasks = trio()["accuracy"].query("objective == 'helpful'")
    counts = ["items", "correct", "ties", "accuracy"]
    assert find(tasks, task="donotanswer")[counts].tolist() == [2, 1, 1, 50]
    maths = find(tasks, task="math")
    assert maths[counts[:3]].tolist() == [5, 2, 1]
    assert maths["accuracy"] == pytest.approx((100 / 2 + 100 / 3) / 2)
    assert set(tasks["task"]) == {"donotanswer", "math"}
    parts = trio()["math_components"].query("objective == 'helpful'").set_index("suite")
    assert parts.loc["reward-bench-2", ["items", "accuracy", "chance"]].tolist() == [2, 50, 25]
    assert parts.loc["rm-bench", "accuracy"] == pytest.approx(100 / 3)


def test_math_without_one_of_its_subsets_is_missing():
    suites = {key: answers for key, answers in RIGHT.items() if key[0] != "rm-bench"}
    assert set(trio(suites)["accuracy"]["task"]) == {"donotanswer"}


def test_categorical_columns_and_any_order_of_rows_change_nothing():
    rewards = table(RIGHT)
    kinds = {"dataset": "category", "item_id": "category"}
    shuffled = rewards.sample(frac=1, random_state=0).astype(kinds)
    first, second = (outcomes(score(frame, LAYOUT)) for frame in (rewards, shuffled))
    pd.testing.assert_frame_equal(first, second)


def test_hh_accuracy_pools_the_mixed_rms_two_files():
    accuracy = trio()["hh_accuracy"].set_index(["objective", "subset"])["accuracy"].to_dict()
    assert accuracy == {
        ("helpful", "helpful-base"): 50,
        ("helpful", "own"): 50,
        ("harmless", "harmless-base"): 100,
        ("harmless", "own"): 100,
        ("mixed", "helpful-base"): 50,
        ("mixed", "harmless-base"): 100,
        ("mixed", "own"): pytest.approx(200 / 3),
    }


def correct_of(**right):
    """Whether items 0 to 3 are right, by RM; `shared` is the mixed RM after ablation."""
    columns = {
        (name, "none", 0): [item in items for item in range(4)] for name, items in right.items()
    }
    columns["mixed", "shared", 10] = columns.pop(("shared", "none", 0))
    names = ["objective", "kind", "percent"]
    return pd.DataFrame(columns).astype(float).rename_axis(columns=names)


def test_retention_and_jaccard_by_hand():
    correct = correct_of(helpful={0, 1}, harmless={1, 2}, mixed={1, 3}, shared={0, 1, 2})
    frame = metrics.metrics(correct, np.array([[1.0, 1, 1, 1], [0, 2, 0, 2], [0, 0, 0, 4]]))
    before = frame.xs(("mixed", "none", 0), axis=1, level=["objective", "kind", "percent"])
    assert before[metrics.RETENTION].iloc[0].tolist() == pytest.approx([1 / 3] * 3)
    assert before[metrics.RETENTION].iloc[1].tolist() == [1, 0.5, 0.5]
    after = frame.xs(("mixed", "shared", 10), axis=1, level=["objective", "kind", "percent"])
    assert after.iloc[0][metrics.RETENTION].tolist() == pytest.approx([1, 2 / 3, 2 / 3])
    assert np.isnan(before["retention"].iloc[2])  # item 3 alone, which only the mixed RM gets right
    assert before["retention_as_published"].tolist() == [pytest.approx(1 / 3), 1, 0]
    assert frame["accuracy", "mixed", "none", 0].tolist() == [50, 100, 100]


def test_one_of_maths_two_subsets_without_a_right_item_halves_its_retention_as_published():
    wrong = {("reward-bench-2", "c"): [0, 1, 2, 3], ("reward-bench-2", "d"): [0, 1, 2, 3]}
    maths = find(trio(RIGHT | wrong)["retention"], task="math")
    assert np.isnan(maths["retention"])
    assert maths["retention_as_published"] == 0.5


BENCHMARKS, PREFERENCES = make_benchmarks(without=["rm-bench/chat"]), make_preferences()
PARAMS = small_params()


@pytest.fixture(scope="module")
def items():
    """Outcomes of one trio, weights, and its metrics of tasks."""
    texts = pd.concat([BENCHMARKS, PREFERENCES], ignore_index=True)
    layout = answer_layout(texts)
    rewards = make_rewards(PARAMS, Trio("gpt2-small", 0), BENCHMARKS, PREFERENCES)
    outcome, weights = outcomes(score(rewards, layout)), draw_items(layout, 4)
    return outcome, weights, metrics.trio_metrics(outcome, weights, PARAMS.test_files).tasks


@pytest.mark.parametrize("row", [0, 3])
@pytest.mark.parametrize("task", ["focus", "safety-refuse", "math"])
def test_a_replicate_is_the_metric_of_the_items_as_often_as_they_are_drawn(items, row, task):
    """Items copied out one by one, and counted by sets."""
    outcome, weights, tasks = items
    shares = {"accuracy": [], "retention": [], "mixed_vs_helpful": []}
    for subset in BY_KEY[task].subsets:
        own = outcome[(outcome["dataset"] == subset.suite) & (outcome["subset"] == subset.name)]
        right = {}
        for objective, rows in own[own["kind"] == "none"].groupby("objective", observed=True):
            drawn = [
                (item, copy)
                for item, correct in zip(rows["item"], rows["correct"], strict=True)
                for copy in range(int(weights[row, item // 3]))
                if correct
            ]
            right[objective] = set(drawn)
            size = sum(int(weights[row, item // 3]) for item in rows["item"])
        helpful, harmless, mixed = (right[name] for name in ("helpful", "harmless", "mixed"))
        shares["accuracy"].append(100 * len(mixed) / size)
        shares["retention"].append(len(mixed & (helpful | harmless)) / len(helpful | harmless))
        shares["mixed_vs_helpful"].append(len(mixed & helpful) / len(mixed | helpful))
    for measure, values in shares.items():
        assert tasks[task, measure, "mixed", "none", 0][row] == pytest.approx(np.mean(values))


def test_a_task_without_texts_is_absent(items):
    tasks = items[-1].columns.unique("task")
    assert "chat" not in tasks
    assert len(tasks) == 24


def test_changes_are_in_points_from_the_unablated_rm():
    columns = [("x", "mixed", "none", 0), ("x", "mixed", "magnitude", 10), ("x", "mixed", "all", 9)]
    names = ["task", "objective", "kind", "percent"]
    index = pd.MultiIndex.from_tuples(columns, names=names)
    found = metrics.changes(pd.DataFrame([[60.0, 45.0, 62.5], [1.0, 2.0, 4.0]], columns=index))
    assert found.to_numpy().tolist() == [[-15, 2.5], [1, 3]]
    assert list(found) == columns[1:]


def test_bfloat16_rounds_to_eight_bits_and_ties_to_even():
    values = [1, 1 + 2**-9, 1 + 2**-8, 1 + 3 * 2**-8, -1.00001, 0, 3.3895314e38]
    expected = [1, 1, 1, 1 + 2**-6, -1, 0, 3.3895314e38]
    rounded = as_published.to_bfloat16(np.array(values, dtype=np.float32))
    assert rounded.tolist() == pytest.approx(expected)


def test_bfloat16_makes_ties_that_count_as_wrong():
    close = {("reward-bench", "a"): [1.0001, 1], ("reward-bench", "b"): [2, 1]}
    row = find(trio(RIGHT | close)["ties"], subset="donotanswer", objective="mixed")
    names = ["items", "accuracy", "ties", "accuracy_bfloat16", "ties_bfloat16"]
    assert row[names].tolist() == [2, 100, 0, 50, 50]
