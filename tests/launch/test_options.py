"""What the launcher asks of Slurm, and how many jobs it starts, where there need be no Slurm."""

import pytest

from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.cost import Cost
from rm_tension.launch.command import run
from rm_tension.launch.costs import costs_of, fitting_jobs, for_cpus, on_gpu
from rm_tension.launch.slurm import UNKNOWN, Slurm, needs, with_options
from samples import changed

PAPER = [
    "data@paper",
    "backbone@paper-gpt2-small",
    "train@paper-gpt2-small-mixed-0",
    "evaluate@paper-smollm2-1.7b-0",
]


def test_each_job_asks_for_time_and_memory_by_its_cost_and_for_a_gpu_where_it_computes():
    params = load_params()
    stages = [*PAPER, "train@mini-gpt2-small-mixed-0", "own"]
    assert on_gpu(params, stages) == {*PAPER[2:]}
    assert for_cpus(params, ["report@mini", stages[-2]])
    assert not any(for_cpus(params, ["report@mini", stage]) for stage in (PAPER[0], "own"))
    costs = costs_of(params, stages, has_gpu=True)
    assert costs.keys() == {*stages} - {"data@paper", "own"}
    stage = PAPER[-1]
    large = Cost(seconds=36_000.0, gpu_gb=40.0, memory_gb=20.0)
    asked = needs(stage, large, gpu=True)
    assert (asked["time"], asked["mem"], asked["gpus_per_node"]) == (2400, "30G", 1)
    unknown = needs("own", UNKNOWN, gpu=False)
    assert (unknown["time"], unknown["mem"], "gpus_per_node" in unknown) == (240, "8G", False)


@pytest.mark.parametrize(
    ("users", "gone"),
    [
        ({"mem": "64G"}, set()),
        ({"mem_per_cpu": "4G"}, {"mem"}),
        ({"gres": "gpu:a100:1"}, {"gpus_per_node"}),
        ({"gres": "lscratch:100"}, set()),
        ({"gpus": "1"}, {"gpus_per_node"}),
        ({"cpus_per_gpu": "8"}, {"cpus_per_task"}),
        ({"no_requeue": True, "exclusive": True}, {"requeue"}),
    ],
)
def test_the_users_options_put_ours_aside(users, gone):
    ours = needs("train@paper-gpt2-small-mixed-0", UNKNOWN, gpu=True)
    assert with_options(ours, users) == {k: v for k, v in ours.items() if k not in gone} | users


def test_without_a_gpu_no_more_jobs_start_than_memory_holds():
    assert fitting_jobs({"a": Cost(1.0, 0.0, 1e6), "b": Cost(1.0, 0.0, 0.1)}, cores=8) == 1
    assert fitting_jobs({"b": Cost(1.0, 0.0, 1e-6)}, cores=8) == 8
    assert fitting_jobs({}, cores=8) == 8


def test_a_backbone_that_the_estimate_does_not_know_costs_nobody_a_run():
    params = load_params()
    paper = params.profiles["paper"]
    gpt2 = paper.backbones["gpt2-small"]
    own = changed(gpt2, weights=changed(gpt2.weights, repo="somebody/else"))
    paper = changed(paper, backbones={**paper.backbones, "gpt2-small": own})
    params = changed(params, profiles={**params.profiles, "paper": paper})
    assert PAPER[2] not in costs_of(params, PAPER, has_gpu=True)
    assert on_gpu(params, PAPER) == {*PAPER[2:]}


def test_without_slurm_the_remedy_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="sbatch is not on the PATH: start the launcher where"):
        Slurm(1, {}, (), "", {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "slurm", "sbatch": ["=gpu"]}, "--sbatch =gpu: write KEY=VALUE, or KEY"),
        ({"executor": "slurm", "sbatch": ["time=1:00"]}, "time=1:00: write a number of minutes"),
        ({"executor": "slurm", "sbatch": ["job-name=a"]}, "finds its jobs again by it"),
        ({"prefix": "apptainer exec"}, "--prefix and --sbatch are for --executor slurm"),
        ({"jobs": 0}, "--jobs 0: must be at least 1"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        run("report@mini", **options)
