"""What the preflight says of a machine, a checkout and the hub's cache, and that it then runs a command."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import close_session
from huggingface_hub._tree_cache import TreeCacheEntry, write_tree_cache

from rm_tension.base.config import load_params
from rm_tension.base.hub import data_file, model_folder
from rm_tension.data.sources import OFFICIAL
from rm_tension.preflight import (
    Gpu,
    Machine,
    disk_problems,
    gpu_problems,
    hub_problems,
    machine_for,
    memory_problems,
    named_profiles,
    problems,
)
from samples import changed
from small_hub import go_offline, hub_source, snapshot

PROFILES = load_params().profiles
H100 = Gpu("H100", (9, 0), 80)
GOOD = Machine(memory_gb=64, disk_gb=500, gpus=(H100,), driver="580.65.06")
NO_GPU = replace(GOOD, gpus=(), no_gpu="found no NVIDIA driver", driver="")


def missing(name, machine):
    looks = (gpu_problems, memory_problems, disk_problems)
    return [problem for look in looks for problem in look(PROFILES[name], machine)]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_good_machine_lacks_nothing(profile):
    assert not missing(profile, GOOD)


@pytest.mark.parametrize(
    ("profile", "machine", "stops", "message"),
    [
        ("paper", NO_GPU, True, "no GPU that torch can use (found no NVIDIA driver): `docker run"),
        ("evening", NO_GPU, False, "one trio may do without, slowly: `rm-tension cost`"),
        ("paper", replace(NO_GPU, driver="570.1"), True, "driver 570.1 is too old for CUDA 13"),
        ("evening", replace(GOOD, gpus=(H100, replace(H100, name="T4", capability=(7, 5)))), True,
         "T4 has compute capability 7.5, not 8.0: hide it with CUDA_VISIBLE_DEVICES"),
        ("paper", replace(GOOD, gpus=(replace(H100, memory_gb=16),)), False,
         "H100 has 16 GB, 38 are needed for the largest backbone: lower"),
        ("paper", replace(GOOD, memory_gb=8), True, "8 GB of memory, 15 are needed"),
        ("paper", replace(GOOD, disk_gb=20), True, "the profile needs 171: free some"),
        ("paper", replace(GOOD, disk_gb=20, begun=True), False, "the profile needs 171: free some"),
    ],
)  # fmt: skip
def test_what_a_machine_lacks(profile, machine, stops, message, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (problem,) = missing(profile, machine)
    assert message in problem.text
    assert problem.stops == stops


def test_without_a_gpu_the_machine_holds_what_it_would():
    assert not missing("mini", Machine(memory_gb=2, disk_gb=2, no_gpu="none"))
    gpu, memory = missing("evening", replace(NO_GPU, memory_gb=8))
    assert "8 GB of memory, 11 are needed for the largest backbone" in memory.text
    assert (gpu.stops, memory.stops) == (False, False)


def test_a_gpu_that_is_hidden_is_no_gpu_and_the_variable_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    machine = machine_for("paper", PROFILES["paper"])
    assert (machine.gpus, machine.begun) == ((), False)
    assert 0 < machine.memory_gb < 1e5
    assert 0 < machine.disk_gb < 1e6
    (problem, *_) = gpu_problems(PROFILES["paper"], replace(machine, driver=""))
    assert f"({machine.no_gpu}): unset CUDA_VISIBLE_DEVICES, which is '-1'" in problem.text
    assert problem.stops
    (tmp_path / "models" / "mini").mkdir(parents=True)
    assert machine_for("mini", PROFILES["mini"]).begun


def missing_of_the_hub(profile):
    return "".join(problem.text for problem in hub_problems(profile))


def fill(cache, kind, repo, *names):
    for name in names:
        path = snapshot(cache, kind, repo) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_cache_that_holds_every_file_needs_no_hub(tmp_path, monkeypatch):
    go_offline(tmp_path, monkeypatch)
    assert not missing_of_the_hub(PROFILES["mini"])
    paper, source = PROFILES["paper"], hub_source()
    for file in OFFICIAL:
        repo = source.repositories[file.data_set]
        text = missing_of_the_hub(paper)
        assert text.startswith(f"{repo.repo} at {repo.revision}: ")
        assert file.name in text.partition(" not in ")[0]
        assert "HF_HUB_OFFLINE is set" in text
        fill(tmp_path, "dataset", repo, file.name)
    for tokenizer in paper.tokens.tokenizers.values():
        fill(tmp_path, "model", tokenizer, "config.json", "tokenizer.json")
    for backbone in paper.backbones.values():
        weights = backbone.weights
        assert missing_of_the_hub(paper).startswith(f"{weights.repo} at {weights.revision}: ")
        fill(tmp_path, "model", weights, "config.json", "model.safetensors")
    assert not missing_of_the_hub(paper)


@pytest.fixture
def socks(monkeypatch):
    """A proxy that the hub's client does not know."""
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    close_session()  # the next one reads the environment
    yield
    close_session()


