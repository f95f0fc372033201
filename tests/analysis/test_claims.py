from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rm_tension.analysis.claims import ANSWERING, CLAIMS, decide_all
from rm_tension.analysis.evidence import published_evidence
from rm_tension.analysis.verdicts import Claim, Evidence, Part, decide

REFERENCE = {path.stem: pd.read_csv(path) for path in (Path(__file__).parents[2] / "reference").glob("*.csv")}
OBJECTIVES = ("helpful", "harmless", "mixed")
BACKBONES = ("pooled", "gpt2-small", "smollm2-135m")
# What the paper claims, where its tables give no numbers; keys as far as they go.
CLAIMED = (
    {(f"log_{measure}", o, "retained", ""): -0.2 for measure in ("mean_abs", "std") for o in OBJECTIVES[:2]}
    | {("log_std", o, "ablation", ""): -0.3 for o in OBJECTIVES[:2]}
    | {("rmsd", o, "", ""): 0.01 for o in OBJECTIVES}
    | {("hh_delta", o, kind, ""): drop for o in OBJECTIVES for kind, drop in (("random", 0), ("change", -3))}
    | {("hh_delta", o, "magnitude", ""): -8 for o in OBJECTIVES}
    | {("late_excess", o, "", "pooled"): 0.2 for o in OBJECTIVES}
    | {("late_excess", "", "", backbone): 0.1 for backbone in BACKBONES[1:]}
)


def world(noise=0.001, rows=201):
    """The paper's numbers as if they were ours, with a little noise in every resample."""
    values = pd.concat([published_evidence(REFERENCE), pd.DataFrame(CLAIMED, index=[0])], axis=1)
    frame = pd.DataFrame(np.repeat(values.to_numpy(dtype=float), rows, axis=0), columns=values.columns)
    frame.iloc[1:] += np.random.default_rng(0).normal(0, noise, (rows - 1, frame.shape[1]))
    return frame


def verdicts(frame, required=()):
    return {claim["id"]: claim for claim in decide_all(frame, published_evidence(REFERENCE), required)}


def shifted(frame, measure, by, objective=None, condition=None, parts=None):
    frame = frame.copy()
    for column in frame:
        same = [
            column[0] == measure,
            objective in (None, column[1]),
            condition in (None, column[2]),
            parts is None or column[3] in parts,
        ]
        if all(same):
            frame[column] += by
    return frame


def test_a_world_as_published_reproduces_every_claim():
    found = verdicts(world(), required={"C1", "C10"})
    assert list(found) == [f"C{number}" for number in range(1, 12)]
    assert {id_: claim["verdict"] for id_, claim in found.items()} == dict.fromkeys(found, "reproduced")
    assert [id_ for id_, claim in found.items() if claim["required"]] == ["C1", "C10"]
    for id_ in ("C1", "C2", "C3", "C8", "C9", "C10"):
        assert found[id_]["effect"] == pytest.approx(found[id_]["published"], abs=1e-5)
    for id_ in ("C4", "C5", "C6", "C7", "C11"):
        assert found[id_]["published"] is None


@pytest.mark.parametrize(
    ("claim", "change"),
    [
        ("C1", {"measure": "accuracy", "objective": "mixed", "by": 20}),
        ("C1", {"measure": "accuracy", "objective": "helpful", "by": -5}),
        ("C2", {"measure": "accuracy", "objective": "helpful", "by": -90, "parts": ANSWERING}),
        ("C2", {"measure": "accuracy", "objective": "harmless", "by": -90}),
        ("C3", {"measure": "retention", "by": 0.9, "parts": ["focus", "factuality", "llmbar-adver-manual"]}),
        ("C4", {"measure": "log_std", "objective": "harmless", "by": 0.4}),
        ("C4", {"measure": "log_mean_abs", "objective": "helpful", "by": 0.4}),
        ("C5", {"measure": "rmsd", "objective": "mixed", "by": 0.1}),
        ("C6", {"measure": "hh_delta", "objective": "helpful", "condition": "magnitude", "by": 6}),
        ("C6", {"measure": "hh_delta", "condition": "random", "by": -4}),
        ("C7", {"measure": "late_excess", "parts": ["gpt2-small"], "by": -0.15}),
        ("C7", {"measure": "late_excess", "parts": ["pooled"], "by": -0.3}),
        ("C8", {"measure": "delta", "condition": "magnitude", "objective": "harmless", "by": 20}),
        ("C8", {"measure": "delta", "condition": "magnitude", "objective": "helpful", "by": -20}),
        ("C9", {"measure": "jaccard", "by": 0.4}),
        ("C9", {"measure": "neuron_retention", "by": -0.4}),
        ("C10", {"measure": "delta", "condition": "shared", "by": 12}),
        ("C11", {"measure": "log_std", "condition": "ablation", "by": 0.5}),
    ],
)
def test_a_world_in_which_a_part_fails_does_not_reproduce_the_claim(claim, change):
    measure, by = change.pop("measure"), change.pop("by")
    assert verdicts(shifted(world(), measure, by, **change))[claim]["verdict"] == "not reproduced"


