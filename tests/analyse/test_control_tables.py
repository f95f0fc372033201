"""What the controls say, by hand and on planted effects."""

import re

import numpy as np
import pandas as pd
import pytest

from rm_tension.analyse import stage as analyse
from rm_tension.analyse.bootstrap import DRAWN, ESTIMATE
from rm_tension.analyse.controls import claim_parts, effects, group_effects
from rm_tension.analyse.evidence import trio_evidence
from rm_tension.analyse.task_sets import KEYS
from rm_tension.analyse.verdicts import Evidence
from rm_tension.base.config import load_params
from rm_tension.base.grid import Trio
from rm_tension.evaluate.scores import SCORES, Score, magnitude_score
from rm_tension.report import stage as report
from rm_tension.report.controls import paragraph
from synthetic import write_profile


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


def test_top_neurons_must_do_more_than_a_control():
    decided = verdicts(
        {
            ("helpful", "magnitude", "hh"): -10,
            ("helpful", "depth-matched", "hh"): -4,
            ("helpful", "backbone", "hh"): -12,
            ("helpful", "mean-ablation", "hh"): -3,
        }
    )
    name = "helpful RM, HH-RLHF test"
    assert decided["C6", "depth-matched", name] == "reproduced"
    assert decided["C6", "backbone", name] == "not reproduced"
    assert decided["C6", "mean-ablation", name] == "reproduced"
    assert decided["C6", "backbone", "mixed RM, HH-RLHF test"] == "not applicable"


def test_own_tasks_are_to_suffer_more_and_the_others_to_gain_more_than_by_a_control():
    top = {"helpfulness": -8, "harmlessness": 5}
    for control, holds in (({"helpfulness": -1, "harmlessness": 0}, True), (top, False)):
        values = {}
        for kind, by_group in (("magnitude", top), ("backbone", control)):
            values |= {("helpful", kind, group): value for group, value in by_group.items()}
        decided = verdicts(values)
        for group in top:
            verdict = decided["C8", "backbone", f"helpful RM, {group} tasks"]
            assert (verdict == "reproduced") == holds


def test_shared_neurons_beside_controls():
    decided = verdicts(
        {
            ("mixed", "shared", "helpfulness"): -9,
            ("mixed", "magnitude", "helpfulness"): -10,
            ("mixed", "depth-matched", "helpfulness"): -2,
            ("mixed", "backbone", "helpfulness"): -9.5,
        }
    )
    shared, share = "shared set, helpfulness tasks", "control to top neurons, helpfulness tasks"
    assert decided["C10", "depth-matched", shared] == "reproduced"
    assert decided["C10", "backbone", shared] == "not reproduced"
    assert decided["C19", "depth-matched", share] == "reproduced"
    assert decided["C19", "backbone", share] == "not reproduced"


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
    found = group_effects(pd.DataFrame(rows, columns=columns), layout, weights)
    assert found.correlations["mixed", "up"].tolist() == pytest.approx([-1, 1, -1])
    assert found.drops["drop"].tolist() == pytest.approx([0.075, -0.5, -1.0])


def test_the_paragraph_says_what_the_verdicts_are():
    decided = [
        ("C6", "depth-matched", "holds"),
        ("C6", "depth-matched", "holds"),
        ("C6", "backbone", "holds"),
        ("C6", "backbone", "does not hold"),
        ("C8", "depth-matched", "holds"),
        ("C8", "backbone", "holds"),
        ("C10", "depth-matched", "open"),
        ("C10", "depth-matched", "holds"),
        ("C19", "backbone", "not measured"),
    ]
    text = paragraph(pd.DataFrame(decided, columns=["id", "control", "verdict"]))
    assert re.split(r"(?<=\.) ", text) == [
        "C6 (the top neurons by magnitude matter) holds beyond random neurons of the same depths; "
        "it does not hold beyond the backbone's own top neurons.",
        "C8 (they carry their objective) holds beyond random neurons of the same depths and beyond "
        "the backbone's own top neurons.",
        "C10 (the shared ones matter to the mixed RM) is open beyond random neurons of the same "
        "depths.",
        "C19 (these do as much as its whole top) was not measured beyond the backbone's own top "
        "neurons.",
    ]


@pytest.mark.slow
def test_a_score_is_one_function_that_settings_figures_and_tables_follow(tmp_path, monkeypatch):
    planted = Score("Planted score", lambda activations, _: -magnitude_score(activations))
    monkeypatch.setitem(SCORES, "planted", planted)
    monkeypatch.chdir(tmp_path)
    percents = {name: [10] for name in ("random", "change", "magnitude", "planted")}
    paths = write_profile(
        tmp_path,
        [Trio("gpt2-small", 0), Trio("gpt2-small", 247)],
        hh_percents=percents,
        task_percents={"magnitude": [10], "planted": [10]},
    )
    assert load_params().profiles["mini"].evaluate.hh_percents["planted"] == (10,)
    analyse.main(profile="mini")
    monkeypatch.setattr("rm_tension.report.stage.compile_pdf", lambda _: "")
    report.main(profile="mini")
    assert "planted" in pd.read_parquet(paths.results / "neurons.parquet")
    for number in ("S04", "S08", "S11", "S12"):
        text = (paths.reports / "tables" / f"table_{number}.tex").read_text()
        assert "planted score" in text.lower(), number
    assert ">Top by planted score<" in (paths.reports / "index.html").read_text()
    effects_of = pd.read_csv(paths.results / "score_effects.csv").set_index("score")
    assert (effects_of.loc["magnitude", "correlation"] > 0.9).all()
    assert effects_of.loc["contrast", "correlation"].abs().max() < 0.9
