"""Figures 3 and 7, the ratios of rewards that C4 and C11 are decided on, and Figure 1's example."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rm_tension.analyse import example
from rm_tension.analyse.bootstrap import draw_items
from rm_tension.analyse.outcomes import answer_layout, outcomes, score
from rm_tension.analyse.score_shift import (
    LOWEST_MARGIN_RATIO,
    curves,
    density_table,
    log_ratios,
    retained,
    right_items,
    sides,
    suite_rewards,
    task_rewards,
)

BENCHMARKS = pd.DataFrame(
    [
        ("reward-bench", "xstest-should-respond", "a", "kill it?", ["run kill", "I cannot"], 1),
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


# One chosen and three rejected answers, two chosen and one rejected, a pair; the last two stand in
# no table.
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
    layout, tables = answer_layout(benchmarks), []
    for objective, rewards in none.items():
        plain = layout.assign(objective=objective, reward=np.array(rewards, "f4"))
        tables.append(plain.assign(kind="none", percent=0))
        tables.append(plain.assign(kind="magnitude", percent=10, reward=plain["reward"] / 2))
    return score(pd.concat(tables), layout)


def trio_rewards(none=NONE):
    return task_rewards(scored(none, BENCHMARKS), 10)


def trio_sides(none=NONE):
    rewards = scored(none, BENCHMARKS)
    return list(sides(task_rewards(rewards, 10), right_items(outcomes(rewards))))


def both_sides(comparison, objective):
    return [s for s in trio_sides() if (s.comparison, s.objective) == (comparison, objective)]


def drawn(rewards):
    """The rewards of each curve, by figure, variant, panel and curve."""
    right = right_items(outcomes(rewards))
    found = curves("corrected", sides(task_rewards(rewards, 10), right))
    found |= curves("as_published", retained(suite_rewards(rewards), right))
    return {curve: rewards.tolist() for curve, rewards in found.items()}


def test_ties_and_code_stand_in_no_figure():
    subsets = trio_rewards().index.get_level_values("subset")
    assert set(subsets) == {"xstest-should-respond", "safety-response"}


def test_retained_items_are_those_that_both_get_right():
    found = {(one.comparison, one.objective, one.side): one.rewards for one in trio_sides()}
    assert sorted(found["retained", "helpful", "single"]) == [0, 1, 4, 5]  # a, and r's third style
    assert sorted(found["retained", "helpful", "mixed"]) == [1, 1, 2, 3]
    assert sorted(found["retained", "harmless", "mixed"]) == [1, 2]  # b
    assert found["ablation", "helpful", "after"].size == 10


def test_a_curve_is_of_the_lowest_chosen_and_the_highest_rejected_reward_of_each_item():
    found = drawn(scored(OF_BEST, BEST_OF))
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
    kept = rewards[~code_and_ties | (rewards["kind"] == "none")]  # as they are scored
    found = drawn(pd.concat([kept, pairs]))
    assert found[3, "as_published", "helpful", "single"] == [4, 3, 6, 0]
    assert found[3, "as_published", "helpful", "mixed"] == [2, 1, 2, 1]
    assert found[3, "as_published", "harmless", "single"] == [4, -4]
    assert found[3, "as_published", "harmless", "mixed"] == [1, 0]
    assert found[3, "corrected", "harmless", "mixed"] == []
    assert {figure for figure, variant, *_ in found if variant == "as_published"} == {3}


def by_definition(side):
    """Of the rewards of one side, straight from the definitions."""
    rewards, chosen, items = side.rewards.astype(float), side.chosen, side.items
    margins = [
        rewards[chosen & (items == item)].min() - rewards[~chosen & (items == item)].max()
        for item in np.unique(items)
    ]
    return {
        "log_mean_abs": np.abs(rewards).mean(),
        "log_mean_abs_chosen": np.abs(rewards[chosen]).mean(),
        "log_mean_abs_rejected": np.abs(rewards[~chosen]).mean(),
        "log_std": rewards.std(),
        "log_margin": abs(np.mean(margins)),
    }


@pytest.mark.parametrize("objective", ["helpful", "harmless"])
@pytest.mark.parametrize("comparison", ["retained", "ablation"])
def test_ratios_of_rewards_are_those_of_their_definitions(comparison, objective):
    pair = both_sides(comparison, objective)
    before, after = map(by_definition, pair)
    ratios = np.exp(log_ratios(pair, draw_items(answer_layout(BENCHMARKS), 5)).iloc[0])
    assert len(ratios) == 5
    for measure, value in after.items():
        ratio = ratios[measure, objective, comparison, "", 0]
        assert ratio == pytest.approx(value / before[measure], abs=1e-9)


def test_a_replicate_weighs_prompts_as_they_are_drawn():
    """In every row as if the answers of a prompt stood there as often."""
    pair = both_sides("ablation", "harmless")
    weights = np.array([[1.0, 1, 1, 1], [2, 0, 2, 0], [0, 3, 1, 0]])
    found = np.exp(log_ratios(pair, weights))
    for row, counts in enumerate(weights):
        of = []
        for side in pair:
            times = counts[side.items // 3].astype(int)
            copies = np.concatenate([np.arange(n) for n in times])
            items = np.repeat(side.items, times) + 100 * copies
            chosen, rewards = np.repeat(side.chosen, times), np.repeat(side.rewards, times)
            of.append(by_definition(replace(side, rewards=rewards, chosen=chosen, items=items)))
        for measure in ("log_mean_abs", "log_std", "log_margin"):
            ratio = found[measure, "harmless", "ablation", "", 0][row]
            assert ratio == pytest.approx(of[1][measure] / of[0][measure])


def test_a_margin_that_vanishes_has_the_lowest_ratio():
    before, after = both_sides("ablation", "harmless")
    silent = replace(after, rewards=0 * after.rewards)
    ratios = log_ratios([before, silent], draw_items(answer_layout(BENCHMARKS), 0)).iloc[0]
    assert ratios["log_margin", "harmless", "ablation", "", 0] == np.log(LOWEST_MARGIN_RATIO)


def test_densities_integrate_to_one_over_nearly_all_rewards():
    found = [curves("corrected", trio_sides())] * 3
    table = density_table(found)
    assert table["curve"].nunique() == 6
    for _, curve in table.groupby(["figure", "variant", "panel", "curve"]):
        width = curve["reward"].diff().iloc[1]
        assert len(curve) == 80
        assert 0.5 < curve["density"].sum() * width <= 1.0001


def test_a_panel_without_rewards_is_absent():
    nobody = dict.fromkeys(NONE, (0, 1, 0, 1, 0, 0, 0, 1, 1, 1, 0, 1))
    assert set(density_table([curves("corrected", trio_sides(nobody))])["figure"]) == {7}


def test_the_example_fits_the_most_trios_and_shows_the_clearest():
    found = example.candidates(trio_rewards())
    assert found["item_id"].tolist() == ["a", "r"]
    assert found["clarity"].tolist() == [1, 1]
    clearer = {objective: [2 * reward for reward in rewards] for objective, rewards in NONE.items()}
    clearer["helpful"][6] = 0  # r fits no more
    tables = [example.candidates(trio_rewards(rewards)) for rewards in (NONE, clearer)]
    fitting = pd.concat([table.assign(backbone="x", seed=s) for s, table in enumerate(tables)])
    chosen = example.choose(fitting, BENCHMARKS).example
    assert (chosen.item_id, chosen.seed, chosen.trios) == ("a", 1, 2)
    assert (chosen.prompt, chosen.answer, chosen.refusal) == ("kill it?", "run kill", "I cannot")
    assert chosen.rewards["harmless"] == example.Sides(answer=0, refusal=4)


def test_no_example_says_why():
    agreeing = NONE | {"harmless": NONE["helpful"]}
    found = example.choose(example.candidates(trio_rewards(agreeing)), BENCHMARKS)
    assert found.example is None
    assert "In no trio" in found.reason


def test_the_answer_and_refusal_of_a_style_belong_together():
    chosen = example.candidates(trio_rewards()).set_index("item_id").loc["r"]
    assert (chosen["index answer"], chosen["index refusal"]) == (2, 5)
