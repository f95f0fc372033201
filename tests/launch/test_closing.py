"""What a run says at its end: the verdicts, where the report is, and what to do next."""

import json
import re
from pathlib import Path

from rm_tension.base.config import load_params
from rm_tension.launch.closing import closing_lines
from rm_tension.launch.scheduler import Progress, State

REPORT = "report@mini"


def lines_of(progress):
    return list(closing_lines(progress, 312.4, load_params(), [REPORT], "rm-tension run it"))


def test_a_finished_report_says_where_to_look():
    progress = Progress({"analyse@mini": State.FRESH, REPORT: State.DONE})
    first, verdicts, report, note, further = lines_of(progress)
    assert first == "1 done, 1 up to date in 5 min 12 s"
    counts = re.fullmatch(
        r"verdicts  (\d+) reproduced, (\d+) not, (\d+) undecided; required C2, C3: reproduced",
        verdicts,
    )
    claims = json.loads(Path("reports/mini/metrics.json").read_text(encoding="utf-8"))["claims"]
    kinds = ("reproduced", "not reproduced", "undecided")
    assert [int(count) for count in counts.groups()] == [
        list(claims.values()).count(kind) for kind in kinds
    ]
    assert report == "report    reports/mini/index.html   (PDF: reports/mini/artifact.pdf)"
    assert note == f"note      {load_params().profiles['mini'].title}"
    assert further.startswith("next      real data, already computed: reports/")


def test_a_failure_says_what_to_look_at_and_leaves_the_old_report_alone():
    skipped = [f"train@mini-{number}" for number in range(7)]
    states = {"data@mini": State.FAILED} | dict.fromkeys([*skipped, REPORT], State.SKIPPED)
    assert lines_of(Progress(states, failures={"data@mini": "exit code 1: error: no"})) == [
        "1 failed, 8 skipped in 5 min 12 s",
        "failed    data@mini: exit code 1: error: no",
        "log       .state/launch/data@mini.log",
        f"skipped   {', '.join(skipped[:5])}, 3 others",
        "go on     rm-tension run it",
    ]
