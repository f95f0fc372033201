"""What the controls say, by hand and on planted effects."""

import re

import numpy as np
import pandas as pd
import pytest

from rm_tension.analyse.bootstrap import DRAWN, ESTIMATE
from rm_tension.analyse.controls import claim_parts, effects, group_effects
from rm_tension.analyse.evidence import trio_evidence
from rm_tension.analyse.task_sets import KEYS
from rm_tension.analyse.verdicts import Evidence
from rm_tension.report.controls import paragraph

SHARE = "control to top neurons, helpfulness tasks"


def evidence(values, spread=0.1):
    """Of effects by objective, kind and measure, at 10%, with a standard error."""
    index = pd.MultiIndex.from_tuples(
        [(ESTIMATE, "", 0), *((DRAWN, "", number) for number in range(200))]
    )
    noise = np.append(0, np.random.default_rng(0).normal(0, spread, 200))
    columns = {}
    for (objective, kind, measure), value in values.items():
        series = pd.Series(value + noise, index=index)
        if measure == "hh":
            columns["hh_delta", objective, kind, "", 10] = series
        else:
            for task in KEYS[measure]:
                columns["delta", objective, kind, task, 0] = series
    return Evidence(pd.DataFrame(columns))


def verdicts(values):
    parts = claim_parts(evidence(values), 10)
    return {(claim, control, part.name): part.verdict for claim, control, part in parts}


@pytest.mark.parametrize(
    ("claim", "part", "top", "effect", "less", "more"),
    [
        ("C6", "helpful RM, HH-RLHF test", "helpful magnitude hh", -10, -4, -12),
        ("C8", "helpful RM, helpfulness tasks", "helpful magnitude helpfulness", -8, -1, -12),
        ("C8", "helpful RM, harmlessness tasks", "helpful magnitude harmlessness", 5, 0, 9),
        ("C10", "shared set, helpfulness tasks", "mixed shared helpfulness", -9, -2, -9.5),
        ("C19", SHARE, "mixed magnitude helpfulness", -10, -2, -9.5),
    ],
)
def test_top_and_shared_neurons_must_do_more_than_a_control(claim, part, top, effect, less, more):
    objective, kind, measure = top.split()
    values = {"depth-matched": less, "backbone": more, kind: effect}
    decided = verdicts({(objective, kind, measure): value for kind, value in values.items()})
    assert decided[claim, "depth-matched", part] == "reproduced"
    assert decided[claim, "backbone", part] == "not reproduced"


def test_set_to_their_mean_the_top_neurons_must_do_it_by_themselves():
    decided = verdicts({("helpful", "mean-ablation", "hh"): -3})
    assert decided["C6", "mean-ablation", "helpful RM, HH-RLHF test"] == "reproduced"
    assert decided["C6", "mean-ablation", "mixed RM, HH-RLHF test"] == "not applicable"


def test_draws_of_a_control_are_averaged_and_their_spread_is_told():
    def frame(values, level):
        columns = [(level, "mixed", "none", 0)]
        columns += [(level, "mixed", f"depth-matched/{draw}", 10) for draw in (1, 2)]
        names = ["subset", "objective", "kind", "percent"]
        return pd.DataFrame([values], columns=pd.MultiIndex.from_tuples(columns, names=names))

    tasks = pd.concat({"accuracy": frame([50.0, 47, 41], "chat")}, axis=1, names=["measure"])
    tasks.columns = tasks.columns.reorder_levels([1, 0, 2, 3, 4]).set_names("task", level=0)
    made = trio_evidence(tasks, frame([80.0, 70, 74], "own"), 10)
    assert made["hh_delta", "mixed", "depth-matched", "", 10].tolist() == [-8]
    assert made["delta", "mixed", "depth-matched", "chat", 0].tolist() == [-6]
    made.index = pd.MultiIndex.from_tuples([(ESTIMATE, "", 0)])
    rows = {row[2]: row for row in effects(Evidence(made), ["mixed"], 10)}
    assert rows["hh"][3] == -8
    assert rows["hh"][-2:] == (2, 2.0)


def test_the_rank_correlation_of_groups_with_what_they_cost_by_hand():
    items = ["a", "b"]
    layout = pd.DataFrame({"dataset": "hh-rlhf", "item_id": items, "item": [3, 0]})
    margins = {("none", 0): [2, 2], ("up", 1): [2, 1.9], ("up", 2): [1, 3], ("up", 3): [0, 4]}
    rows = [
        ("mixed", score, group, "hh-rlhf", item, margin)
        for (score, group), both in margins.items()
        for item, margin in zip(items, both, strict=True)
    ]
    columns = ["objective", "score", "group", "dataset", "item_id", "margin"]
    weights = np.array([[3.0, 1], [0, 5], [1, 0]])  # of b, then of a: by the prompt's place
    drops, correlations = group_effects(pd.DataFrame(rows, columns=columns), layout, weights)
    assert correlations["mixed", "up"].tolist() == pytest.approx([-1, 1, -1])
    assert drops["drop"].tolist() == pytest.approx([0.075, -0.5, -1.0])


def test_the_paragraph_says_what_the_verdicts_are():
    """A claim beside a control is as good as its worst part."""
    decided = [
        ("C6", "depth-matched", "holds"),
        ("C6", "backbone", "holds"),
        ("C6", "backbone", "does not hold"),
        ("C8", "depth-matched", "holds"),
        ("C8", "backbone", "holds"),
        ("C10", "depth-matched", "open"),
        ("C19", "backbone", "not measured"),
    ]
    text = paragraph(pd.DataFrame(decided, columns=["id", "control", "verdict"]))
    depths, own = (
        "beyond random neurons of the same depths",
        "beyond the backbone's own top neurons",
    )
    for claim, said in {
        "C6": f"holds {depths}; it does not hold {own}.",
        "C8": f"holds {depths} and {own}.",
        "C10": f"is open {depths}.",
        "C19": f"was not measured {own}.",
    }.items():
        assert re.search(rf"{claim} \([^()]*\) {re.escape(said)}", text)
