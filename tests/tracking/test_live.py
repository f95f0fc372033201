"""Trainings that stream to a real MLflow server, and to servers that do not work."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter

import pytest
import torch
from broken_servers import down, failing, gate, hanging
from mlflow import MlflowClient
from mlflow_ui import mlflow

from rm_tension.base.grid import Paths, Trio
from rm_tension.base.runs import record
from rm_tension.model.device import Budget, make_accelerator
from rm_tension.model.reward_model import new_reward_model
from rm_tension.tracking import live
from rm_tension.tracking.fill import fill
from rm_tension.tracking.names import KEY
from rm_tension.tracking.store import experiment_of, runs_of
from rm_tension.train.training import Pairs, train
from samples import RECIPE, changed, make_backbone, random_items

TRIO = Trio("gpt2-small", 0)
STEPS = 24
WARNING = "warning: MLflow does not get all steps"
PATIENCE = 300  # seconds; for a server that works, on a slow machine
CONFIG = changed(RECIPE, pairs_per_step=3)


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    """`make mlflow`'s server."""
    folder = tmp_path_factory.mktemp("store")
    shutil.copy("params.yaml", folder)
    with mlflow(folder) as address:
        yield address.partition("/#/")[0]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return make_backbone("gpt2", tmp_path_factory.mktemp("backbone") / "gpt2")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """What `stream` sets ends with the test; a server that works is waited for, also on a slow machine."""
    for name, value in live.REQUEST.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(
        live, "REQUEST", live.REQUEST | {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(PATIENCE)}
    )
    monkeypatch.delenv(live.URI, raising=False)


def in_a_process(*arguments):
    """Run a stage and exit as a stage does: only then is all sent."""
    process = multiprocessing.get_context("spawn").Process(target=_patiently, args=arguments)
    process.start()
    return process


