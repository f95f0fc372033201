"""Where the parts of a claim stand on their axes."""

import pytest

from rm_tension.analyse.verdicts import DecidedPart
from rm_tension.report.page import dots


def part(effect, interval, published, low=None, high=None):
    return DecidedPart(
        "part", effect, interval, (None, None), published, None, "undecided", low=low, high=high
    )


def test_numbers_stand_in_their_order_and_all_on_the_axis():
    """The published value is the largest, the lower end of the interval the least."""
    shown = dots(part(-4.0, (-8.0, -1.0), 3.0, -3.0, 0.0), "points")
    (start, end), (low, high) = shown.interval, shown.bounds
    numbers = {
        -8.0: start,
        -4.0: shown.effect,
        -1.0: end,
        3.0: shown.published,
        -3.0: low,
        0.0: high,
    }
    places = [numbers[number] for number in sorted(numbers)]
    assert places == sorted(set(places))
    assert 0 < places[0] < places[-1] < 100
    # equal steps are equal stretches
    assert shown.effect - start == pytest.approx(4 / 11 * (shown.published - start), abs=0.1)


def test_where_a_part_holds_is_shaded():
    above, below = (
        dots(part(1.0, (0.5, 2.0), None, **bound), "") for bound in ({"low": 0.0}, {"high": 0.0})
    )
    assert above.holds == (above.bounds[0], 100.0)
    assert below.holds == (0.0, below.bounds[0])
    assert dots(part(1.0, (0.5, 2.0), None), "").holds is None
    inside = dots(part(0.5, (0.1, 2.0), None, low=0.0, high=1.0), "")
    assert inside.holds[0] < inside.interval[0] < inside.holds[1] < inside.interval[1]


def test_what_is_not_known_is_not_drawn_but_said():
    shown = dots(part(None, (None, None), None, low=1 / 3), "points")
    assert (shown.effect, shown.interval, shown.published) == (None, None, None)
    assert shown.text == (
        "ours not known points, interval not known, published not known, holds above 0.333"
    )
