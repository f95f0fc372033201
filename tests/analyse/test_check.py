import json

import pytest
import yaml

from rm_tension import cli
from rm_tension.base.grid import Trio
from synthetic import write_profile


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda command: cli.main([command, "--profile", "mini"])


def write_claims(root, verdict, required):
    claim = {
        "id": "C1",
        "claim": "Mixed RMs do worse.",
        "predicate": "Below 0.",
        "effect": -4.2,
        "unit": "points",
    }
    claim |= {"interval": [-5.0, -3.0], "published": -10.2, "published_verdict": "holds"}
    part = {name: claim[name] for name in ("effect", "interval", "published", "published_verdict")}
    part |= {"interval_over_backbones": [-6.0, -2.0]}
    parts = [
        part | {"part": "one", "verdict": verdict},
        part | {"part": "other", "verdict": "undecided"},
    ]
    claim |= {
        "verdict": verdict,
        "required": required,
        "decides": "one",
        "detail": "",
        "parts": parts,
    }
    path = root / "results/mini/claims.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([claim]))


@pytest.fixture
def root(tmp_path):
    write_profile(tmp_path, [])
    return tmp_path


def test_claims_are_printed_with_effect_and_interval(root, run, capsys):
    write_claims(root, "reproduced", required=True)
    run("claims")
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1].endswith("Of their 2 parts, 1 hold, 0 are contradicted, 1 are open.")
    (line,) = [line for line in printed if line.startswith("C1")]
    assert (
        " ".join(line.split())
        == "C1 reproduced yes -4.200 -5.000 to -3.000 points -10.200 holds Mixed RMs do worse."
    )


@pytest.mark.parametrize("verdict", ["not reproduced", "undecided", "not applicable"])
def test_a_required_claim_that_is_not_reproduced_fails(root, run, verdict):
    write_claims(root, verdict, required=True)
    with pytest.raises(SystemExit, match="required by profile mini and not reproduced: C1"):
        run("claims")


def test_a_claim_that_is_not_required_may_fail(root, run):
    write_claims(root, "not reproduced", required=False)
    run("claims")


def test_without_results_it_says_what_to_run(root, run):
    with pytest.raises(SystemExit, match=r"results/mini/claims\.json: not found; `dvc checkout"):
        run("claims")


def test_the_analysis_of_one_trio_writes_all_claims_that_the_profile_may_require(tmp_path, run):
    paths = write_profile(tmp_path, [Trio("gpt2-small", 0)], without=["rm-bench/math"])
    raw = yaml.safe_load((tmp_path / "params.yaml").read_text())
    raw["profiles"]["mini"]["required_claims"] = ["C7"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw))
    run("analyse")
    claims = json.loads((paths.results / "claims.json").read_text())
    assert [claim["id"] for claim in claims if claim["required"]] == ["C7"]
    assert len(claims) == 21
    assert {claim["published_verdict"] for claim in claims} == {"holds", None}
    by_id = {claim["id"]: claim for claim in claims}
    assert (by_id["C21"]["published"], by_id["C21"]["published_verdict"]) == (
        pytest.approx(0.776, abs=5e-4),
        "holds",
    )
    assert (
        by_id["C5"]["verdict"]
        == by_id["C7"]["verdict"]
        == by_id["C9"]["verdict"]
        == "not applicable"
    )
    assert by_id["C1"]["interval"][0] < by_id["C1"]["effect"] < by_id["C1"]["interval"][1]
    with pytest.raises(SystemExit, match="not reproduced: C7"):
        run("claims")


def test_activations_that_are_missing_are_named(tmp_path, run):
    trio = Trio("gpt2-small", 0)
    paths = write_profile(tmp_path, [trio])
    paths.activations(trio).unlink()
    with pytest.raises(SystemExit, match=r"activations/mini/gpt2-small-0.safetensors: missing"):
        run("analyse")
