import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub._tree_cache import TreeCacheEntry, write_tree_cache

from rm_tension.base.config import HubFiles, load_params
from rm_tension.base.errors import UserError
from rm_tension.data.sources import OFFICIAL
from rm_tension.estimate import Needs
from rm_tension.preflight import (
    Facts,
    checkout_lacks,
    gather,
    lacks,
    look,
    missing_of_the_hub,
    named,
    needed,
    too_small,
)
from samples import changed
from small_hub import go_offline, hub_source, snapshot

PARAMS = load_params()
PROFILES = PARAMS.profiles
GOOD = Facts(latex=True, gpu_memory=80, memory=64, disk=500, begun=False, hub="")
NEEDED = Needs(gpu_memory=38, memory=15, disk=171)


def missing(name, facts, sizes=NEEDED):
    return [*lacks(PROFILES[name], facts), *too_small(PROFILES[name], sizes, facts)]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_good_machine_lacks_nothing(profile):
    assert not missing(profile, GOOD, needed(PARAMS, profile, GOOD))


@pytest.mark.parametrize(
    ("profile", "change", "stops", "message"),
    [
        ("paper", {"latex": False}, True, "latexmk not found"),
        ("paper", {"gpu_memory": None}, True, "no GPU that torch can use"),
        ("pilot", {"gpu_memory": None}, False, "one trio may do without"),
        ("paper", {"gpu_memory": 16}, False, "the GPU has 16 GB, 38 are needed"),
        ("paper", {"memory": 8}, True, "8 GB of memory, 15 are needed"),
        ("paper", {"disk": 20}, True, "the whole profile needs 171: free some"),
        ("paper", {"disk": 20, "begun": True}, False, "the whole profile needs 171: free some"),
        ("paper", {"hub": "x is not there"}, True, "x is not there"),
    ],
)
def test_what_a_machine_lacks(profile, change, stops, message):
    ((text, stop),) = missing(profile, replace(GOOD, **change))
    assert message in text
    assert stop == stops


def test_the_miniature_needs_no_gpu():
    facts = replace(GOOD, gpu_memory=None, memory=2, disk=2)
    assert not missing("mini", facts, needed(PARAMS, "mini", facts))


def test_without_a_gpu_the_machine_holds_what_it_would_and_one_trio_may_fit_all_the_same():
    facts = replace(GOOD, gpu_memory=None, memory=24)
    on_cpu, on_gpu = needed(PARAMS, "pilot", facts), needed(PARAMS, "pilot", GOOD)
    assert on_cpu.memory == on_gpu.gpu_memory > on_gpu.memory
    (_, no_gpu), (text, memory) = missing("pilot", facts, on_cpu)
    assert f"24 GB of memory, {on_cpu.memory} are needed for the largest backbone" in text
    assert not no_gpu
    assert not memory


def test_needs_that_are_not_known_are_a_warning(monkeypatch):
    mini = PROFILES["mini"]
    backbone = changed(
        mini.backbones["gpt2-small"], weights=HubFiles(kind="hub", repo="me/mine", revision="main")
    )
    other = changed(mini, backbones=mini.backbones | {"gpt2-small": backbone})
    params = changed(PARAMS, profiles=PROFILES | {"mini": other})
    monkeypatch.setattr("rm_tension.preflight.load_params", lambda: params)
    monkeypatch.setattr("rm_tension.preflight.gather", lambda name, profile: GOOD)
    ((text, stop),) = (lack for lack in look("", ["mini"]) if lack[0].startswith("mini: "))
    assert text.startswith("mini: how much memory and disk it needs is not known (")
    assert "no shape of me/mine" in text
    assert not stop


def test_the_facts_are_those_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    facts = gather("mini", PROFILES["mini"])
    assert (facts.gpu_memory, facts.begun, facts.hub) == (None, False, "")
    assert 0 < facts.memory < 1e5
    assert 0 < facts.disk < 1e6
    (tmp_path / "models" / "mini").mkdir(parents=True)
    limit = tmp_path / "memory.max"
    limit.write_text("2000000000\n")
    monkeypatch.setattr("rm_tension.preflight.CGROUP_LIMIT", limit)
    facts = gather("mini", PROFILES["mini"])
    assert (facts.memory, facts.begun) == (2, True)


def test_a_checkout_that_one_may_not_write_to_names_its_owner(monkeypatch):
    assert not list(checkout_lacks())
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    ((text, stop),) = checkout_lacks()
    owner = Path.cwd().stat().st_uid
    assert (
        f"belongs to uid {owner} and uid {os.geteuid()} may not write to it: run as its owner"
        in text
    )
    assert stop


def fill(cache, kind, repo, *names):
    for name in names:
        path = snapshot(cache, kind, repo) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_cache_that_holds_every_file_needs_no_hub(tmp_path, monkeypatch):
    go_offline(tmp_path, monkeypatch)
    assert not missing_of_the_hub(PROFILES["mini"])
    pilot, source = PROFILES["pilot"], hub_source()
    for file in OFFICIAL:
        repo = getattr(source, file.data_set)
        text = missing_of_the_hub(pilot)
        assert text.startswith(f"{repo.repo} at {repo.revision}: ")
        assert file.name in text.partition(" not in ")[0]
        assert "HF_HUB_OFFLINE is set" in text
        fill(tmp_path, "dataset", repo, file.name)
    for tokenizer in pilot.tokens.tokenizers.values():
        fill(tmp_path, "model", tokenizer, "config.json", "tokenizer.json")
    for backbone in pilot.backbones.values():
        assert missing_of_the_hub(pilot).startswith(
            f"{backbone.weights.repo} at {backbone.weights.revision}: "
        )
        fill(tmp_path, "model", backbone.weights, "config.json", "model.safetensors")
    assert not missing_of_the_hub(pilot)


