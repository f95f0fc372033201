"""A checkpoint on the Hugging Face hub is loaded by its address, from an offline cache as a hub's client leaves it."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from rm_tension import load_reward_model
from rm_tension.base.config import HubRepo
from rm_tension.base.errors import UserError
from small_hub import go_offline, snapshot
from small_repository import PLACE

COMMIT = "1" * 40
ADDRESS = "hf://someone/a-model"
ITEM = ("How do I boil an egg?", ["Seven minutes.", "No."])


@pytest.fixture
def hub(origin, tmp_path, monkeypatch):
    """The cache of a hub that has the small reward model, with a card, at COMMIT and as main."""
    go_offline(tmp_path / "hub", monkeypatch)
    folder = snapshot(tmp_path / "hub", "model", HubRepo(repo="someone/a-model", revision=COMMIT))
    shutil.copytree(origin / PLACE, folder)
    (folder / "README.md").touch()
    return folder


def test_rewards_are_those_of_the_folder(hub, origin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no repository around
    expected = load_reward_model(origin / PLACE, device="cpu").score(*ITEM)
    for revision in (COMMIT, "main"):
        found = load_reward_model(f"{ADDRESS}@{revision}", device="cpu")
        assert found.folder == hub
        assert found.score(*ITEM) == expected


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (ADDRESS, f"{ADDRESS}: names no revision, .* add the commit .*: {ADDRESS}@COMMIT"),
        (f"{ADDRESS}@", "names no revision"),
        ("hf://a-model@main", "not hf://ORG/NAME@REV"),
        (f"hf://../someone/a-model@{COMMIT}", "not hf://ORG/NAME@REV"),
        (
            f"{ADDRESS}@{'2' * 40}",
            f"someone/a-model: .* at revision {'2' * 40} is neither on the hub nor in its cache",
        ),
        ("hf://nobody/nothing@main", r"nobody/nothing: .* set HF_HOME"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused_with_the_remedy(hub, address, message):
    with pytest.raises(UserError, match=message):
        load_reward_model(address, device="cpu")


def test_a_model_that_is_none_of_ours_is_refused(hub):
    (hub / "scoring.json").unlink()
    with pytest.raises(UserError, match=r"scoring\.json: not found, .* use plain transformers"):
        load_reward_model(f"{ADDRESS}@{COMMIT}", device="cpu")


def test_the_program_takes_an_address(hub, tmp_path):
    program = [
        sys.executable,
        "-m",
        "rm_tension",
        "score",
        "--model",
        f"{ADDRESS}@{COMMIT}",
        "--device",
        "cpu",
    ]
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    line = json.dumps({"prompt": ITEM[0], "answers": ITEM[1]})
    done = subprocess.run(
        program,
        input=line,
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["rewards"] == load_reward_model(hub, device="cpu").score(*ITEM)
