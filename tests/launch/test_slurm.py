"""The launcher on a real Slurm of two nodes, whose jobs outlive it, meet their time limit, lose memory and nodes."""

import re
import signal
import subprocess

import pytest
import yaml
from cluster import GPUS, LIMITS_MEMORY, NODES, Cluster
from toy import WHOLE, Toy

pytestmark = pytest.mark.slurm
CELLS = [f"middle-{cell}" for cell in Toy.cells]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def toy(cluster, tmp_path):
    return Toy(tmp_path / "toy")


def start(toy, *options):
    return toy.start("last", "--executor", "slurm", *(f"--sbatch={option}" for option in options))


def succeed(launcher):
    printed, _ = launcher.communicate()
    assert launcher.returncode == 0, printed


def fail(launcher):
    """Return what it printed."""
    printed, _ = launcher.communicate()
    assert launcher.returncode == 1
    return printed


def output(*command, folder=None):
    """What a command of Slurm prints."""
    how = {"capture_output": True, "text": True, "check": True}
    return subprocess.run(command, cwd=folder, **how).stdout.strip()


def job_of(toy, stage):
    """The id of its job and its node."""
    rows = output("squeue", "--noheader", "--format=%i|%N|%Z", f"--name={stage}").splitlines()
    (row,) = (row.split("|") for row in rows if row.endswith(f"|{toy.folder}"))
    return row[:2]


def test_each_job_has_a_gpu_of_its_own_and_the_prefix(toy):
    step = toy.folder / "step.py"
    names = ("SLURMD_NODENAME", "CUDA_VISIBLE_DEVICES", "PREFIX")
    told = "; ".join(f"{{os.environ['{name}']}}" for name in names)
    step.write_text(step.read_text().replace("{out.name} {value}", f"{{out.name}} {told}"))
    for cell in CELLS:
        toy.order(cell, "wait")
    options = ("--executor", "slurm", "--sbatch", "gpus-per-node=1", "--prefix", "env PREFIX=there")
    launcher = toy.start("last", *options)
    toy.wait_for(*(f"waits/{cell}" for cell in CELLS))
    for cell in CELLS:
        toy.release(cell)
    succeed(launcher)
    places = {tuple(toy.read(cell).splitlines()[-1].split()[1:]) for cell in CELLS}
    assert len(places) == len(CELLS)
    assert places <= {(f"{node};", f"{gpu};", "there") for node in NODES for gpu in range(GPUS)}
    assert "up to date" in toy.dvc("status")


def test_a_stage_of_a_subfolder_runs_there_and_is_found_again(toy):
    command = ["cd ..; python -m step out/own", "cat ../out/own ../out/own > own"]
    stage = {"cmd": command, "deps": ["../out/first"], "outs": ["own"]}
    (toy.folder / "sub").mkdir()
    (toy.folder / "sub" / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"own": stage}}))
    toy.order("own", "wait")
    launcher = toy.start("sub/dvc.yaml:own", "--executor", "slurm")
    toy.wait_for("waits/own")
    launcher.kill()
    launcher.communicate()
    left = "error: Slurm may be running jobs of this checkout: sub/dvc.yaml:own;"
    assert left in toy.launch("first")[1]
    launcher = toy.start("sub/dvc.yaml:own", "--executor", "slurm")
    toy.release("own")
    succeed(launcher)
    assert (toy.folder / "sub" / "own").read_text(encoding="utf-8") == "own 1\nown 1\n"
    assert toy.runs("own") == 1
    assert "up to date" in toy.dvc("status", "sub/dvc.yaml:own")


def test_a_job_that_fails_shows_its_error(toy):
    toy.order("middle-b", "fail")
    printed = fail(start(toy))
    assert "middle@b: failed: exit code 1: error: the toy broke\n" in printed
    assert "3 done, 1 failed, 1 skipped" in printed


@pytest.mark.parametrize("more", [(), ("no_requeue",)])  # after which the launcher submits it again
def test_at_the_time_limit_a_job_saves_its_state_and_goes_on(toy, more):
    toy.order("middle-a", "wait")
    launcher = start(toy, "time=1", "signal=B:USR2@50", *more)
    toy.wait_for("ended/middle-a")
    toy.release("middle-a")
    succeed(launcher)
    assert (toy.read("last"), toy.runs("middle-a"), toy.runs("middle-b")) == (WHOLE, 2, 1)


