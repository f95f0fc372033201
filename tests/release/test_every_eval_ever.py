"""The export says of each item what results say, and the schema's own validator takes it."""

import json
import shutil
import subprocess

import pandas as pd
import pytest

from rm_tension.release import command as release
from rm_tension.release.every_eval_ever import export
from rm_tension.release.profile import FinishedProfile

VALIDATOR = shutil.which("every_eval_ever")
WITHOUT = "no every_eval_ever on the PATH: pip install every-eval-ever==0.3.0 into a Python 3.12"


def aggregates(folder):
    """Return the evaluations below a folder, and the samples of each, by benchmark and model."""
    found = {}
    for path in folder.rglob("*.json"):
        evaluation = json.loads(path.read_text())
        rows = (folder / evaluation["detailed_evaluation_results"]["file_path"]).read_text()
        model = evaluation["model_info"]["name"]
        found[path.parts[-4], model] = evaluation, list(map(json.loads, rows.splitlines()))
    return found


@pytest.mark.slow
def test_each_item_has_its_rewards_and_whether_it_is_right(analysed):
    folder = analysed()
    release.every_eval_ever("someone")
    found = aggregates(folder / "dist/every-eval-ever/mini")
    assert {suite for suite, _ in found} == {"reward-bench-2", "rm-bench", "hh-rlhf"}
    right = {}
    for evaluation, samples in found.values():
        right |= {one["sample_id"]: one["evaluation"]["is_correct"] for one in samples}
        (result,) = evaluation["evaluation_results"]
        share = sum(one["evaluation"]["is_correct"] for one in samples) / len(samples)
        assert result["score_details"]["score"] == share
        assert result["source_data"]["source_type"] == "other"
    assert right == {
        "safety/0": False,
        "chat/0/0": True,
        "chat/0/1": False,
        "chat/0/2": False,
        "helpful-base/test/0": True,
    }
    (safety,) = [one for (suite, _), (_, one) in found.items() if suite == "reward-bench-2"]
    assert safety[0]["output"]["raw"] == ["1.0", "0.0", "0.5", "2.0"]
    assert safety[0]["input"]["reference"] == ["0"]
    assert safety[0]["answer_attribution"][0]["extracted_value"] == "3"


@pytest.mark.pipeline
def test_a_trios_subsets_have_the_accuracies_of_results(tmp_path, monkeypatch):
    run = FinishedProfile.open("mini", "someone")
    trained = run.models()
    trio = [model for model in trained if model.trio == trained[0].trio]
    monkeypatch.setattr(FinishedProfile, "models", lambda run: trio)
    export(run, tmp_path, "0.1.0", 1_800_000_000)
    accuracy = pd.read_csv("results/mini/accuracy.csv").query("kind == 'none'")
    accuracy = accuracy.set_index(["backbone", "objective", "seed", "task"])["accuracy"]
    compared = {}
    for (_, name), (evaluation, _) in aggregates(tmp_path).items():
        backbone, objective, seed = name.removeprefix("rm-tension-mini-").rsplit("-", 2)
        for result in evaluation["evaluation_results"]:
            if result["evaluation_result_id"].partition("#")[2] == "alpacaeval-hard":
                ours = accuracy[backbone, objective, int(seed), "alpacaeval-hard"] / 100
                compared[objective] = result["score_details"]["score"] == pytest.approx(ours)
    assert compared == dict.fromkeys(["helpful", "harmless", "mixed"], True)


@pytest.mark.pipeline
@pytest.mark.skipif(VALIDATOR is None, reason=WITHOUT)
def test_the_validator_of_the_schema_takes_the_miniatures(tmp_path):
    export(FinishedProfile.open("mini", "someone"), tmp_path, "0.1.0", 1_800_000_000)
    paths = [path.relative_to(tmp_path) for path in tmp_path.rglob("data/*/*/*/*.json*")]
    command = [VALIDATOR, "validate", "--format", "json", *map(str, paths)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert len(paths) == 2 * 4 * 54
