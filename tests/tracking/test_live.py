"""Trainings that stream to a real MLflow server, and to servers that do not work."""

import shutil
import socket
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager

import pytest
from mlflow import MlflowClient
from mlflow_server import ENVIRONMENT, PATIENCE, serve

from rm_tension.tracking import live

pytestmark = pytest.mark.slow

PARAMETERS = {"profile": "mini", "backbone": "gpt2-small", "objective": "helpful"}
WARNING = "warning: MLflow does not get all steps"
STEPS = 24


@contextmanager
def down():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield port


@contextmanager
def silent():
    """Accept, and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def served(tmp_path):
    shutil.copy("params.yaml", tmp_path)
    with serve(tmp_path) as (process, address):
        yield process, address


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Let what `stream` sets end with the test."""
    for name in (live.URI, "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in live.LIMITS.items():
        monkeypatch.setenv(name, value)


# Streams steps FIRST to LAST of seed SEED; with a fourth argument it waits for a line before the
# last step.
STREAM = """
import sys
from rm_tension.tracking.live import stream
seed, first, last = map(int, sys.argv[1:4])
cell = {"profile": "mini", "backbone": "gpt2-small", "objective": "helpful", "seed": seed}
with stream(f"gpt2-small-helpful-{seed}", cell | {"train": {"learning_rate": 0.1}}) as on_step:
    for number in range(first, last):
        if sys.argv[4:] and number == last - 1:
            input("waits\\n")
        on_step({"step": number, "epoch": 0, "seconds": 0.1, "loss": number / 2, "accuracy": 1.0})
"""


def streaming(address, seed, *arguments):
    """A process that streams; the server is waited for, also on a slow machine."""
    environment = ENVIRONMENT | {live.URI: address, "MLFLOW_HTTP_REQUEST_TIMEOUT": str(PATIENCE)}
    command = [sys.executable, "-c", STREAM, str(seed), *map(str, arguments)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, env=environment, text=True, **pipes)


def test_trainings_that_stream_at_once_one_that_is_killed_and_one_whose_server_ends(served):
    server, address = served
    killed = streaming(address, 2, 0, 10, "wait")
    both = [streaming(address, seed, 0, STEPS) for seed in (0, 1)]
    assert [process.communicate() for process in both] == [("", "")] * 2
    assert killed.stdout.readline() == "waits\n"
    killed.kill()
    killed.communicate()
    assert streaming(address, 2, 5, STEPS).communicate() == ("", "")  # goes on from a saved state
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name("rm-tension-mini").experiment_id
    for seed in range(3):
        runs = client.search_runs([experiment], f"tags.seed = '{seed}'")
        assert runs[0].info.status == "FINISHED"
        assert len(runs) == 1 + (seed == 2)
        assert runs[0].data.params["train.learning_rate"] == "0.1"
        assert runs[0].data.tags.items() >= {("stage", "train"), ("objective", "helpful")}
        assert "git_commit" in runs[0].data.tags
        points = client.get_metric_history(runs[0].info.run_id, "train/loss")
        first = 5 if seed == 2 else 0
        assert {point.step: point.value for point in points} == {
            number: number / 2 for number in range(first, STEPS)
        }
        assert Counter(point.step for point in points).most_common(1)[0][1] == 1
    left_alone = streaming(address, 0, 0, STEPS, "wait")
    assert left_alone.stdout.readline() == "waits\n"
    server.terminate()
    server.wait()
    _, printed = left_alone.communicate("\n")
    assert left_alone.returncode == 0
    (line,) = printed.strip().splitlines()
    assert line.startswith(WARNING)


@pytest.mark.parametrize("broken", [down, silent])
def test_a_broken_server_costs_one_warning(broken, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with broken() as port:
        monkeypatch.setenv(live.URI, f"http://user:secret@127.0.0.1:{port}")
        with live.stream("gpt2-small-helpful-0", PARAMETERS | {"seed": 0}) as on_step:
            for number in range(STEPS):
                on_step({"step": number, "loss": 1.0})
    printed = capsys.readouterr().err
    assert printed.count(WARNING) == 1
    assert "secret" not in printed


def test_a_failed_training_is_raised_not_hidden(monkeypatch):
    def fail():
        with live.stream("gpt2-small-helpful-0", PARAMETERS | {"seed": 0}):
            raise RuntimeError("out of memory")

    with down() as port:
        monkeypatch.setenv(live.URI, f"http://127.0.0.1:{port}")
        with pytest.raises(RuntimeError, match="out of memory"):
            fail()