def test_a_cache_that_nothing_can_be_written_to_is_named(tmp_path, monkeypatch):
    go_offline(tmp_path, monkeypatch)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert f"not in {tmp_path}, which cannot be written to: " in missing_of_the_hub(
        PROFILES["paper"]
    )


@pytest.mark.parametrize(
    ("files", "listed", "missing"),
    [
        ([], [], "config.json, model*.safetensors"),
        (["config.json", "tokenizer.json"], [], "model*.safetensors"),
        (
            ["config.json", "model.safetensors"],
            ["config.json", "model.safetensors", "model.onnx"],
            "",
        ),
        (
            ["config.json", "model-1-of-2.safetensors"],
            ["config.json", "model-1-of-2.safetensors", "model-2-of-2.safetensors"],
            "config.json, model*.safetensors",
        ),
    ],
    ids=["empty", "tokenizer", "whole, by the hub's list", "half, by the hub's list"],
)
def test_another_stages_files_or_half_of_them_do_not_pass_for_the_weights(
    files, listed, missing, tmp_path, monkeypatch
):
    go_offline(tmp_path, monkeypatch)
    repo = PROFILES["paper"].backbones["smollm2-360m"].weights
    folder = snapshot(tmp_path, "model", repo)
    folder.mkdir(parents=True)
    fill(tmp_path, "model", repo, *files)
    if listed:
        write_tree_cache(
            str(folder.parents[1]),
            repo.revision,
            {name: TreeCacheEntry(size=0, blob_id=40 * "0") for name in listed},
        )
    mini = PROFILES["mini"]
    profile = changed(
        mini, backbones={"gpt2-small": changed(mini.backbones["gpt2-small"], weights=repo)}
    )
    found = missing_of_the_hub(profile).partition(" not in ")[0]
    assert found == (f"{repo.repo} at {repo.revision}: {missing}" if missing else "")


@pytest.mark.parametrize(
    ("command", "profiles"),
    [
        ("dvc repro report@paper", {"paper"}),
        (
            "bash -c dvc --wait-for-lock repro 'train@pilot-gpt2-small-mixed-0' report@mini",
            {"pilot", "mini"},
        ),
        ("dvc repro --glob evaluate@paper-*", {"paper"}),
        ("dvc repro train@pilot-2-gpt2-small-mixed-0", {"pilot-2"}),
        ("dvc repro report@pilots", set()),
    ],
)
def test_a_profile_is_known_by_the_stages_of_a_command(command, profiles):
    assert named(command, {*PROFILES, "pilot-2"}) == profiles


def test_an_unknown_profile_is_refused():
    with pytest.raises(
        UserError, match=r"no profile huge: params\.yaml has mini, evening, pilot, paper"
    ):
        list(look("", ["huge"]))


@pytest.fixture
def commands(tmp_path):
    """The PATH of a folder with a `dvc` that says what it was given and exits with 3."""
    dvc = tmp_path / "bin" / "dvc"
    dvc.parent.mkdir()
    dvc.write_text('#!/bin/sh\necho "dvc $*"\nexit 3\n')
    dvc.chmod(0o755)
    return dvc.parent


def run(*command, folder=None, **environment):
    words = [sys.executable, "-m", "rm_tension", "preflight", "--", *command]
    return subprocess.run(
        words, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def test_the_command_runs_only_if_nothing_is_missing(tmp_path, commands):
    settings = {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
    }
    refused = run("dvc", "repro", "report@paper", **settings)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "preflight: paper: Anthropic/hh-rlhf at 09be8c5" in refused.stderr
    assert "RM_TENSION_PREFLIGHT=warn" in refused.stderr
    warned = run("dvc", "repro", "report@paper", RM_TENSION_PREFLIGHT="warn", **settings)
    assert (warned.returncode, warned.stdout) == (3, "dvc repro report@paper\n")
    assert "preflight: paper: Anthropic/hh-rlhf at 09be8c5" in warned.stderr
    pushed = run("dvc", "push", "--with-deps", "report@paper", **settings)
    assert (pushed.returncode, pushed.stdout, pushed.stderr) == (
        3,
        "dvc push --with-deps report@paper\n",
        "",
    )
    assert run("echo", "hello").stdout == "hello\n"


def test_without_git_or_its_complaint_the_problem_is_named(commands):
    missing = run("dvc", "status", PATH=str(commands))
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "git: not found: install git and run in a checkout" in missing.stderr
    git = commands / "git"
    git.write_text("#!/bin/sh\nexit 128\n")
    git.chmod(0o755)
    silent = run("dvc", "status", PATH=str(commands))
    assert (silent.returncode, silent.stdout) == (1, "")
    assert silent.stderr.startswith("preflight: `git status` exits 128: install git")


@pytest.mark.parametrize("command", [("dvc", "repro", "report@paper"), ("dvc", "status")])
def test_without_a_mount_the_command_says_so(command, tmp_path, commands):
    done = run(*command, folder=tmp_path, PATH=str(commands))
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr == f"error: {tmp_path}/params.yaml: not found; run from the repository root\n"
    )
