"""What a log says of a long loop."""

import re

from rm_tension.base.progress import Progress, duration


def test_a_log_has_step_numbers_speed_and_the_time_left(capsys):
    with Progress("cell", total=8, done=2, every=0) as bar:
        bar.advance(tokens=100, loss=0.6931)
        bar.advance(2, tokens=200, loss=0.5)
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"cell: step 3 of 8, loss 0\.693, [\d,]+ tokens/s, \d+ s left", first)
    assert re.fullmatch(r"cell: step 5 of 8, loss 0\.500, [\d,]+ tokens/s, \d+ s left", second)


def test_a_short_loop_says_nothing(capsys):
    with Progress("cell", total=3, every=3600) as bar:
        for _ in range(3):
            bar.advance(tokens=10)
    assert capsys.readouterr().err == ""


def test_durations_are_what_a_person_says():
    assert [duration(seconds) for seconds in (0.4, 59.6, 312, 11_100)] == [
        "0 s",
        "1 min 0 s",
        "5 min 12 s",
        "3 h 5 min",
    ]
