"""The run crate says what dvc.lock and the run records say, and the format's validator takes it."""

import json
import shutil
import subprocess

import pytest
import yaml

from rm_tension.base.runs import record
from rm_tension.release.run_crate import write_run_crate

VALIDATOR = shutil.which("rocrate-validator")
WITHOUT = (
    "no rocrate-validator on the PATH: pip install roc-validator into an environment of its own"
)
TRAIN = "train@mini-gpt2-small-helpful-0"
MODEL = {"path": "models/mini/reward/gpt2-small-0/helpful", "md5": f"{'b' * 32}.dir", "nfiles": 5}
LOCK = {
    "data@mini": {
        "cmd": "rm-tension data --profile mini",
        "deps": [{"path": "src/rm_tension/data", "md5": f"{'c' * 32}.dir", "size": 9, "nfiles": 2}],
        "params": {"params.yaml": {"objectives": {"helpful": {}}}},
        "outs": [{"path": "data/mini", "md5": f"{'a' * 32}.dir", "size": 7, "nfiles": 2}],
    },
    TRAIN: {
        "cmd": "rm-tension train",
        "deps": [{"path": "data/mini/train.parquet", "md5": "d" * 32, "size": 5}],
        "params": {"params.yaml": {"objectives": {"helpful": {}}, "profiles.mini.train": {"a": 1}}},
        "outs": [
            MODEL | {"size": 3},
            {"path": "runs/mini/train-gpt2-small-helpful-0.json", "md5": "e" * 32, "size": 4},
        ],
    },
    "data@mini-2": {"cmd": "another profile", "outs": [{"path": "data/mini-2", "md5": "f" * 32}]},
}


@pytest.fixture
def crate(tmp_path, monkeypatch):
    """The entities of the crate of two stages, of which the second left a machine record."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": LOCK}))
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"data": {}, "train": {}}}))
    (tmp_path / "params.yaml").touch()
    with record(tmp_path / "runs/mini/train-gpt2-small-helpful-0.json", {}):
        pass
    write_run_crate(tmp_path / "crate", "mini", "0.1.0")
    metadata = json.loads((tmp_path / "crate/ro-crate-metadata.json").read_text())
    return {entity["@id"]: entity for entity in metadata["@graph"]}


def ids(values):
    return [value["@id"] for value in values]


def test_each_stage_is_an_action_with_what_it_read_and_wrote(crate):
    actions = [name for name in crate if name.startswith("#run-")]
    assert actions == ["#run-data@mini", f"#run-{TRAIN}"]
    train = crate[f"#run-{TRAIN}"]
    read, *settings = [crate[name] for name in ids(train["object"])]
    assert (read["@type"], read["md5"], read["contentSize"]) == ("File", "d" * 32, "5")
    assert {one["name"]: json.loads(one["value"]) for one in settings} == {
        "objectives": {"helpful": {}},
        "profiles.mini.train": {"a": 1},
    }
    made = crate[ids(train["result"])[0]]
    assert (made["@type"], made["name"]) == ("Dataset", MODEL["path"])
    assert made["identifier"] == MODEL["md5"]
    # the file that it read is of the folder that the stage before wrote
    assert ids(crate[f"#{'a' * 32}.dir/data/mini/"]["hasPart"]) == [read["@id"]]


def test_times_versions_and_resources_are_those_of_the_machine_record(crate):
    train, data = crate[f"#run-{TRAIN}"], crate["#run-data@mini"]
    assert train["startTime"] <= train["endTime"]
    assert {crate[name]["name"] for name in ids(train["resourceUsage"])} == {
        *("seconds", "cpu_seconds", "peak_memory_mib")
    }
    needs = crate[train["instrument"]["@id"]]["softwareRequirements"]
    assert {"torch", "Python"} <= {crate[name]["name"] for name in ids(needs)}
    assert not {"startTime", "resourceUsage"} & data.keys()
    assert crate[data["instrument"]["@id"]]["softwareVersion"] == "0.1.0"


def test_the_run_goes_from_what_no_stage_made_to_what_none_reads(crate):
    run = crate["#run"]
    names = [crate[name]["name"] for name in ids(run["object"])]
    # the file that the training read is of a folder that the stage before made
    assert sorted(names) == ["objectives", "profiles.mini.train", "src/rm_tension/data"]
    assert sorted(crate[name]["name"] for name in ids(run["result"])) == [
        MODEL["path"],
        "runs/mini/train-gpt2-small-helpful-0.json",
    ]


def test_every_reference_has_an_entity(crate):
    def references(value):
        if isinstance(value, list):
            for one in value:
                yield from references(one)
        elif isinstance(value, dict):
            if value.keys() == {"@id"}:
                yield value["@id"]
            else:
                for one in value.values():
                    yield from references(one)

    named = {name for entity in crate.values() for name in references(entity)}
    assert named - crate.keys() == {"https://w3id.org/ro/crate/1.1"}


@pytest.mark.pipeline
@pytest.mark.skipif(VALIDATOR is None, reason=WITHOUT)
def test_the_validator_of_the_format_takes_the_miniatures(tmp_path):
    write_run_crate(tmp_path / "crate", "mini", "0.1.0")
    options = ["--profile-identifier", "provenance-run-crate-0.5", "--no-paging"]
    command = [VALIDATOR, "-y", "validate", *options, "--requirement-severity", "required"]
    done = subprocess.run(
        [*command, tmp_path / "crate"], capture_output=True, text=True, check=False
    )
    if "NameResolutionError" in done.stdout:
        pytest.skip("the validator reads RO-Crate's context from w3id.org, which is not reached")
    assert done.returncode == 0, done.stdout[-3000:]
