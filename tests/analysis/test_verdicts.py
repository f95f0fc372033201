"""From the resamples of a part to its verdict, and from the parts to the claim's."""

import numpy as np
import pandas as pd
import pytest

from rm_tension.analysis.verdicts import Claim, Evidence, Part, decide


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