@pytest.mark.parametrize("partition", ["main", "scavenger"])  # which requeues, and cancels
def test_a_job_that_is_preempted_saves_its_state_and_goes_on(toy, partition):
    toy.order("middle-a", "wait")
    launcher = start(toy, f"partition={partition}")
    toy.wait_for("waits/middle-a", "out/middle-b", "out/middle-c")
    sbatch = ["sbatch", "--parsable", "--partition=urgent", "--nodes=2", "--exclusive"]
    wrapped = ["--output=/dev/null", "--wrap=touch waits/urgent; sleep 600"]
    urgent = output(*sbatch, *wrapped, folder=toy.folder)
    toy.wait_for("ended/middle-a", "waits/urgent")
    toy.release("middle-a")
    output("scancel", urgent)
    succeed(launcher)
    assert (toy.read("last"), toy.runs("middle-a")) == (WHOLE, 2)


def test_a_job_that_is_cancelled_has_failed(toy):
    toy.order("middle-a", "wait")
    launcher = start(toy)
    toy.wait_for("waits/middle-a")
    output("scancel", job_of(toy, "middle@a")[0])
    assert re.search(r"middle@a: failed: Slurm ended job \d+: CANCELLED", fail(launcher))
    assert toy.runs("middle-a") == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_launcher_finds_its_jobs_again(toy, how):
    for cell in ("middle-a", "middle-b"):
        toy.order(cell, "wait")
    launcher = start(toy)
    toy.wait_for("waits/middle-a", "waits/middle-b")
    launcher.send_signal(how)
    printed, _ = launcher.communicate()
    if how == signal.SIGINT:
        assert "interrupted: what has ended is recorded, Slurm's jobs go on and will be" in printed
    left = "error: Slurm may be running jobs of this checkout: middle@a, middle@b"
    assert left in toy.launch()[1]
    toy.release("middle-a")  # ends without a launcher
    toy.wait_for("out/middle-a")
    launcher = start(toy)
    toy.release("middle-b")
    succeed(launcher)
    assert toy.read("last") == WHOLE
    assert [toy.runs(name) for name in ("first", *CELLS, "last")] == [1] * 5


def test_a_job_that_is_found_is_not_taken_for_that_of_a_changed_setting(toy):
    toy.order("first", "wait")
    launcher = start(toy)
    toy.wait_for("waits/first")
    launcher.kill()
    launcher.communicate()
    toy.set_value(2)
    launcher = start(toy)
    toy.wait_for("ended/first")
    toy.release("first")
    succeed(launcher)
    assert toy.read("last") == WHOLE.replace("1\n", "2\n")
    assert toy.runs("first") == 2


@pytest.mark.skipif(not LIMITS_MEMORY, reason="no cgroups (version 1) that limit memory")
def test_a_job_that_lacks_memory_says_so(toy):
    toy.order("middle-c", "need memory")
    printed = fail(start(toy, "mem=300M"))
    assert re.search("middle@c: failed: (killed by signal 9|Slurm.*: OUT_OF_MEMORY)", printed)
    toy.release("middle-c")
    succeed(start(toy, "mem=300M"))
    assert toy.read("last") == WHOLE


def test_a_job_whose_node_dies_is_run_by_another(toy, cluster):
    toy.order("first", "wait")
    launcher = start(toy)
    toy.wait_for("waits/first")
    _, node = job_of(toy, "first")
    (toy.folder / "waits" / "first").unlink()
    cluster.kill_node(node)
    toy.wait_for("waits/first")
    cluster.start_node(node)
    toy.release("first")
    succeed(launcher)
    assert (toy.read("last"), toy.runs("first")) == (WHOLE, 2)


def test_what_sbatch_refuses_is_said(toy):
    printed = fail(start(toy, "partition=nowhere"))
    assert "error: first: sbatch refused the job: " in printed
    assert "nowhere" in printed
