import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub._tree_cache import TreeCacheEntry, write_tree_cache

from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.data.sources import OFFICIAL
from rm_tension.preflight import Facts, computed, hub_problems, look, mount_problems, problems
from samples import changed
from small_hub import go_offline, hub_source, snapshot

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


def lacks(profile, facts, made=0.0, hub=()):
    return list(problems(profile, PROFILES[profile].needs, facts, made, hub))


def texts(found):
    return [problem.text for problem in found]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_good_machine_lacks_nothing(profile):
    assert texts(mount_problems(GOOD)) == texts(lacks(profile, GOOD)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"writable": False, "owner": 5}, "belongs to uid 5 and uid 1000 may not write to it"),
        ({"git": "fatal: detected dubious ownership"}, "dubious ownership: install git and run in a checkout"),
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
    (text,) = texts(lacks("paper", replace(GOOD, **change)))
    assert message in text


def test_a_cache_that_nothing_can_be_written_to_is_a_problem_only_where_something_is_missing():
    facts = replace(GOOD, hub_cache_writable=False)
    assert not lacks("paper", facts)
    assert texts(lacks("paper", facts, hub=["x is not there"])) == [
        "/hub cannot be written to: set HF_HOME to a folder that can",
        "paper: x is not there",
    ]


def test_the_pilot_may_go_on_without_a_gpu_and_the_miniature_needs_none():
    bare = replace(GOOD, gpu_memory=None)
    assert [problem.warning for problem in lacks("pilot", bare)] == [True]
    assert [problem.warning for problem in lacks("paper", bare)] == [False]
    assert not lacks("mini", bare)


def test_a_run_that_has_begun_is_not_refused_for_the_disk_that_it_has_filled():
    (fresh,) = lacks("paper", replace(GOOD, disk=150))
    assert not fresh.warning
    assert "the whole profile needs 200: free some, or mount the repository from a larger disk" in fresh.text
    (begun,) = lacks("paper", replace(GOOD, disk=150), made=40)
    assert begun.warning
    assert "150 GB free in " in begun.text
    assert "needs 200, of which models/paper has 40.0 and DVC's cache may have as much: free some" in begun.text
    assert not lacks("paper", replace(GOOD, disk=150), made=60)


def test_what_is_in_the_working_tree_counts_and_a_pull_only_warns(tmp_path, monkeypatch):
    monkeypatch.setattr("rm_tension.preflight.gather", lambda with_gpu: replace(GOOD, disk=20, memory=8))
    go_offline(tmp_path / "hub", monkeypatch)
    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert [problem.warning for problem in look(["paper"])] == [False, False, False]  # memory, disk, hub
    model = tmp_path / "models" / "paper" / "backbones" / "gpt2-small" / "model.safetensors"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"some")
    assert [problem.warning for problem in look(["paper"])] == [False, True, False]
    assert [problem.warning for problem in look(["paper"], may_pull=True)] == [True, True, True]
    assert not look([])
    with pytest.raises(UserError, match=r"no profile huge: params\.yaml has mini, pilot, paper"):
        look(["huge"])


def fill(cache, kind, repo, *names):
    for name in names:
        path = snapshot(cache, kind, repo) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_cache_that_holds_every_file_needs_no_hub(tmp_path, monkeypatch):
    go_offline(tmp_path, monkeypatch)
    assert not list(hub_problems(PROFILES["mini"]))
    pilot, source = PROFILES["pilot"], hub_source()
    for file in OFFICIAL:
        repo = getattr(source, file.data_set)
        (text,) = hub_problems(pilot)
        assert text.startswith(f"{repo.repo} at {repo.revision}: ")
        assert file.name in text.partition(" not in ")[0]
        assert "HF_HUB_OFFLINE is set" in text
        fill(tmp_path, "dataset", repo, file.name)
    for tokenizer in pilot.tokens.tokenizers.values():
        fill(tmp_path, "model", tokenizer, "config.json", "tokenizer.json")
    for backbone in pilot.backbones.values():
        (text,) = hub_problems(pilot)
        assert text.startswith(f"{backbone.weights.repo} at {backbone.weights.revision}: ")
        fill(tmp_path, "model", backbone.weights, "config.json", "model.safetensors")
    assert not list(hub_problems(pilot))