def test_an_unknown_proxy_does_not_matter_with_a_full_cache_and_is_named_without(
    tmp_path, monkeypatch, socks
):
    go_offline(tmp_path, monkeypatch)
    repo = hub_source().repositories["rm-bench"]
    weights = PROFILES["paper"].backbones["gpt2-small"].weights
    fill(tmp_path, "dataset", repo, "a.gz")
    fill(tmp_path, "model", weights, "config.json")
    assert data_file(repo, "a.gz").name == "a.gz"
    folder = model_folder(weights, "config.json")
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert "and the hub did not answer (Using SOCKS proxy" in missing_of_the_hub(PROFILES["paper"])


def test_a_cache_that_nothing_can_be_written_to_is_named(tmp_path, monkeypatch):
    go_offline(tmp_path, monkeypatch)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    said = missing_of_the_hub(PROFILES["paper"])
    assert f"not in {tmp_path}, which cannot be written to: " in said


@pytest.mark.parametrize(
    ("files", "listed", "missing"),
    [
        (["config.json", "tokenizer.json"], [], "model*.safetensors"),
        (["config.json", "model.safetensors"], ["config.json", "model.safetensors", "model.onnx"],
         ""),
        (["config.json", "model-1-of-2.safetensors"],
         ["config.json", "model-1-of-2.safetensors", "model-2-of-2.safetensors"],
         "config.json, model*.safetensors"),
    ],
    ids=["tokenizer", "all, by the hub's list", "half, by the hub's list"],
)  # fmt: skip
def test_half_of_the_files_do_not_pass_for_the_weights(
    files, listed, missing, tmp_path, monkeypatch
):
    go_offline(tmp_path, monkeypatch)
    repo = PROFILES["paper"].backbones["smollm2-360m"].weights
    folder = snapshot(tmp_path, "model", repo)
    folder.mkdir(parents=True)
    fill(tmp_path, "model", repo, *files)
    if listed:
        entries = {name: TreeCacheEntry(size=0, blob_id=40 * "0") for name in listed}
        write_tree_cache(str(folder.parents[1]), repo.revision, entries)
    mini = PROFILES["mini"]
    backbone = changed(mini.backbones["gpt2-small"], weights=repo)
    said = missing_of_the_hub(changed(mini, backbones={"gpt2-small": backbone}))
    expected = f"{repo.repo} at {repo.revision}: {missing}" if missing else ""
    assert said.partition(" not in ")[0] == expected


@pytest.mark.parametrize(
    ("command", "profiles"),
    [
        ("dvc repro report@paper", {"paper"}),
        ("bash -c dvc --wait-for-lock repro 'train@evening-gpt2-mixed-0' report@mini",
         {"evening", "mini"}),
        ("dvc repro --glob evaluate@paper-*", {"paper"}),
        ("dvc repro train@paper-2-gpt2-small-mixed-0", {"paper-2"}),
        ("dvc repro report@papers", set()),
    ],
)  # fmt: skip
def test_a_profile_is_known_by_the_stages_of_a_command(command, profiles):
    assert named_profiles(command, {*PROFILES, "paper-2"}) == profiles


@pytest.fixture
def commands(tmp_path):
    """A folder, for the PATH, with a `dvc` that says what it was given and exits with 3."""
    dvc = tmp_path / "bin" / "dvc"
    dvc.parent.mkdir()
    dvc.write_text('#!/bin/sh\necho "dvc $*"\nexit 3\n')
    dvc.chmod(0o755)
    return dvc.parent


