import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rm_tension.config import load_params
from rm_tension.preflight import Facts, hub_problems, mount_problems, problems

PROFILES = load_params().profiles
GOOD = Facts(
    user=1000,
    owner=1000,
    writable=True,
    user_has_name=True,
    git="",
    latex=True,
    hub_cache=Path("/hub"),
    hub_cache_writable=True,
    memory=64,
    disk=500,
    gpu_memory=80,
)


def texts(found):
    return [problem.text for problem in found]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_good_machine_lacks_nothing(profile):
    assert texts(mount_problems(GOOD)) == texts(problems(profile, PROFILES[profile].needs, GOOD, [])) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"writable": False, "owner": 5}, "belongs to uid 5 and uid 1000 may not write to it"),
        ({"git": "fatal: detected dubious ownership"}, "dubious ownership: run in a checkout"),
        ({"user_has_name": False}, "set the environment variable USER"),
    ],
)
def test_problems_of_the_mount(change, message):
    (text,) = texts(mount_problems(replace(GOOD, **change)))
    assert message in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latex": False}, "latexmk not found"),
        ({"gpu_memory": None}, "no GPU that torch can use"),
        ({"gpu_memory": 16}, "the GPU has 16 GB, 32 are needed"),
        ({"memory": 8}, "8 GB of memory, 32 are needed"),
        ({"disk": 20}, "20 GB free"),
    ],
)
def test_problems_of_the_machine(change, message):
    (text,) = texts(problems("paper", PROFILES["paper"].needs, replace(GOOD, **change), []))
    assert message in text


def test_a_cache_that_nothing_can_be_written_to_is_a_problem_only_where_something_is_missing():
    needs, facts = PROFILES["paper"].needs, replace(GOOD, hub_cache_writable=False)
    assert not list(problems("paper", needs, facts, []))
    assert texts(problems("paper", needs, facts, ["x is not there"])) == [
        "/hub cannot be written to: set HF_HOME to a folder that can",
        "paper: x is not there",
    ]


def test_the_pilot_may_go_on_without_a_gpu_and_the_miniature_needs_none():
    bare = replace(GOOD, gpu_memory=None)
    assert [problem.warning for problem in problems("pilot", PROFILES["pilot"].needs, bare, [])] == [True]
    assert [problem.warning for problem in problems("paper", PROFILES["paper"].needs, bare, [])] == [False]
    assert not list(problems("mini", PROFILES["mini"].needs, bare, []))


def test_a_cache_that_holds_every_repository_needs_no_hub(tmp_path, monkeypatch):
    monkeypatch.setattr("rm_tension.preflight.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("rm_tension.preflight.constants.HF_HUB_OFFLINE", True)
    assert not list(hub_problems(PROFILES["mini"]))
    while found := list(hub_problems(PROFILES["pilot"])):
        (text,) = found
        assert "HF_HUB_OFFLINE is set" in text
        repo, revision = text.split(" is not in ")[0].split(" at ")
        for kind in ("models", "datasets"):
            folder = tmp_path / f"{kind}--{repo.replace('/', '--')}"
            (folder / "snapshots" / revision).mkdir(parents=True)
    assert len(list(tmp_path.glob("models--*"))) == 10


def run(*words, **environment):
    command = [sys.executable, "-m", "rm_tension.preflight", *words]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_the_command_runs_only_if_nothing_is_missing(tmp_path):
    cache = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    refused = run("--", "dvc", "repro", "--dry", "report@paper", **cache)
    assert refused.returncode == 1
    assert "preflight: paper: Anthropic/hh-rlhf at 09be8c5" in refused.stderr
    assert "RM_TENSION_PREFLIGHT=warn" in refused.stderr
    told = run("--", "dvc", "version", "report@paper", RM_TENSION_PREFLIGHT="warn", **cache)
    assert "preflight: paper:" in told.stderr
    assert run("--", "echo", "hello").stdout == "hello\n"
