import numpy as np
import pandas as pd
import pytest

from rm_tension.analyse.accuracy import changes, hh_accuracy, task_accuracy
from rm_tension.analyse.outcomes import answer_layout, outcomes, score
from rm_tension.analyse.retention import retention
from rm_tension.base.config import HH
from rm_tension.base.errors import UserError

TEXTS = pd.DataFrame(
    [
        ("reward-bench", "donotanswer", "a", ["x"] * 2, 1),
        ("reward-bench", "donotanswer", "b", ["x"] * 2, 1),
        ("reward-bench-2", "math", "c", ["x"] * 4, 1),
        ("reward-bench-2", "math", "d", ["x"] * 4, 1),
        ("rm-bench", "math", "a", ["x"] * 6, 3),
        (HH, "helpful-base", "h0", ["yes", "no"], 1),
        (HH, "helpful-base", "h1", ["yes", "no"], 1),
        (HH, "harmless-base", "s0", ["yes", "no"], 1),
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
HELPFUL = {(HH, "h0"): [1, 0], (HH, "h1"): [0, 1]}
HARMLESS = {(HH, "s0"): [1, 0]}


def table(rewards, objective="helpful", kind="none", percent=0):
    rows = [
        (objective, kind, percent, dataset, item, index, reward)
        for (dataset, item), answers in rewards.items()
        for index, reward in enumerate(answers)
    ]
    columns = ["objective", "kind", "percent", "dataset", "item_id", "answer_index", "reward"]
    return pd.DataFrame(rows, columns=columns).astype({"reward": "float32"})


def find(frame, **values):
    for name, value in values.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_accuracy_is_strict_counts_ties_and_averages_maths_two_subsets():
    tasks = task_accuracy(outcomes(score(table(RIGHT), LAYOUT, FILES)))
    assert find(tasks, task="donotanswer")[["items", "correct", "ties", "accuracy"]].tolist() == [
        2,
        1,
        1,
        50,
    ]
    maths = find(tasks, task="math")
    assert maths[["items", "correct", "ties"]].tolist() == [5, 2, 1]
    assert maths["accuracy"] == pytest.approx((100 / 2 + 100 / 3) / 2)
    assert set(tasks["task"]) == {"donotanswer", "math"}


def test_math_without_one_of_its_subsets_is_missing():
    layout = LAYOUT[LAYOUT["dataset"] != "rm-bench"]
    rewards = {key: answers for key, answers in RIGHT.items() if key[0] != "rm-bench"}
    assert set(task_accuracy(outcomes(score(table(rewards), layout, FILES)))["task"]) == {
        "donotanswer"
    }


def test_categorical_columns_and_any_order_of_rows_change_nothing():
    rewards = table(RIGHT)
    shuffled = rewards.sample(frac=1, random_state=0).astype(
        {"dataset": "category", "item_id": "category"}
    )
    expected = task_accuracy(outcomes(score(rewards, LAYOUT, FILES)))
    pd.testing.assert_frame_equal(task_accuracy(outcomes(score(shuffled, LAYOUT, FILES))), expected)


def test_hh_accuracy_pools_the_mixed_rms_two_files():
    rewards = pd.concat(
        [table(HELPFUL), table(HARMLESS, "harmless"), table(HELPFUL | HARMLESS, "mixed")]
    )
    accuracy = hh_accuracy(outcomes(score(rewards, LAYOUT, FILES)), FILES)
    found = accuracy.set_index(["objective", "subset"])["accuracy"].to_dict()
    assert found == {
        ("helpful", "helpful-base"): 50,
        ("helpful", "own"): 50,
        ("harmless", "harmless-base"): 100,
        ("harmless", "own"): 100,
        ("mixed", "helpful-base"): 50,
        ("mixed", "harmless-base"): 100,
        ("mixed", "own"): pytest.approx(200 / 3),
    }


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (table(RIGHT).drop(columns="reward"), "no column reward"),
        (
            table(RIGHT | {("reward-bench", "a"): [np.nan, 0]}),
            "1 rows whose reward is not finite.*item_id a",
        ),
        (
            table(RIGHT | {("reward-bench", "z"): [1, 0]}),
            "2 rows whose answer is in neither benchmarks.*item_id z",
        ),
        (
            table(RIGHT | {("reward-bench", "a"): [1]}),
            "not one for each expected answer.*reward-bench.*expected 4",
        ),
        (pd.concat([table(RIGHT), table(RIGHT).head(1)]), "rewards 5, answers 4"),
        (table({(HH, "h1"): [1]}), "rewards 1, answers 1, expected 4"),
        (table(HELPFUL, "mixed"), "hh-rlhf, rewards 4, answers 4, expected 6"),
    ],
)
def test_broken_rewards_are_refused(broken, message):
    with pytest.raises(UserError, match=message):
        score(broken, LAYOUT, FILES)


def right_on(items):
    """A reward model that is right on some of the items a to d of Do Not Answer."""
    return {("reward-bench", item): [1, 0] if item in items else [0, 1] for item in "abcd"}


def test_retention_and_jaccard_by_hand():
    texts = pd.DataFrame(
        {"dataset": "reward-bench", "subset": "donotanswer", "item_id": list("abcd")}
    )
    texts = texts.assign(answers=[["x"] * 2] * 4, n_chosen=1)
    rewards = [
        table(right_on("ab"), "helpful"),
        table(right_on("bc"), "harmless"),
        table(right_on("bd"), "mixed"),
        table(right_on("abc"), "mixed", "shared", 10),
    ]
    items = outcomes(score(pd.concat(rewards), answer_layout(texts), FILES))
    found = retention(items).set_index("kind")
    assert found.loc[
        "none", ["retention", "mixed_vs_helpful", "mixed_vs_harmless"]
    ].tolist() == pytest.approx([1 / 3] * 3)
    assert found.loc["shared", ["retention", "mixed_vs_helpful"]].tolist() == pytest.approx(
        [1, 2 / 3]
    )
    assert retention(items[items["objective"] != "harmless"]).empty
    assert (found["retention_as_published"] == found["retention"]).all()
    nobody = retention(items.assign(correct=False))
    assert nobody["retention"].isna().all()
    assert (nobody["retention_as_published"] == 0).all()


def test_one_of_maths_two_subsets_without_a_right_item_halves_its_retention_as_published():
    rewards = pd.concat([table(RIGHT, objective) for objective in ("helpful", "harmless", "mixed")])
    items = outcomes(score(rewards, LAYOUT, FILES))
    wrong = items["dataset"] == "reward-bench-2"
    maths = find(retention(items.assign(correct=items["correct"] & ~wrong)), task="math")
    assert np.isnan(maths["retention"])
    assert maths["retention_as_published"] == 0.5


def test_changes_are_in_points_from_the_unablated_rm():
    accuracy = pd.DataFrame(
        {
            "kind": ["none", "magnitude", "helpful-only"],
            "percent": [0, 10, 5],
            "accuracy": [60.0, 45.0, 62.5],
        }
    )
    accuracy = accuracy.assign(backbone="b", objective="mixed", seed=0, task="chat")
    found = changes(accuracy).set_index("kind")
    assert found["delta"].to_dict() == {"magnitude": -15, "helpful-only": 2.5}
    assert found["percent"].to_dict() == {"magnitude": 10, "helpful-only": 5}
