"""From the resamples of a part to its verdict, and from the parts to the claim's."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import stdtrit

from rm_tension.analyse.bootstrap import DRAWN, ESTIMATE, LEFT_OUT
from rm_tension.analyse.tally import Tally, summarise, tally
from rm_tension.analyse.verdicts import (
    Claim,
    DecidedClaim,
    DecidedPart,
    Evidence,
    Part,
    decide,
)


def part(estimate, first, last, left_out=(), drawn=1001, **bounds):
    """A number whose draws lie evenly between two values; `left_out` has it without each seed, by backbone."""
    rows = {(ESTIMATE, "", 0): estimate}
    rows |= {(DRAWN, "", i): value for i, value in enumerate(np.linspace(first, last, drawn))}
    rows |= {
        (LEFT_OUT, backbone, i): value
        for backbone, own in dict(left_out).items()
        for i, value in enumerate(own)
    }
    return Part("p", pd.Series(rows), **bounds)


def made_of(parts):
    return Claim("C1", "", "", "", "points", parts)


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
        # a verdict against the effect: as C9 was, whose Jaccard index of 0.668 had draws from 0.60
        # to 0.66
        (part(0.668, 0.60, 0.66, low=1 / 3, high=2 / 3), "undecided"),
        (part(0.5, 0.7, 0.9, low=1 / 3, high=2 / 3), "undecided"),
        # on a bound, but for the rounding of sums
        (part(1, 4e-16, 4e-16, low=0), "undecided"),
        (part(-1, -4e-16, -4e-16, low=0), "undecided"),
        (part(4e-16, 4e-16, 4e-16, low=0), "undecided"),
        (part(2, np.nan, np.nan, low=0), "not applicable"),
        (part(np.nan, np.nan, np.nan, low=0), "not applicable"),
        (part(np.nan, 1, 3, low=0), "not applicable"),
    ],
)
def test_a_verdict_follows_from_interval_and_bounds(tested, verdict):
    assert tested.verdict == verdict


def test_the_worst_part_decides_and_of_equals_the_one_least_inside():
    def claim(*parts):
        named = [replace(part, name=f"p{place}") for place, part in enumerate(parts)]
        return decide(made_of(lambda _: named), *[Evidence(pd.DataFrame())] * 2, False)

    good, better, open_ = part(2, 1, 3, low=0), part(5, 4, 6, low=0), part(1, -1, 2, low=0)
    bad, unknown = part(-2, -3, -1, low=0), part(2, np.nan, np.nan, low=0)
    assert claim(better, good).effect == 2
    assert (claim(better, good).decides, claim(good, better).decides) == ("p1", "p0")
    assert "p1" in claim(better, good).detail
    assert claim(good, open_).decides == "p1"
    assert claim(good, open_).verdict == "undecided"
    assert claim(open_, unknown).verdict == "not applicable"
    assert claim(open_, bad, unknown).verdict == "not reproduced"
    assert claim(unknown, good).interval == (None, None)


def test_an_interval_of_sets_is_moved_by_what_resampling_takes_from_them():
    """The draws' median lies 0.04 below the effect, and so the interval goes up by as much."""
    biased = {"estimate": 0.668, "first": 0.60, "last": 0.656}
    assert part(**biased).interval == pytest.approx((0.6014, 0.6546), abs=1e-4)
    assert part(**biased, of_sets=True).interval == pytest.approx((0.6414, 0.6946), abs=1e-4)


def test_few_seeds_widen_an_interval_as_student_says():
    """Draws that vary by seeds alone have the degrees of freedom of these; t is 4.303, 2.776 and 2.571 by tables."""
    draws = {"estimate": 0.0, "first": -1.0, "last": 1.0, "drawn": 100001}
    plain = part(**draws).interval[1]
    # seeds -d, 0, d of a backbone: without each the mean is d/2, 0, -d/2, so that the jackknife's
    # variance is d²/3
    size = np.sqrt(3) * plain / 1.959964
    one = {"a": np.array([0.5, 0, -0.5]) * size}
    assert part(**draws, left_out=one).interval[1] / plain == pytest.approx(4.303 / 1.960, rel=1e-3)
    two = {backbone: np.array([0.5, 0, -0.5]) * size for backbone in "ab"}
    assert part(**draws, left_out=two).interval[1] / plain == pytest.approx(
        stdtrit(4, 0.975) / 1.960, rel=1e-3
    )
    little = {"a": np.array([0.5, 0, -0.5]) * size / 100}
    assert part(**draws, left_out=little).interval[1] == pytest.approx(plain, rel=1e-4)


