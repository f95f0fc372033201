"""Ablation by either score: group averages and verdicts, worked by hand."""

import pandas as pd
import pytest

from rm_tension.analyse.bootstrap import DRAWN, ESTIMATE
from rm_tension.analyse.robustness import ablation_table, ablation_verdicts
from rm_tension.analyse.task_sets import KEYS

ROWS = pd.MultiIndex.from_tuples([(ESTIMATE, "", 0), (DRAWN, "", 1), (DRAWN, "", 2)])


def change(kind, percent, task, delta):
    return {
        "objective": "mixed",
        "backbone": "b",
        "seed": 0,
        "kind": kind,
        "percent": percent,
        "task": task,
        "delta": delta,
    }


def test_group_averages_of_what_either_score_silences():
    rows = [
        change("magnitude", 10, "chat", -4.0),
        change("magnitude", 10, "focus", -2.0),
        change("magnitude", 20, "chat", -9.0),
        change("absolute", 10, "chat", -1.0),
        change("absolute", 10, "safety", 5.0),
        change("shared", 10, "chat", -7.0),
    ]
    table = ablation_table(pd.DataFrame(rows)).set_index(["score", "percent", "group"])["delta"]
    assert table.to_dict() == {
        ("signed", 10, "helpfulness"): -3.0,
        ("signed", 20, "helpfulness"): -9.0,
        ("absolute", 10, "helpfulness"): -1.0,
        ("absolute", 10, "harmlessness"): 5.0,
    }


def evidence(kind, own, other):
    """Three resamples in which every RM loses `own` on its own tasks and gains `other` on the other ones."""
    columns = {}
    for group, single in (("helpfulness", "helpful"), ("harmlessness", "harmless")):
        for task_group, value in (
            (group, own),
            ("harmlessness" if group == "helpfulness" else "helpfulness", other),
        ):
            columns |= {("delta", single, kind, task, 0): value for task in KEYS[task_group]}
    return pd.DataFrame(
        {column: [value, value - 0.1, value + 0.1] for column, value in columns.items()}, index=ROWS
    )


@pytest.mark.parametrize(
    ("own", "other", "verdict"), [(-5, 2, "reproduced"), (5, 2, "not reproduced")]
)
def test_c8_is_decided_for_each_score_on_its_own(own, other, verdict):
    table = ablation_verdicts(evidence("absolute", own, other), 10).set_index(["id", "score"])[
        "verdict"
    ]
    assert table.to_dict() == {("C8", "absolute"): verdict}  # nothing else was measured


def test_a_profile_that_ablates_by_the_signed_score_alone_has_its_rows_alone():
    drops = {
        (kind, percent): 1 + (kind == "magnitude")
        for kind in ("magnitude", "random")
        for percent in (10, 30)
    }
    columns = {
        ("hh_delta", objective, *key): values
        for objective, key, values in _drops(drops | {("change", 30): 1})
    }
    frame = evidence("magnitude", -5, 2).join(pd.DataFrame(columns, index=ROWS))
    table = ablation_verdicts(frame, 10)
    assert list(zip(table["id"], table["score"], table["percents"], strict=True)) == [
        ("C6", "signed", "30"),
        ("C8", "signed", "10"),
    ]
    assert not table.isna().any(axis=None)


def test_without_the_scores_that_c6_is_held_against_it_has_no_row():
    columns = {
        ("hh_delta", objective, *key): values
        for objective, key, values in _drops({("magnitude", 10): 5})
    }
    assert ablation_verdicts(pd.DataFrame(columns, index=ROWS), 10).empty


def _drops(drops):
    """Three resamples of drops by kind and percent, of each objective and of their mean."""
    for objective in ("helpful", "harmless", "mixed", ""):
        for (kind, percent), drop in drops.items():
            yield objective, (kind, "", percent), [-drop, -drop - 0.1, -drop + 0.1]


def test_c6_is_decided_at_the_percents_that_both_scores_have():
    drops = {("magnitude", 10): 5, ("magnitude", 30): -50, ("absolute", 10): 2} | {
        (kind, percent): 1 for kind in ("change", "random") for percent in (10, 30)
    }
    columns = {("hh_delta", objective, *key): values for objective, key, values in _drops(drops)}
    table = (
        ablation_verdicts(pd.DataFrame(columns, index=ROWS), 10)
        .set_index(["id", "score"])
        .loc["C6"]
    )
    assert table["percents"].tolist() == ["10", "10"]
    assert table["verdict"].tolist() == ["reproduced", "reproduced"]
    assert table["effect"].to_dict() == {"signed": 4, "absolute": 1}
