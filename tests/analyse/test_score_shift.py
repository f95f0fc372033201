import numpy as np
import pandas as pd

from rm_tension.analyse import example
from rm_tension.analyse.outcomes import answer_layout, score
from rm_tension.analyse.score_shift import (
    curves,
    density_table,
    retained,
    sides,
    suite_rewards,
    task_rewards,
)
from rm_tension.base.grid import Trio

BENCHMARKS = pd.DataFrame(
    [
        (
            "reward-bench",
            "xstest-should-respond",
            "a",
            "<b>kill</b> a process?",
            ["run kill", "I cannot"],
            1,
        ),
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


# One chosen and three rejected answers, two chosen and one rejected, a pair; the last two stand in no table.
BEST_OF = pd.DataFrame(
    [
        ("reward-bench-2", "safety", "s", "", ["y", "n0", "n1", "n2"], 1),
        ("reward-bench-2", "ties", "t", "", ["x", "y", "n"], 2),
        ("reward-bench", "hep-python", "c", "", ["x", "n"], 1),
    ],
    columns=BENCHMARKS.columns,
)
OF_BEST = {
    "helpful": [4, 1, 3, -2, 9, 6, 0, 5, 7],  # right on s and t
    "harmless": [1, 3, 0, 0, 2, 1, 5, 4, -4],  # right on c
    "mixed": [2, 0, 1, -1, 3, 2, 1, 1, 0],  # right on all
}


def scored(none, benchmarks):
    """Rewards without ablation as they are, and with the top 10% ablated half of them."""
    rows = benchmarks.explode("answers", ignore_index=True)
    answers = rows[["dataset", "item_id"]].assign(
        answer_index=rows.groupby(["dataset", "item_id"], sort=False).cumcount()
    )
    tables = [
        answers.assign(
            objective=objective,
            kind=kind,
            percent=percent,
            reward=np.float32(factor) * np.array(rewards, "f4"),
        )
        for objective, rewards in none.items()
        for kind, percent, factor in (("none", 0, 1), ("magnitude", 10, 0.5))
    ]
    return score(pd.concat(tables), answer_layout(benchmarks), dict.fromkeys(none, ()))


def trio_rewards(none=NONE):
    return task_rewards(scored(none, BENCHMARKS), 10)


def drawn(rewards, unablated):
    """The rewards of each curve, by figure, variant, panel and curve."""
    variants = {
        "corrected": sides(task_rewards(rewards, 10)),
        "as_published": retained(suite_rewards(unablated)),
    }
    return {tuple(one[:4]): one.rewards.tolist() for one in curves(variants)}


def test_ties_and_code_stand_in_no_figure():
    assert set(trio_rewards().index.get_level_values("subset")) == {
        "xstest-should-respond",
        "safety-response",
    }


def test_retained_items_are_those_that_both_get_right():
    found = {(one.comparison, one.objective, one.side): one for one in sides(trio_rewards())}
    single, mixed = found["retained", "helpful", "single"], found["retained", "helpful", "mixed"]
    assert sorted(single.rewards) == [0, 1, 4, 5]  # a, and the third style of r
    assert sorted(mixed.rewards) == [1, 1, 2, 3]
    assert sorted(found["retained", "harmless", "mixed"].rewards) == [1, 2]  # b
    assert found["ablation", "mixed", "after"].rewards.size == 10


def test_a_curve_is_of_the_lowest_chosen_and_the_highest_rejected_reward_of_each_item():
    rewards = scored(OF_BEST, BEST_OF)
    found = drawn(rewards, rewards)
    assert found[3, "corrected", "helpful", "single"] == [4, 3]
    assert found[3, "corrected", "helpful", "mixed"] == [2, 1]
    for time, factor in (("before", 1), ("after", 0.5)):
        assert found[7, "corrected", "helpful", f"{time} chosen"] == [factor * 4]
        assert found[7, "corrected", "helpful", f"{time} rejected"] == [factor * 3]
        assert found[7, "corrected", "harmless", f"{time} chosen"] == [factor * 1]  # right or wrong
        assert found[7, "corrected", "harmless", f"{time} rejected"] == [factor * 3]
    assert {panel for _, _, panel, _ in found} == {"helpful", "harmless"}


def test_as_published_figure_3_is_of_every_subset_and_not_of_hh():
    rewards = scored(OF_BEST, BEST_OF)
    code_and_ties = ~rewards["subset"].isin(["safety"])
    pairs = rewards[rewards["subset"] == "hep-python"].assign(dataset="hh-rlhf", item=99)
    unablated = pd.concat(
        [rewards[~code_and_ties | (rewards["kind"] == "none")], pairs]
    )  # as they are scored
    found = drawn(rewards, unablated)
    assert found[3, "as_published", "helpful", "single"] == [4, 3, 6, 0]
    assert found[3, "as_published", "helpful", "mixed"] == [2, 1, 2, 1]
    assert found[3, "as_published", "harmless", "single"] == [4, -4]
    assert found[3, "as_published", "harmless", "mixed"] == [1, 0]
    assert found[3, "corrected", "harmless", "mixed"] == []
    assert {figure for figure, variant, *_ in found if variant == "as_published"} == {3}


def test_densities_integrate_to_one_over_nearly_all_rewards():
    found = list(curves({"corrected": sides(trio_rewards())})) * 3
    table = density_table(found)
    assert set(table["curve"]) == {
        f"{a} {b}" for a in ("before", "after") for b in ("chosen", "rejected")
    } | {
        "single",
        "mixed",
    }
    for _, curve in table.groupby(["figure", "variant", "panel", "curve"]):
        width = curve["reward"].diff().iloc[1]
        assert len(curve) == 80
        assert 0.5 < curve["density"].sum() * width <= 1.0001


def test_a_panel_without_rewards_is_absent():
    nobody = dict.fromkeys(NONE, (0, 1, 0, 1, 0, 0, 0, 1, 1, 1, 0, 1))
    assert set(density_table(curves({"corrected": sides(trio_rewards(nobody))}))["figure"]) == {7}


def test_the_example_fits_the_most_trios_and_shows_the_clearest():
    found = example.candidates(trio_rewards())
    assert found["item_id"].tolist() == ["a", "r"]
    assert found["clarity"].tolist() == [1, 1]
    clearer = {objective: [2 * reward for reward in rewards] for objective, rewards in NONE.items()}
    clearer["helpful"][6] = 0  # r fits no more
    trios = {Trio("x", 0): trio_rewards(), Trio("x", 1): trio_rewards(clearer)}
    chosen = example.choose(
        {trio: example.candidates(one) for trio, one in trios.items()}, BENCHMARKS
    ).example
    assert (chosen.item_id, chosen.seed, chosen.trios) == ("a", 1, 2)
    assert (chosen.prompt, chosen.answer, chosen.refusal) == (
        "<b>kill</b> a process?",
        "run kill",
        "I cannot",
    )
    assert chosen.rewards["harmless"] == example.Sides(answer=0, refusal=4)


def test_no_example_says_why():
    agreeing = NONE | {"harmless": NONE["helpful"]}
    found = example.choose({Trio("x", 0): example.candidates(trio_rewards(agreeing))}, BENCHMARKS)
    assert found.example is None
    assert "In no trio" in found.reason


def test_the_answer_and_refusal_of_a_style_belong_together():
    chosen = example.candidates(trio_rewards()).set_index("item_id").loc["r"]
    assert (chosen["index answer"], chosen["index refusal"]) == (2, 5)