@pytest.mark.parametrize(
    ("files", "listed", "missing"),
    [
        ([], [], "config.json, model*.safetensors"),
        (["config.json", "tokenizer.json"], [], "model*.safetensors"),
        (["config.json", "tokenizer.json"], ["config.json", "model.safetensors"], "model*.safetensors"),
        (["config.json", "model.safetensors"], ["config.json", "model.safetensors", "model.onnx"], ""),
        (
            ["config.json", "model-1-of-2.safetensors"],
            ["config.json", "model-1-of-2.safetensors", "model-2-of-2.safetensors"],
            "config.json, model*.safetensors, model.safetensors.index.json",
        ),
    ],
    ids=["empty", "tokenizer", "tokenizer, by the hub's list", "whole, by the hub's list", "half, by the hub's list"],
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
            str(folder.parents[1]), repo.revision, {name: TreeCacheEntry(size=0, blob_id=40 * "0") for name in listed}
        )
    mini = PROFILES["mini"]
    profile = changed(mini, backbones={"gpt2-small": changed(mini.backbones["gpt2-small"], weights=repo)})
    found = [text.partition(" not in ")[0] for text in hub_problems(profile)]
    assert found == ([f"{repo.repo} at {repo.revision}: {missing}"] if missing else [])


@pytest.mark.parametrize(
    ("command", "profiles"),
    [
        ("dvc repro report@paper", {"paper"}),
        ("dvc --wait-for-lock repro train@pilot-gpt2-small-mixed-0 report@mini", {"pilot", "mini"}),
        ("dvc repro --pull report@paper", {"paper"}),
        ("dvc repro train@pilot-2-gpt2-small-mixed-0", {"pilot-2"}),
        ("dvc repro --dry report@paper", set()),
        ("dvc status report@paper", set()),
        ("dvc push --remote store --with-deps report@paper", set()),
        ("dvc checkout report@paper", set()),
        ("dvc pull --with-deps report@paper", set()),
    ],
)
def test_only_what_computes_needs_a_profiles_machine(command, profiles):
    assert computed(command.split(), {*PROFILES, "pilot-2"}) == profiles


@pytest.fixture
def commands(tmp_path):
    """The PATH of a folder with a `dvc` that says what it was given and exits with 3."""
    dvc = tmp_path / "bin" / "dvc"
    dvc.parent.mkdir()
    dvc.write_text('#!/bin/sh\necho "dvc $*"\nexit 3\n')
    dvc.chmod(0o755)
    return dvc.parent


def run(*command, folder=None, **environment):
    words = [sys.executable, "-m", "rm_tension.preflight", "--", *command]
    return subprocess.run(words, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_the_command_runs_only_if_nothing_is_missing(tmp_path, commands):
    settings = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}
    refused = run("dvc", "repro", "report@paper", **settings)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "preflight: paper: Anthropic/hh-rlhf at 09be8c5" in refused.stderr
    assert "RM_TENSION_PREFLIGHT=warn" in refused.stderr
    warned = run("dvc", "repro", "report@paper", RM_TENSION_PREFLIGHT="warn", **settings)
    assert (warned.returncode, warned.stdout) == (3, "dvc repro report@paper\n")
    assert "preflight: paper: Anthropic/hh-rlhf at 09be8c5" in warned.stderr
    pulled = run("dvc", "repro", "--pull", "--allow-missing", "report@paper", **settings)
    assert (pulled.returncode, pulled.stdout) == (3, "dvc repro --pull --allow-missing report@paper\n")
    assert "preflight: warning: paper: Anthropic/hh-rlhf at 09be8c5" in pulled.stderr
    pushed = run("dvc", "push", "--with-deps", "report@paper", **settings)
    assert (pushed.returncode, pushed.stdout, pushed.stderr) == (3, "dvc push --with-deps report@paper\n", "")
    assert run("echo", "hello").stdout == "hello\n"


def test_without_git_or_its_complaint_the_problem_is_named(commands):
    missing = run("dvc", "status", PATH=str(commands))
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr.startswith("preflight: git: not found: install git")
    git = commands / "git"
    git.write_text("#!/bin/sh\nexit 128\n")
    git.chmod(0o755)
    silent = run("dvc", "status", PATH=str(commands))
    assert (silent.returncode, silent.stdout) == (1, "")
    assert silent.stderr.startswith("preflight: git: `git status` exits 128: install git")


@pytest.mark.parametrize("command", [("dvc", "repro", "report@paper"), ("dvc", "status")])
def test_without_a_mount_the_command_says_so(command, tmp_path, commands):
    done = run(*command, folder=tmp_path, PATH=str(commands))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {tmp_path}: no params.yaml: run in the repository; in a container, mount it at /workspace\n"
    )
