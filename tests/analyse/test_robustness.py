"""Ablation by either score: group averages and verdicts, worked by hand."""

import pandas as pd
import pytest

from rm_tension.analyse.bootstrap import DRAWN, ESTIMATE
from rm_tension.analyse.robustness import ablation_verdicts
from rm_tension.analyse.tables import grid_tables
from rm_tension.analyse.task_sets import KEYS

ROWS = pd.MultiIndex.from_tuples([(ESTIMATE, "", 0), (DRAWN, "", 1), (DRAWN, "", 2)])


def test_group_averages_of_what_either_score_silences():
    rows = [
        ("magnitude", 10, "chat", -4.0),
        ("magnitude", 10, "focus", -2.0),
        ("magnitude", 20, "chat", -9.0),
        ("absolute", 10, "chat", -1.0),
        ("absolute", 10, "safety", 5.0),
        ("shared", 10, "chat", -7.0),
        *(("none", 0, task, 0.0) for task in ("chat", "focus", "safety")),
    ]
    accuracy = pd.DataFrame(rows, columns=["kind", "percent", "task", "accuracy"])
    accuracy = accuracy.assign(backbone="b", seed=0, objective="mixed", items=1, correct=1, ties=0)
    retention = accuracy.assign(retention=0.5, retention_as_published=0.5)
    depth = pd.DataFrame(columns=["backbone", "objective", "seed", "variant", "third", "share"])
    depth = depth.assign(neurons=0, all_neurons=0)
    tables = {"accuracy": accuracy, "retention": retention, "neuron_depth": depth}
    table = grid_tables(tables, 10)["ablation_by_score"]
    assert table.set_index(["score", "percent", "group"])["delta"].to_dict() == {
        ("magnitude", 10, "helpfulness"): -3.0,
        ("magnitude", 20, "helpfulness"): -9.0,
        ("absolute", 10, "helpfulness"): -1.0,
        ("absolute", 10, "harmlessness"): 5.0,
    }


def evidence(kind, own, other):
    """Three resamples in which every RM changes by `own` on its own tasks, by `other` elsewhere."""
    columns = {}
    for group, single in (("helpfulness", "helpful"), ("harmlessness", "harmless")):
        for tasks, keys in KEYS.items():
            value = own if tasks == group else other
            values = [value, value - 0.1, value + 0.1]
            columns |= {("delta", single, kind, task, 0): values for task in keys}
    return pd.DataFrame(columns, index=ROWS)


def drops_of(drops):
    """Three resamples of drops by kind and percent, alike for each objective and their mean."""
    columns = {
        ("hh_delta", objective, kind, "", percent): [-drop, -drop - 0.1, -drop + 0.1]
        for objective in ("helpful", "harmless", "mixed", "")
        for (kind, percent), drop in drops.items()
    }
    return pd.DataFrame(columns, index=ROWS)


@pytest.mark.parametrize(
    ("own", "other", "verdict"), [(-5, 2, "reproduced"), (5, 2, "not reproduced")]
)
def test_c8_is_decided_for_each_score_on_its_own(own, other, verdict):
    table = ablation_verdicts(evidence("absolute", own, other), 10)
    rows = list(zip(table["id"], table["score"], table["verdict"], strict=True))
    assert rows == [("C8", "absolute", verdict)]  # nothing else was measured


def test_a_profile_that_ablates_by_the_signed_score_alone_has_its_rows_alone():
    drops = {("magnitude", 10): 2, ("magnitude", 30): 2, ("change", 30): 1}
    drops |= {("random", 10): 1, ("random", 30): 1}
    table = ablation_verdicts(evidence("magnitude", -5, 2).join(drops_of(drops)), 10)
    rows = list(zip(table["id"], table["score"], table["percents"], strict=True))
    assert rows == [("C6", "magnitude", "30"), ("C8", "magnitude", "10")]
    assert not table.isna().any(axis=None)


def test_without_the_scores_that_c6_is_held_against_it_has_no_row():
    assert ablation_verdicts(drops_of({("magnitude", 10): 5}), 10).empty


def test_c6_is_decided_at_the_percents_that_both_scores_have():
    drops = {("magnitude", 10): 5, ("magnitude", 30): -50, ("absolute", 10): 2}
    drops |= {(kind, percent): 1 for kind in ("change", "random") for percent in (10, 30)}
    table = ablation_verdicts(drops_of(drops), 10)
    rows = list(table[["id", "score", "percents", "effect", "verdict"]].itertuples(index=False))
    assert rows == [
        ("C6", "magnitude", "10", 4, "reproduced"),
        ("C6", "absolute", "10", 1, "reproduced"),
    ]