def test_an_interval_of_a_ratio_is_that_of_its_logarithm():
    """Widened by Student's t it would reach below 0; a fraction's stays within what there is."""
    seeds = {"a": np.array([0.5, 0, -0.5]) * np.sqrt(3) / 1.959964}
    logarithms = part(0.0, -1.0, 1.0, seeds, drawn=100001)
    low, high = logarithms.interval
    ratio = replace(logarithms, scale=np.exp)
    assert (ratio.effect, *ratio.interval) == pytest.approx((1, np.exp(low), np.exp(high)))
    assert replace(logarithms, within=(-0.5, 1)).interval == (-0.5, 1)


@pytest.mark.parametrize(
    ("tested", "why"),
    [
        (part(np.inf, 1, 3), "There is no such number."),
        (part(2, np.nan, np.nan), "A single value says nothing of its spread."),
        (part(2, -np.inf, np.inf, drawn=2), "Too many draws have nothing to divide by."),
    ],
)
def test_what_has_no_verdict_says_why(tested, why, recwarn):
    decided = decide(made_of(lambda _: [tested]), *[Evidence(pd.DataFrame())] * 2, False)
    assert (decided.verdict, decided.interval) == ("not applicable", (None, None))
    assert decided.detail.endswith(f": p. {why}")
    assert not recwarn.list


def test_without_an_estimate_there_is_no_interval():
    assert np.isnan(part(np.nan, 1, 3).interval).all()


@pytest.mark.parametrize(
    ("values", "verdict", "of_parts"),
    [
        ((1.0, 2.0), "holds", ["holds", "holds"]),
        ((1.0, 0.0), "does not hold", ["holds", "does not hold"]),
        ((-1.0, np.nan), "does not hold", ["does not hold", None]),
        ((1.0, np.nan), None, ["holds", None]),
        ((1.0,), None, ["holds", None]),  # a part that the published evidence does not even name
    ],
)
def test_published_numbers_decide_if_all_are_known_or_one_fails(values, verdict, of_parts):
    """Of parts that are to be above 0."""
    paper, ours = Evidence(pd.DataFrame()), Evidence(pd.DataFrame())

    def parts(evidence):
        numbers = values if evidence is paper else (1.0, 1.0)
        return [Part(str(n), pd.Series([number]), low=0) for n, number in enumerate(numbers)]

    found = decide(made_of(parts), ours, paper, required=False)
    assert found.published_verdict == verdict
    assert [part.published_verdict for part in found.parts] == of_parts


def decided(verdict, *of_parts):
    number = {"effect": 1.0, "interval": (0.5, 1.5), "published": None, "published_verdict": None}
    wider = {"interval_over_backbones": (0.4, 1.6)}
    parts = [DecidedPart(part="", verdict=one, **number, **wider) for one in of_parts]
    texts = dict.fromkeys(("id", "claim", "predicate", "unit", "decides", "detail"), "")
    return DecidedClaim(**texts, **number, verdict=verdict, required=False, parts=parts)


GOOD = decided("reproduced", "reproduced", "reproduced", "reproduced")
BAD = decided("not reproduced", "reproduced", "not reproduced", "undecided")
UNKNOWN = decided("not applicable", "not applicable", "undecided", "not applicable", "reproduced")


def test_a_part_holds_is_contradicted_or_is_open_and_of_these_some_have_no_number():
    assert tally([GOOD, BAD, UNKNOWN]) == Tally(hold=5, contradicted=1, open=4, unknown=2)
    assert tally([GOOD, BAD, UNKNOWN]).parts == 10


def test_the_summary_has_every_verdict_and_all_parts():
    assert summarise([GOOD, GOOD, BAD, UNKNOWN]) == (
        "Of 4 claims: 2 reproduced, 1 not reproduced, 0 undecided, 1 not applicable. Of their 13 "
        "parts, 8 hold, 1 are contradicted, 4 are open (2 of them without a number or without an "
        "interval)."
    )
    assert summarise([GOOD]).endswith("Of their 3 parts, 3 hold, 0 are contradicted, 0 are open.")
