"""What every stage's program looks at before it computes."""

import shutil
import subprocess
import sys

import pytest

from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Paths
from rm_tension.base.job import Job


def test_code_of_another_checkout_is_refused(tmp_path):
    (tmp_path / "src" / "rm_tension").mkdir(parents=True)
    shutil.copy("params.yaml", tmp_path)
    command = [sys.executable, "-m", "rm_tension", "data", "--profile", "mini"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"error: {tmp_path / 'src' / 'rm_tension'}: not the code that runs, which is "
    )
    assert "set PYTHONPATH=src (before `dvc exp run --temp`, too), or `make setup`" in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.fixture
def job():
    params = load_params()
    return Job(params, params.profiles["mini"], Paths("mini"), {"profile": "mini"})


def test_what_the_grid_no_longer_names_is_refused_by_name(job, tmp_path):
    expected = [tmp_path / "rewards" / f"gpt2-small-{seed}.parquet" for seed in (0, 247)]
    objectives = [tmp_path / "reward" / name for name in ("helpful", "mixed")]
    for path in expected:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for path in objectives:
        path.mkdir(parents=True)
    job.refuse_leftovers([*expected, *objectives, tmp_path / "nothing" / "here"])
    for stray in (".DS_Store", "._gpt2-small-0.parquet", "gpt2-small-0.parquet~"):
        (tmp_path / "rewards" / stray).touch()
    (tmp_path / "reward" / ".ipynb_checkpoints").mkdir()
    job.refuse_leftovers([*expected, *objectives])
    (tmp_path / "rewards" / "gpt2-small-932.parquet").touch()
    (tmp_path / "reward" / "honest").mkdir()
    with pytest.raises(UserError) as refused:
        job.refuse_leftovers([*expected, *objectives])
    leftovers = f"{tmp_path}/rewards/gpt2-small-932.parquet {tmp_path}/reward/honest"
    assert f"{leftovers.replace(' ', ', ')}: of no cell in params.yaml" in str(refused.value)
    assert f"`rm -r {leftovers}`" in str(refused.value)


def test_a_cell_outside_the_grid_is_named():
    with pytest.raises(UserError, match="--objective kind: profile mini has helpful, harmless"):
        Job.open("mini", backbone="gpt2-small", objective="kind", seed=0)
