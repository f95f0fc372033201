"""From the resamples of a part to its verdict, and from the parts to the claim's."""

import numpy as np
import pandas as pd
import pytest

from rm_tension.analyse.verdicts import Claim, Evidence, Part, decide


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
        (part(np.nan, 1, 3, low=0), "not applicable"),
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
    assert claim(better, good).effect == 2
    assert (claim(better, good).decides, claim(good, better).decides) == ("p1", "p0")
    assert "p1" in claim(better, good).detail
    assert claim(good, open_).decides == "p1"
    assert claim(good, open_).verdict == "undecided"
    assert claim(open_, unknown).verdict == "not applicable"
    assert claim(open_, bad, unknown).verdict == "not reproduced"
    assert claim(unknown, good).interval == (None, None)


def test_without_an_estimate_there_is_no_interval():
    assert np.isnan(part(np.nan, 1, 3).interval).all()


def published(*values):
    """The verdict by the paper's own numbers, of parts that are to be above 0."""
    paper, ours = (Evidence(pd.DataFrame({(name, "", "", "", 0): [1.0]})) for name in ("paper", "ours"))

    def parts(evidence):
        known = values if evidence is paper else [1.0] * len(values)
        return [Part(str(place), pd.Series([value]), low=0) for place, value in enumerate(known) if value is not None]

    found = decide(Claim("C1", "", "", "points", parts), ours, paper, required=False)
    return found.published_verdict, [one.published_verdict for one in found.parts]


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((1.0, 2.0), "holds"),
        ((1.0, 0.0), "does not hold"),
        ((-1.0, np.nan), "does not hold"),
        ((1.0, np.nan), None),
        ((1.0, None), None),  # a part that the published evidence does not even name
    ],
)
def test_published_numbers_decide_if_all_are_known_or_one_fails(values, verdict):
    assert published(*values)[0] == verdict


def test_published_numbers_decide_each_part():
    assert published(1.0, -1.0, np.nan)[1] == ["holds", "does not hold", None]
