"""Every claim in worlds made by hand: reproduced, not reproduced, not applicable."""

import pytest
from claim_worlds import FAILURES, NEEDS, PUBLISHED, Failure, world

from rm_tension.analyse.claims import CLAIMS, decide_all
from rm_tension.analyse.verdicts import Evidence, decide

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
    # 14.1 / 18.17 points; METHOD.md has 0.775, to 0.02 because both are read off a picture
    "C21": [0.776],
}


PAPER = Evidence(PUBLISHED)


def decided(claim, frame):
    """The verdict on the claim, and those on its parts by name."""
    verdict = decide(CLAIMS[claim], Evidence(frame), PAPER, required=False)
    return verdict.verdict, {part.part: part.verdict for part in verdict.parts}


def lacking(measure=None, parts=()):
    """A world without a measure, or without some of its parts."""
    keep = [
        column[0] != measure or (bool(parts) and column[3] not in parts)
        for column in world().columns
    ]
    return world().loc[:, keep]


def test_claims_have_the_papers_order_and_its_units():
    assert list(CLAIMS) == [f"C{number}" for number in range(1, 22)]
    assert {claim.unit for claim in CLAIMS.values()} == {"points", "fraction", "ratio"}


def test_a_world_as_claimed_reproduces_every_claim():
    claims = {claim.id: claim for claim in decide_all(world(), PUBLISHED, {"C1", "C10"})}
    assert {claim.verdict for claim in claims.values()} == {"reproduced"}
    assert [id_ for id_, claim in claims.items() if claim.required] == ["C1", "C10"]
    for id_ in PRINTED:
        assert claims[id_].effect == pytest.approx(claims[id_].published, abs=1e-5)
    assert "24 of 25 tasks have the claimed sign; not: chat." in claims["C2"].detail
    assert "By backbone, which decides nothing: gpt2-small -0.100 [-0.1" in claims["C7"].detail


def test_there_is_a_world_for_every_part():
    evidence = Evidence(world())
    parts = {(id_, part.name) for id_, claim in CLAIMS.items() for part in claim.parts(evidence)}
    assert {(failure.claim, failure.part) for failure in FAILURES} == parts
    assert sorted(claim for claims in NEEDS.values() for claim in claims) == sorted(CLAIMS)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda one: f"{one.claim} {one.part}")
def test_where_one_part_fails_the_claim_is_not_reproduced(failure):
    verdict, parts = decided(failure.claim, failure(world()))
    assert verdict == "not reproduced"
    assert parts.pop(failure.part) == "not reproduced"
    assert set(parts.values()) <= {"reproduced"}


@pytest.mark.parametrize("measure", NEEDS)
def test_without_what_a_claim_is_about_it_is_not_applicable(measure):
    verdicts = {decided(claim, lacking(measure))[0] for claim in NEEDS[measure]}
    assert verdicts == {"not applicable"}


def test_some_tasks_may_be_missing():
    without = world().loc[:, [column[3] != "math" for column in world().columns]]
    assert {decided(claim, without)[0] for claim in CLAIMS} == {"reproduced"}


def test_c15_needs_gpt2_large_and_another_backbone():
    for missing in (["gpt2-large"], ["gpt2-small", "smollm2-135m"]):
        assert decided("C15", lacking("hh_delta", missing))[0] == "not applicable"


@pytest.mark.parametrize(
    ("claim", "measure", "of", "kinds", "to", "verdict"),
    [
        ("C16", "delta", "helpful", "magnitude", "1e-14", "not reproduced"),  # no change at all
        ("C19", "delta", "mixed", "magnitude shared", "3", "not applicable"),  # no damage
        ("C21", "hh_delta", "*", "magnitude", "3", "not applicable"),
    ],
)
def test_rounding_is_no_change_and_a_gain_no_damage(claim, measure, of, kinds, to, verdict):
    changed = Failure(claim, "", measure, of, kinds, "*", "*", "", to)(world(noise=0.0))
    assert decided(claim, changed)[0] == verdict


@pytest.mark.parametrize(("at_30", "verdict"), [(-29, "reproduced"), (-31, "not reproduced")])
def test_c21_asks_for_two_thirds_of_the_drop(at_30, verdict):
    """Of 20 of 29 or 31 points the slope from 10 to 30% is 9/20 or 11/20 points a percent."""
    frame = world()
    for percent, to in (("10", "-20"), ("30", str(at_30))):
        drop = Failure("C21", "", "hh_delta", "", "magnitude", "", percent, "", to)
        frame = drop(frame)
    assert decided("C21", frame)[0] == verdict


def test_published_values_are_those_of_the_method_and_decide_by_the_same_predicates():
    for claim in decide_all(world(), PUBLISHED, ()):
        values = [part.published for part in claim.parts]
        printed = PRINTED.get(claim.id, [None] * len(values))
        assert claim.published_verdict == ("holds" if claim.id in PRINTED else None)
        for value, number in zip(values, printed, strict=True):
            if number is None:
                assert value is None
            else:
                digits = len(str(number).partition(".")[2])
                assert value == pytest.approx(number, abs=0.5 * 10**-digits)


def test_one_published_part_that_fails_decides():
    """Though the other of C9's two numbers is not known."""
    paper = PUBLISHED.drop(columns="neuron_retention", level=0)
    paper["jaccard", "harmless-helpful", "", "", 0] = 0.7
    claim = decide(CLAIMS["C9"], Evidence(world()), Evidence(paper), required=False)
    assert claim.published_verdict == "does not hold"
    assert [part.published_verdict for part in claim.parts] == ["does not hold", None]
