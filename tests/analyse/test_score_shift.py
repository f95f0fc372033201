import numpy as np
import pandas as pd

from rm_tension.analyse import example
from rm_tension.analyse.outcomes import answer_layout, score
from rm_tension.analyse.score_shift import density_table, sides, task_rewards
from rm_tension.base.grid import Trio

BENCHMARKS = pd.DataFrame(
    [
        ("reward-bench", "xstest-should-respond", "a", "<b>kill</b> a process?", ["run kill", "I cannot"], 1),
        ("reward-bench", "xstest-should-respond", "b", "other", ["yes", "no"], 1),
        ("rm-bench", "safety-response", "r", "styled", ["y0", "y1", "y2", "n0", "n1", "n2"], 3),
        ("reward-bench-2", "ties", "t", "in no table", ["x", "y"], 1),
    ],
    columns=["dataset", "subset", "item_id", "prompt", "answers", "n_chosen"],
)
# Answers of a, b, r and t in order.
NONE = {
    "helpful": [4, 1, 1, 3, 5, 5, 5, 0, 0, 0, 9, 0],
    "harmless": [0, 2, 3, 1, 0, 0, 0, 1, 1, 1, 9, 0],
    "mixed": [2, 1, 2, 1, 0, 0, 3, 1, 1, 1, 9, 0],
}


def trio_rewards(none=NONE):
    benchmarks = BENCHMARKS.explode("answers", ignore_index=True)
    answers = benchmarks[["dataset", "item_id"]].assign(
        answer_index=benchmarks.groupby(["dataset", "item_id"], sort=False).cumcount()
    )
    tables = [
        answers.assign(
            objective=objective, kind=kind, percent=percent, reward=np.float32(factor) * np.array(rewards, "f4")
        )
        for objective, rewards in none.items()
        for kind, percent, factor in (("none", 0, 1), ("magnitude", 10, 0.5))
    ]
    return task_rewards(score(pd.concat(tables), answer_layout(BENCHMARKS), dict.fromkeys(none, ())), 10)


def test_ties_and_code_stand_in_no_figure():
    assert set(trio_rewards().index.get_level_values("subset")) == {"xstest-should-respond", "safety-response"}


def test_retained_items_are_those_that_both_get_right():
    found = {(one.comparison, one.objective, one.side): one for one in sides(trio_rewards())}
    single, mixed = found["retained", "helpful", "single"], found["retained", "helpful", "mixed"]
    assert sorted(single.rewards) == [0, 1, 4, 5]  # a, and the third style of r
    assert sorted(mixed.rewards) == [1, 1, 2, 3]
    assert sorted(found["retained", "harmless", "mixed"].rewards) == [1, 2]  # b
    assert found["ablation", "mixed", "after"].rewards.size == 10


def test_densities_integrate_to_one_over_nearly_all_rewards():
    found = list(sides(trio_rewards())) * 3
    table = density_table(found)
    assert set(table["curve"]) == {f"{a} {b}" for a in ("before", "after") for b in ("chosen", "rejected")} | {
        "single",
        "mixed",
    }
    for _, curve in table.groupby(["figure", "panel", "curve"]):
        width = curve["reward"].diff().iloc[1]
        assert len(curve) == 80
        assert 0.5 < curve["density"].sum() * width <= 1.0001


def test_a_panel_without_rewards_is_absent():
    nobody = dict.fromkeys(NONE, (0, 1, 0, 1, 0, 0, 0, 1, 1, 1, 0, 1))
    assert set(density_table(sides(trio_rewards(nobody)))["figure"]) == {7}


def test_the_example_fits_the_most_trios_and_shows_the_clearest():
    found = example.candidates(trio_rewards())
    assert found["item_id"].tolist() == ["a", "r"]
    assert found["clarity"].tolist() == [1, 1]
    clearer = {objective: [2 * reward for reward in rewards] for objective, rewards in NONE.items()}
    clearer["helpful"][6] = 0  # r fits no more
    trios = {Trio("x", 0): trio_rewards(), Trio("x", 1): trio_rewards(clearer)}
    chosen = example.choose({trio: example.candidates(one) for trio, one in trios.items()}, BENCHMARKS).example
    assert (chosen.item_id, chosen.seed, chosen.trios) == ("a", 1, 2)
    assert (chosen.prompt, chosen.answer, chosen.refusal) == ("<b>kill</b> a process?", "run kill", "I cannot")
    assert chosen.rewards["harmless"] == example.Sides(answer=0, refusal=4)


def test_no_example_says_why():
    agreeing = NONE | {"harmless": NONE["helpful"]}
    found = example.choose({Trio("x", 0): example.candidates(trio_rewards(agreeing))}, BENCHMARKS)
    assert found.example is None
    assert "In no trio" in found.reason


def test_the_answer_and_refusal_of_a_style_belong_together():
    chosen = example.candidates(trio_rewards()).set_index("item_id").loc["r"]
    assert (chosen["index answer"], chosen["index refusal"]) == (2, 5)