def _patiently(*arguments):
    live.REQUEST["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(PATIENCE)
    run_stage(*arguments)


def run_stage(root, backbone, objective, after=None):
    """What train/stage.py does with a stream, on random pairs; `after`: by step, what to do after it."""
    paths, model = Paths("mini", root), TRIO.model(objective)
    parameters = {
        "profile": "mini",
        "backbone": model.backbone,
        "objective": objective,
        "seed": model.seed,
    }
    pairs = Pairs([f"pair-{i}" for i in range(18)], random_items(0, 18))
    state = paths.state("train", model.key)
    with (
        record(paths.run("train", model.key), parameters) as metrics,
        live.stream(model.key, parameters) as on_step,
    ):

        def watch(step):
            on_step(step)
            (after or {}).get(step["step"], lambda: None)()

        reward_model = new_reward_model(backbone, 0, CONFIG.head_std, CONFIG.weights)
        history = train(
            reward_model,
            pairs,
            CONFIG,
            epochs=4,
            seed=0,
            accelerator=make_accelerator("float32"),
            budget=Budget(CONFIG.tokens_per_micro_batch),
            state=state,
            progress=model.key,
            on_step=watch,
        )
        metrics["steps"] = len(history)
        paths.histories.mkdir(parents=True, exist_ok=True)
        paths.history(model).write_text("".join(json.dumps(step) + "\n" for step in history))
    return reward_model.state_dict()


def stored(uri, objective):
    """The only run of a training that the server has."""
    client = MlflowClient(uri)
    key = f"train-{TRIO.model(objective).key}"
    (run,) = runs_of(client, experiment_of(client, "mini"), f"tags.`{KEY}` = '{key}'")
    return client, run


def fail():
    raise RuntimeError("killed")


def logged(uri, objective, metric="train/loss"):
    client, run = stored(uri, objective)
    return Counter(point.step for point in client.get_metric_history(run.info.run_id, metric))


def test_several_trainings_stream_at_once_and_the_fill_makes_them_whole(
    uri, backbone, tmp_path, monkeypatch
):
    monkeypatch.setenv(live.URI, uri)
    objectives = ("helpful", "harmless", "mixed")
    processes = [in_a_process(tmp_path, backbone, objective) for objective in objectives]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    for objective in objectives:
        _, run = stored(uri, objective)
        assert run.info.status == "FINISHED"
        assert run.data.params["objective"] == objective
        assert logged(uri, objective) == dict.fromkeys(range(STEPS), 1)
    assert fill(MlflowClient(uri), Paths("mini", tmp_path), "the miniature", []) == Counter(
        replaced=3, added=1
    )
    for objective in objectives:
        _, run = stored(uri, objective)
        assert run.data.metrics["run/steps"] == STEPS
        assert logged(uri, objective, "train/gradient_norm") == dict.fromkeys(range(STEPS), 1)


def test_a_training_that_was_interrupted_has_one_run_and_the_fill_all_its_steps(
    uri, backbone, tmp_path, monkeypatch
):
    monkeypatch.setattr("test_live.TRIO", Trio("gpt2-small", 247))
    monkeypatch.setenv(live.URI, uri)
    with pytest.raises(RuntimeError):
        run_stage(tmp_path, backbone, "helpful", {12: fail})
    assert stored(uri, "helpful")[1].info.status == "FAILED"
    run_stage(tmp_path, backbone, "helpful")  # from step 10, its last saved state
    assert stored(uri, "helpful")[1].info.status == "FINISHED"
    fill(MlflowClient(uri), Paths("mini", tmp_path), "the miniature", [])
    assert logged(uri, "helpful") == dict.fromkeys(range(STEPS), 1)


def test_a_run_that_is_being_trained_again_survives_a_fill(uri, backbone, tmp_path, monkeypatch):
    monkeypatch.setattr("test_live.TRIO", Trio("gpt2-small", 932))
    monkeypatch.setenv(live.URI, uri)
    run_stage(tmp_path, backbone, "helpful")
    paths = Paths("mini", tmp_path)
    paths.state("train", TRIO.model("helpful").key).unlink(missing_ok=True)  # as the stage does
    run_stage(
        tmp_path,
        backbone,
        "helpful",
        {3: lambda: fill(MlflowClient(uri), paths, "the miniature", [])},
    )
    client = MlflowClient(uri)
    runs = runs_of(
        client, experiment_of(client, "mini"), f"tags.`{KEY}` = 'train-gpt2-small-helpful-932'"
    )
    assert sorted(run.info.status for run in runs) == [
        "FINISHED",
        "FINISHED",
    ]  # the old one, and what was streamed
    fill(client, paths, "the miniature", [])
    assert stored(uri, "helpful")[1].info.status == "FINISHED"


@pytest.mark.parametrize("broken", [down, hanging, failing])
def test_a_broken_server_changes_nothing(broken, backbone, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(live, "REQUEST", live.REQUEST | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1"})
    alone = run_stage(tmp_path / "alone", backbone, "helpful")
    with broken() as port:
        monkeypatch.setenv(live.URI, f"http://user:secret@127.0.0.1:{port}")
        watched = run_stage(tmp_path / "watched", backbone, "helpful")
    assert all(torch.equal(alone[name], watched[name]) for name in alone)
    said = capsys.readouterr().err
    assert said.count(WARNING) == 1
    assert "secret" not in said


def test_a_server_that_breaks_meanwhile_is_warned_of_once(
    uri, backbone, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("test_live.TRIO", Trio("gpt2-medium", 0))
    shut = threading.Event()
    with gate(uri, shut) as port:
        monkeypatch.setenv(live.URI, f"http://127.0.0.1:{port}")
        run_stage(tmp_path, backbone, "mixed", {7: shut.set})
        shut.clear()
    assert (
        capsys.readouterr().err.count(WARNING) == 1
    )  # at the latest at the end, which is one request
    fill(MlflowClient(uri), Paths("mini", tmp_path), "the miniature", [])
    assert logged(uri, "mixed") == dict.fromkeys(range(STEPS), 1)


# As the train stage, which does not import mlflow before it streams; it waits for a line once the server has its run.
STREAMS = """
import sys
from rm_tension.tracking import live
from rm_tension.tracking.names import STEP_METRICS
live.REQUEST["MLFLOW_HTTP_REQUEST_TIMEOUT"] = sys.argv[1]
with live.stream("gpt2-medium-helpful-0", {"profile": "mini"}) as on_step:
    input("started\\n")
    for number in range(9):
        on_step({"step": number, **dict.fromkeys(STEP_METRICS, 1.0)})
"""


def test_a_fresh_process_says_nothing_but_the_one_warning(uri):
    shut = threading.Event()
    with gate(uri, shut) as port:
        environment = os.environ | {live.URI: f"http://127.0.0.1:{port}"}
        line = [sys.executable, "-c", STREAMS, str(PATIENCE)]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with subprocess.Popen(line, env=environment, text=True, **pipes) as process:
            assert process.stdout.readline() == "started\n"
            shut.set()
            said = process.communicate("go on\n")[1]
    assert process.returncode == 0
    (words,) = said.strip().splitlines()
    assert words.startswith(WARNING)


def test_training_imports_no_mlflow():
    code = "import sys, rm_tension.train.stage; sys.exit('mlflow' in sys.modules)"
    process = multiprocessing.get_context("spawn").Process(target=exec, args=(code,))
    process.start()
    process.join()
    assert process.exitcode == 0
