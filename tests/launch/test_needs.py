"""What the launcher asks of Slurm, where there need be none."""

import subprocess
import sys
from pathlib import Path

import pytest

from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.cost import stage_costs
from rm_tension.launch.commands import on_gpu
from rm_tension.launch.executor import Job
from rm_tension.launch.slurm import Slurm, needs


@pytest.fixture(scope="module")
def costs():
    params = load_params()
    return stage_costs(params, "mini", "H100") | stage_costs(params, "paper", "H100")


def test_each_job_gets_time_and_memory_by_its_cell_and_a_gpu_where_it_computes(costs):
    gpu = on_gpu(costs)
    assert gpu == {
        stage for stage in costs if "@paper-" in stage and not stage.startswith("backbone@")
    }
    needed = {}
    for backbone in ("gpt2-small", "smollm2-1.7b"):
        stage = f"train@paper-{backbone}-mixed-0"
        job = Job(stage, [], Path(), costs[stage].memory_gb, "")
        needed[backbone] = needs(job, costs[stage], stage in gpu)
        assert needed[backbone]["time"] * 60 >= 4 * costs[stage].seconds
        assert int(needed[backbone]["mem"].removesuffix("G")) > costs[stage].memory_gb
    small, large = needed.values()
    assert (small["gpus_per_node"], large["gpus_per_node"]) == (1, 1)
    assert large["time"] > small["time"]
    assert "gpus_per_node" not in needs(Job("analyse@paper", [], Path(), 0.0, ""), None, gpu=False)


def test_without_slurm_the_remedy_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="sbatch is not on the PATH: start the launcher where"):
        Slurm(1, {}, (), "", {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--executor", "slurm", "--sbatch", "partition"], "--sbatch partition: not KEY=VALUE"),
        (
            ["--executor", "slurm", "--sbatch", "time=1:00:00"],
            "--sbatch time=1:00:00: not a number of minutes",
        ),
        (["--prefix", "apptainer exec"], "--prefix and --sbatch are for --executor slurm"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(arguments, message):
    command = [sys.executable, "-m", "rm_tension", "run", "report@mini", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert message in done.stderr
