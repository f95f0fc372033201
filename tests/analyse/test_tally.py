"""Counts of parts of claims, by hand."""

import pytest

from rm_tension.analyse.tally import Tally, summarise, tally
from rm_tension.analyse.verdicts import DecidedClaim, DecidedPart


def claim(verdict, *of_parts):
    number = {"effect": 1.0, "interval": (0.5, 1.5), "published": None, "published_verdict": None}
    wider = {"interval_over_backbones": (0.4, 1.6)}
    parts = [
        DecidedPart(part=str(place), verdict=one, **number, **wider)
        for place, one in enumerate(of_parts)
    ]
    texts = {
        "id": "C1",
        "claim": "",
        "predicate": "",
        "unit": "points",
        "decides": "0",
        "detail": "",
    }
    return DecidedClaim(**texts, **number, verdict=verdict, required=False, parts=parts)


GOOD = claim("reproduced", "reproduced", "reproduced", "reproduced")
BAD = claim("not reproduced", "reproduced", "not reproduced", "undecided")
UNKNOWN = claim("not applicable", "not applicable", "undecided", "not applicable", "reproduced")


def test_a_part_holds_is_contradicted_or_is_open_and_of_these_some_have_no_number():
    assert tally([GOOD, BAD, UNKNOWN]) == Tally(hold=5, contradicted=1, open=4, unknown=2)
    assert tally([GOOD, BAD, UNKNOWN]).parts == 10
    assert tally([]) == Tally(0, 0, 0, 0)


@pytest.mark.parametrize(
    ("claims", "sentences"),
    [
        (
            [GOOD, GOOD, BAD, UNKNOWN],
            "Of 4 claims: 2 reproduced, 1 not reproduced, 0 undecided, 1 not applicable. Of their 13 parts, 8 hold, 1 "
            "are contradicted, 4 are open (2 of them without a number or without an interval).",
        ),
        (
            [GOOD],
            "Of 1 claims: 1 reproduced, 0 not reproduced, 0 undecided, 0 not applicable. Of their 3 parts, 3 hold, 0 "
            "are contradicted, 0 are open.",
        ),
    ],
)
def test_the_summary_has_every_verdict_and_all_parts(claims, sentences):
    assert summarise(claims) == sentences
