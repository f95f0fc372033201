"""Every claim in worlds made by hand: reproduced, not reproduced, undecided, not applicable; and as published."""

from functools import reduce

import pytest
from claim_worlds import FAILURES, NEEDS, PUBLISHED, Shift, world

from rm_tension.analyse.claims import CLAIMS, decide_all
from rm_tension.analyse.verdicts import Evidence, decide

BY_ID = {claim.id: claim for claim in CLAIMS}
THEIRS = Evidence(PUBLISHED)
each_part = pytest.mark.parametrize(
    ("claim", "part", "shifts"), FAILURES, ids=lambda value: value if isinstance(value, str) else ""
)
# METHOD.md section 7: the published values, in the order of the parts. Rounded as there.
PRINTED = {
    "C1": [-10.2, -0.94],
    "C2": [31.1, 81.4, 82.9, 26.4],
    "C3": [0.588, 0.440],
    "C8": [-12.9, 5.45, 1.06, -7.3],
    "C9": [0.477, 0.549],
    "C10": [-10.0, -4.4, -8.8, -10.0, -3.6, -3.6],
    "C12": [-48.5, 39.3, 39.0],
    "C13": [0.625, 0.567],
    "C14": [0.566, 0.291],
    "C16": [23 / 25],
    "C17": [25.8, -20.5, 9.0, -9.0],
    "C18": [-13.2, -5.9, 9.7, 5.8],
    "C19": [0.76, 0.75],
    "C21": [
        0.776
    ],  # 14.1 / 18.17 points; METHOD.md has 0.775, to 0.02 because both are read off a picture
}
HOLD = {"C1", "C2", "C3", "C8", "C9", "C10", "C12", "C13", "C14", "C16", "C17", "C18", "C19", "C21"}


def decided(claim, frame):
    """The verdict on the claim, and those on its parts by name."""
    found = decide(BY_ID[claim], Evidence(frame), THEIRS, required=False)
    return found.verdict, {part.part: part.verdict for part in found.parts}


def failing(shifts):
    return reduce(lambda frame, shift: shift(frame), shifts, world())


def test_claims_have_the_papers_order_and_say_predicate_and_unit():
    assert list(BY_ID) == [f"C{number}" for number in range(1, 22)]
    assert all(claim.predicate.endswith(".") and claim.claim.endswith(".") for claim in CLAIMS)
    assert {claim.unit for claim in CLAIMS} == {"points", "fraction", "ratio"}


def test_a_world_as_claimed_reproduces_every_claim():
    found = {claim.id: claim for claim in decide_all(world(), PUBLISHED, {"C1", "C10"})}
    assert {id_: claim.verdict for id_, claim in found.items()} == dict.fromkeys(
        BY_ID, "reproduced"
    )
    assert [id_ for id_, claim in found.items() if claim.required] == ["C1", "C10"]
    for id_ in HOLD:
        assert found[id_].effect == pytest.approx(found[id_].published, abs=1e-5)


def test_there_is_a_world_for_every_part():
    parts = {(claim.id, part.name) for claim in CLAIMS for part in claim.parts(Evidence(world()))}
    assert {(claim, part) for claim, part, _ in FAILURES} == parts
    assert sorted(claim for claims in NEEDS.values() for claim in claims) == sorted(BY_ID)


@each_part
def test_where_one_part_fails_the_claim_is_not_reproduced(claim, part, shifts):
    verdict, parts = decided(claim, failing(shifts))
    assert verdict == "not reproduced"
    assert {name for name, one in parts.items() if one == "not reproduced"} == {part}
    assert {one for name, one in parts.items() if name != part} <= {"reproduced"}


@each_part
def test_where_one_part_fails_in_every_tenth_draw_the_claim_is_undecided(claim, part, shifts):
    frame = world().copy()
    frame.iloc[10::10] = failing(shifts).iloc[10::10]
    verdict, parts = decided(claim, frame)
    assert verdict == "undecided"
    assert {name for name, one in parts.items() if one == "undecided"} == {part}


@pytest.mark.parametrize(
    ("claim", "measure"), [(claim, measure) for measure in NEEDS for claim in NEEDS[measure]]
)
def test_without_what_a_claim_is_about_it_is_not_applicable(claim, measure):
    without = world().loc[:, [column[0] != measure for column in world().columns]]
    assert decided(claim, without)[0] == "not applicable"


def test_some_tasks_may_be_missing():
    without = world().loc[:, [column[3] != "math" for column in world().columns]]
    assert {decided(claim, without)[0] for claim in BY_ID} == {"reproduced"}


def test_c2_counts_the_tasks_with_the_claimed_sign():
    (found,) = (claim for claim in decide_all(world(), PUBLISHED, ()) if claim.id == "C2")
    assert "24 of 25 tasks have the claimed sign; not: chat." in found.detail


def test_c7_shows_backbones_that_decide_nothing():
    (found,) = (claim for claim in decide_all(world(), PUBLISHED, ()) if claim.id == "C7")
    assert "By backbone, which decides nothing: gpt2-small -0.100 [-0.1" in found.detail
    assert found.verdict == "reproduced"


def test_c15_needs_gpt2_large_and_another_backbone():
    for missing in (("gpt2-large",), ("gpt2-small", "smollm2-135m")):
        kept = [column[0] != "hh_delta" or column[3] not in missing for column in world().columns]
        assert decided("C15", world().loc[:, kept])[0] == "not applicable"


@pytest.mark.parametrize(("at_30", "verdict"), [(-29, "reproduced"), (-31, "not reproduced")])
def test_c21_asks_for_two_thirds_of_the_drop(at_30, verdict):
    """20 of 29 or 31 points: from 10 to 30% the slope is 9/20 or 11/20 points a percent, up to 10% it is 2."""
    drops = [
        Shift("hh_delta", "", ("magnitude",), ("",), percent, to=to)
        for percent, to in ((10, -20), (30, at_30))
    ]
    assert decided("C21", failing(drops))[0] == verdict


def test_published_values_are_those_of_the_method_and_decide_by_the_same_predicates():
    found = {claim.id: claim for claim in decide_all(world(), PUBLISHED, ())}
    for id_, claim in found.items():
        values = [part.published for part in claim.parts]
        for value, printed in zip(values, PRINTED.get(id_, [None] * len(values)), strict=True):
            if printed is None:
                assert value is None
            else:
                digits = len(str(printed).partition(".")[2])
                assert value == pytest.approx(printed, abs=0.5 * 10**-digits)
    own = {id_: claim.published_verdict for id_, claim in found.items()}
    assert own == {**dict.fromkeys(BY_ID), **dict.fromkeys(HOLD, "holds")}


def test_one_published_part_that_fails_decides():
    """Though the other of C9's two numbers is not known."""
    theirs = PUBLISHED.drop(columns="neuron_retention", level=0)
    theirs["jaccard", "helpful-harmless", "", "", 0] = 0.7
    found = decide(BY_ID["C9"], Evidence(world()), Evidence(theirs), required=False)
    assert found.published_verdict == "does not hold"
    assert [part.published_verdict for part in found.parts] == ["does not hold", None]
