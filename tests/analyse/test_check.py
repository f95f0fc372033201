import json
import shutil

import pytest

from rm_tension import cli


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Run `rm-tension claims` on a claim with this verdict."""
    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)

    def check(verdict, required):
        number = {"effect": -4.2, "interval": [-5.0, -3.0], "published": -10.2}
        number |= {"published_verdict": "holds"}
        part = number | {"interval_over_backbones": [-6.0, -2.0]}
        parts = [part | {"part": "one", "verdict": verdict}]
        parts.append(part | {"part": "other", "verdict": "undecided"})
        texts = {"id": "C1", "claim": "Mixed RMs do worse.", "predicate": "Below 0."}
        texts |= {"unit": "points", "decides": "one", "detail": ""}
        claim = texts | number | {"verdict": verdict, "required": required, "parts": parts}
        path = tmp_path / "results/mini/claims.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps([claim]))
        cli.main(["claims", "--profile", "mini"])

    return check


def test_claims_are_printed_with_effect_and_interval(check, capsys):
    check("reproduced", required=True)
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1].endswith("Of their 2 parts, 1 hold, 0 are contradicted, 1 are open.")
    (line,) = [" ".join(line.split()) for line in printed if line.startswith("C1")]
    numbers = "-4.200 -5.000 to -3.000 points -10.200 holds"
    assert line == f"C1 reproduced yes {numbers} Mixed RMs do worse."


def test_a_claim_that_is_not_required_may_fail(check):
    check("not reproduced", required=False)


@pytest.mark.parametrize("verdict", ["not reproduced", "undecided", "not applicable"])
def test_a_required_claim_that_is_not_reproduced_fails(check, verdict):
    with pytest.raises(SystemExit, match="required by profile mini and not reproduced: C1"):
        check(verdict, required=True)
