"""What a log says of a long loop."""

import re

from rm_tension.base.progress import Progress, duration


def test_a_log_has_step_numbers_speed_and_the_time_left_once_in_a_while(capsys):
    with Progress("cell", total=8, done=2, every=0) as bar:
        bar.advance(tokens=100, loss=0.6931)
    said = capsys.readouterr().err
    assert re.fullmatch(r"cell: step 3 of 8, loss 0\.693, [\d,]+ tokens/s, \d+ s left\n", said)
    with Progress("cell", total=3, every=3600) as bar:
        bar.advance(3, tokens=10)
    assert capsys.readouterr().err == ""


def test_durations_are_what_a_person_says():
    durations = {0.4: "0 s", 59.6: "1 min 0 s", 312: "5 min 12 s", 11_100: "3 h 5 min"}
    assert {seconds: duration(seconds) for seconds in durations} == durations