def test_noise_leaves_claims_undecided():
    found = {id_: claim["verdict"] for id_, claim in verdicts(world(noise=60)).items()}
    assert set(found.values()) == {"undecided"}


def test_what_is_missing_is_not_applicable_but_tasks_may_be():
    frame = world()
    without = frame[[column for column in frame if column[0] not in {"rmsd", "jaccard"} and column[3] != "math"]]
    found = {id_: claim["verdict"] for id_, claim in verdicts(without).items()}
    assert [id_ for id_, verdict in found.items() if verdict != "reproduced"] == ["C5", "C9"]
    assert {found["C5"], found["C9"]} == {"not applicable"}


def test_c2_counts_the_tasks_with_the_claimed_sign():
    detail = verdicts(world())["C2"]["detail"]
    assert "22 of 25 tasks have the claimed sign; not: chat, factuality, precise-if." in detail


def part(estimate, first, last, **bounds):
    return Part("p", pd.Series([estimate, *np.linspace(first, last, 1001)]), **bounds)


@pytest.mark.parametrize(
    ("tested", "verdict"),
    [
        (part(2, 1, 3, low=0), "reproduced"),
        (part(2, -1, 3, low=0), "undecided"),
        (part(-2, -3, -1, low=0), "not reproduced"),
        (part(2, 1, 3, high=0), "not reproduced"),
        (part(0.5, 0.4, 0.6, low=1 / 3, high=2 / 3), "reproduced"),
        (part(0.7, 0.6, 0.8, low=1 / 3, high=2 / 3), "undecided"),
        (part(0.8, 0.7, 0.9, low=1 / 3, high=2 / 3), "not reproduced"),
        (part(2, np.nan, np.nan, low=0), "not applicable"),
        (part(np.nan, np.nan, np.nan, low=0), "not applicable"),
    ],
)
def test_a_verdict_follows_from_interval_and_bounds(tested, verdict):
    assert tested.verdict == verdict


def test_the_worst_part_decides_and_of_equals_the_one_least_inside():
    def claim(*parts):
        named = [Part(f"p{place}", one.values, one.low, one.high) for place, one in enumerate(parts)]
        return decide(Claim("C1", "", "", "points", lambda _: named), *[Evidence(pd.DataFrame())] * 2, False)

    good, better, open_ = part(2, 1, 3, low=0), part(5, 4, 6, low=0), part(1, -1, 2, low=0)
    bad, unknown = part(-2, -3, -1, low=0), part(2, np.nan, np.nan, low=0)
    assert claim(better, good)["effect"] == 2
    assert "p1" in claim(better, good)["detail"]
    assert claim(good, open_)["verdict"] == "undecided"
    assert claim(open_, unknown)["verdict"] == "not applicable"
    assert claim(open_, bad, unknown)["verdict"] == "not reproduced"
    assert claim(unknown, good)["interval"] == [None, None]


def test_every_claim_says_its_predicate_and_unit():
    assert all(claim.predicate.endswith(".") and claim.claim.endswith(".") for claim in CLAIMS)
    assert {claim.unit for claim in CLAIMS} == {"points", "fraction", "ratio"}