PREFLIGHT = [sys.executable, "-m", "rm_tension", "preflight", "--"]


def run(*command, folder=None, **environment):
    how = {"cwd": folder, "env": os.environ | environment, "capture_output": True, "text": True}
    return subprocess.run(command, **how, check=False)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts, or becomes another user")


@as_root
def test_who_may_not_write_to_a_checkout_is_told_its_owner_and_to_have_a_name():
    code = """
import os
from rm_tension.preflight import checkout_problems
os.setgroups([])
os.setuid(4242)
for problem in checkout_problems():
    print(problem.text)
"""
    names = dict.fromkeys(("LOGNAME", "USER", "LNAME", "USERNAME"), "")
    said = run(sys.executable, "-c", code, **names).stdout
    owned = f"{Path.cwd()} belongs to uid 0 and uid 4242 may not write to it: run as its owner"
    assert owned in said
    assert "uid 4242 has no name on this system, which DVC asks for: set USER" in said
    assert f"or `git config --global --add safe.directory {Path.cwd()}`" in said


@as_root
def test_a_read_only_mount_is_said_to_be_one():
    folder = Path.cwd()
    mount = f"mount --bind {folder} {folder} && mount -o remount,ro,bind {folder} && cd {folder}"
    if subprocess.run(["unshare", "--mount", "sh", "-c", mount], check=False).returncode:
        pytest.skip("may not mount")
    mounted = ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"]
    done = run(*mounted, *PREFLIGHT, "dvc", "status")
    assert done.returncode == 1
    assert f"{folder} is mounted read-only: mount it writable" in done.stderr
    assert "run as its owner" not in done.stderr


def test_the_command_runs_only_if_nothing_is_missing(tmp_path, commands):
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    settings = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": path}
    refused = run(*PREFLIGHT, "dvc", "repro", "report@paper", **settings)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "preflight: paper: Anthropic/hh-rlhf at 09be8c5" in refused.stderr
    assert "RM_TENSION_PREFLIGHT=warn" in refused.stderr
    settings["RM_TENSION_PREFLIGHT"] = "warn"
    warned = run(*PREFLIGHT, "dvc", "repro", "report@paper", **settings)
    assert (warned.returncode, warned.stdout) == (3, "dvc repro report@paper\n")
    assert "preflight: paper: Anthropic/hh-rlhf at 09be8c5" in warned.stderr
    pushed = run(*PREFLIGHT, "dvc", "push", "report@paper", **settings)
    assert (pushed.stdout, pushed.stderr) == ("dvc push report@paper\n", "")
    assert run(*PREFLIGHT, "echo", "hello").stdout == "hello\n"


@pytest.mark.parametrize("computes", [True, False])
def test_where_nothing_is_computed_gpu_and_memory_do_not_matter(computes, monkeypatch):
    poor = Machine(memory_gb=1, disk_gb=1, no_gpu="found no NVIDIA driver")
    monkeypatch.setattr("rm_tension.preflight.machine_for", lambda name, profile: poor)
    said = "".join(problem.text for problem in problems(["paper"], computes))
    assert "the profile needs 171: free some" in said
    assert ("no GPU that torch can use" in said) == ("15 are needed" in said) == computes


def test_without_git_or_its_complaint_the_problem_is_named(commands):
    missing = run(*PREFLIGHT, "dvc", "status", PATH=str(commands))
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "git: not found: install git and run in a checkout" in missing.stderr
    git = commands / "git"
    git.write_text("#!/bin/sh\nexit 128\n")
    git.chmod(0o755)
    silent = run(*PREFLIGHT, "dvc", "status", PATH=str(commands))
    assert (silent.returncode, silent.stdout) == (1, "")
    assert silent.stderr.startswith("preflight: `git status` exits 128: install git")


def test_without_a_mount_the_command_says_so(tmp_path, commands):
    done = run(*PREFLIGHT, "dvc", "status", folder=tmp_path, PATH=str(commands))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{tmp_path}/params.yaml: not found; run from the repository root" in done.stderr
