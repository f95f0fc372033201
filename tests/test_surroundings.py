"""Results depend on params.yaml, the locks and the code alone, whoever computes them and where."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rm_tension.base import portable
from rm_tension.base.errors import UserError
from rm_tension.base.runs import machine_of
from rm_tension.base.surroundings import REFUSED, check
from small_repository import git
from tiny_profile import made, make_tiny, run_stages, stages, tiny_params

pytestmark = pytest.mark.slow

LINES = ["data", "tokens", *stages("gpt2-small")]
HOME = {
    ".cache/huggingface/accelerate/default_config.yaml": (
        "compute_environment: LOCAL_MACHINE\nmixed_precision: bf16\n"
    ),
    ".cache/huggingface/token": "hf_none",
    ".config/matplotlib/matplotlibrc": "text.usetex: True\n",
    ".config/dvc/config": "[core]\n    autostage = true\n[cache]\n    type = copy\n",
    ".gitconfig": "[core]\n\tautocrlf = true\n\tabbrev = 5\n[diff]\n\texternal = false\n",
    ".mlflow/credentials": "[mlflow]\nmlflow_tracking_username = nobody\n",
}
VARIABLES = {
    "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
    "ACCELERATE_MIXED_PRECISION": "bf16",
    "ATEN_CPU_CAPABILITY": "default",
    "GIT_DIR": "/nowhere",
    "HF_HUB_OFFLINE": "1",
    "LC_ALL": "tr_TR.ISO-8859-9",  # C where there is no such locale
    "MKL_CBWR": "SSE4_2",
    "MLFLOW_EXPERIMENT_NAME": "another",
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3",
    "NVIDIA_TF32_OVERRIDE": "0",
    "OPENBLAS_CORETYPE": "Nehalem",
    "PYTHONHASHSEED": "7",
    "PYTHONIOENCODING": "ascii",
    "PYTHONOPTIMIZE": "1",
    "RAYON_NUM_THREADS": "3",
    "TOKENIZERS_PARALLELISM": "false",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1",
    "TRANSFORMERS_VERBOSITY": "debug",
    "TZ": "Pacific/Chatham",
}


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    return make_tiny(tmp_path_factory, tiny_params(["gpt2-small"]))


def compute(origin, folder, umask, **variables):
    """Clone and run all stages up to the rewards, as a user with these variables would.

    What was checked out and computed, bytes by name; what DVC records of the data stage; and what
    the evaluation's records say of the result and of the environment.
    """
    outside = {name: value for name, value in variables.items() if name != "GIT_DIR"}
    how = {"env": outside | {"PATH": os.environ["PATH"]}, "umask": umask, "check": True}
    subprocess.run(["git", "clone", "--quiet", str(origin), str(folder)], **how)
    run_stages(folder, LINES, variables, umask=umask)
    commit = [sys.executable, "-m", "dvc", "commit", "--quiet", "--force", "data@mini"]
    subprocess.run(commit, **how, cwd=folder)
    names = {*git(folder, "ls-files", "-z").split("\0")} - {"", "dvc.lock"}
    files = {name: (folder / name).read_bytes() for name in sorted(names)} | made(folder)
    lock = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))
    record = folder / "runs/mini/evaluate-gpt2-small-0.json"
    machine = json.loads(machine_of(record).read_text(encoding="utf-8"))
    return files, lock["stages"]["data@mini"], record.read_bytes(), machine["environment"]


def test_the_same_bytes_whoever_computes_them_and_wherever(origin, tmp_path):
    for name, text in HOME.items():
        (tmp_path / "home" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "home" / name).write_text(text)
    plain = compute(origin, tmp_path / "plain", 0o022, HOME=str(tmp_path / "empty"))
    home = str(tmp_path / "home")
    odd = compute(origin, tmp_path / "wörk [a] b", 0o077, HOME=home, **VARIABLES)
    (expected, *results, environment), (files, *odd_results, odd_environment) = plain, odd
    assert {Path(name).suffix for name in files} >= {".safetensors", ".parquet"}
    assert [name for name in expected | files if expected.get(name) != files.get(name)] == []
    assert odd_results == results
    commit = git(origin, "rev-parse", "--short=12", "HEAD").strip()
    assert environment["git_commit"] == odd_environment["git_commit"] == commit
    assert environment["portable"] is odd_environment["portable"] is True
    assert environment["threads"] == 1
    assert "ACCELERATE_MIXED_PRECISION=bf16" in odd_environment["variables"]
    settings = {**portable.NUMPY, **portable.TORCH, "OMP_NUM_THREADS": "1"}
    variables = " ".join(f"{name}={settings[name]}" for name in sorted(settings))
    assert environment["variables"] == variables


@pytest.mark.parametrize("name", REFUSED)
def test_what_asks_for_other_numbers_is_refused_by_name(name, monkeypatch):
    monkeypatch.setenv(name, REFUSED[name][0].upper())
    check()
    monkeypatch.setenv(name, "2")
    with pytest.raises(UserError, match=f"{name}=2: .*; unset {name}"):
        check()


def test_warnings_that_are_errors_are_refused_and_others_are_the_users(monkeypatch):
    for value in ("", "ignore", "default::UserWarning", "always,ignore:error"):
        monkeypatch.setenv("PYTHONWARNINGS", value)
        check()
    for value in ("error", "e", "default,error::UserWarning", "error:Glyph"):
        monkeypatch.setenv("PYTHONWARNINGS", value)
        with pytest.raises(UserError, match=f"PYTHONWARNINGS={value}: .*; unset PYTHONWARNINGS"):
            check()


def test_a_stage_and_the_preflight_refuse_before_they_begin(origin):
    for module, name, value in (
        ("data", "NVIDIA_TF32_OVERRIDE", "1"),
        ("preflight", "PYTHONWARNINGS", "error"),
    ):
        command = [sys.executable, "-m", "rm_tension", module, "--profile", "mini"]
        environment = os.environ | {name: value, "PYTHONPATH": str(origin / "src")}
        done = subprocess.run(command, cwd=origin, env=environment, capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: {name}={value}: ")
    assert not (origin / "data").exists()


def test_a_locale_that_cannot_name_the_folder_is_refused(tmp_path):
    folder = tmp_path / "wörk"
    folder.mkdir()
    locale = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", "from rm_tension.base.surroundings import check; check()"]
    done = subprocess.run(command, cwd=folder, env=locale, capture_output=True, text=True)
    assert "UserError" in done.stderr
    assert done.stderr.rstrip().endswith("set PYTHONUTF8=1")
    subprocess.run(command, cwd=tmp_path, env=locale, check=True)
