"""Trainings that stream to a real MLflow server, and to servers that do not work."""

import json
import multiprocessing
import os
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from functools import partial

import pytest
import torch
from broken_servers import down, failing, gate, hanging
from mlflow.exceptions import MlflowException

from rm_tension.base.grid import Paths, Trio
from rm_tension.base.runs import record
from rm_tension.model.device import make_accelerator
from rm_tension.model.reward_model import new_reward_model
from rm_tension.tracking import live
from rm_tension.tracking.fill import fill
from rm_tension.tracking.records import KEY
from rm_tension.tracking.serve import free_port, server
from rm_tension.tracking.store import connect, experiment_of, runs_of
from rm_tension.train.training import Pairs, train
from samples import RECIPE, changed, make_backbone, random_items

TRIO = Trio("gpt2-small", 0)
STEPS = 24
WARNING = "warning: MLflow does not get all steps"
SYSTEM = "system/system_memory_usage_percentage"
PATIENCE = 300  # seconds; for a server that works, on a slow machine
CONFIG = changed(RECIPE, pairs_per_step=3, save_every_steps=5)


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    """`make mlflow`'s server."""
    folder, port = tmp_path_factory.mktemp("store"), free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        connect(f"sqlite:///{folder}/mlflow.db")
        with server(port, folder):
            yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return make_backbone("gpt2", tmp_path_factory.mktemp("backbone") / "gpt2")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """What `stream` sets ends with the test; system metrics come in time for it."""
    for name, value in live.REQUEST.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    monkeypatch.delenv(live.URI, raising=False)


@contextmanager
def patience():
    """Wait for a server longer than a training would, so that nothing is lost on a slow machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "SECONDS_AT_END", PATIENCE)
        patch.setattr(live, "REQUEST", live.REQUEST | {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(PATIENCE)})
        yield


def run_patiently(*arguments, **options):
    with patience():
        return run_stage(*arguments, **options)


def run_stage(root, backbone, objective, after=None):
    """What train/__main__.py does with a stream, on random pairs; `after`: by step, what to do after it."""
    paths, model = Paths("mini", root), TRIO.model(objective)
    parameters = {"profile": "mini", "backbone": model.backbone, "objective": objective, "seed": model.seed}
    pairs = Pairs([f"pair-{i}" for i in range(18)], random_items(0, 18))
    state = paths.state("train", model.key)
    with record(paths.run("train", model.key), parameters) as metrics, live.stream(model.key, parameters) as on_step:

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
            accelerator=make_accelerator(None),
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
    client = connect(uri)
    key = f"mini/train/{TRIO.model(objective).key}"
    (run,) = runs_of(client, experiment_of(client, "mini"), f"tags.`{KEY}` = '{key}'")
    return client, run


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(ValueError, MlflowException):  # there is no run yet, or no experiment
            if condition():
                return
        time.sleep(0.1)
    raise TimeoutError(condition)


def until_system_metrics(objective, since=0.0):
    """Wait until the server has what MLflow's own logger measured after a moment (s since 1970)."""

    def found():
        client, run = stored(os.environ[live.URI], objective)
        return any(one.timestamp > 1000 * since for one in client.get_metric_history(run.info.run_id, SYSTEM))

    until(found)


def fail():
    raise RuntimeError("killed")


def logged(uri, objective, metric="train/loss"):
    client, run = stored(uri, objective)
    return Counter(point.step for point in client.get_metric_history(run.info.run_id, metric))


def test_several_trainings_stream_at_once_and_the_fill_finds_them(uri, backbone, tmp_path, monkeypatch):
    monkeypatch.setenv(live.URI, uri)
    context = multiprocessing.get_context("spawn")
    objectives = ("helpful", "harmless", "mixed")
    processes = []
    for one in objectives:
        after = {STEPS - 1: partial(until_system_metrics, one)}
        processes.append(context.Process(target=run_patiently, args=(tmp_path, backbone, one, after)))
        processes[-1].start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    ids = {}
    for objective in objectives:
        _, run = stored(uri, objective)
        ids[objective] = run.info.run_id
        assert run.info.status == "FINISHED"
        assert run.data.params["objective"] == objective
        assert SYSTEM in run.data.metrics
        assert logged(uri, objective) == dict.fromkeys(range(STEPS), 1)
    outcome = fill(connect(uri), Paths("mini", tmp_path), "the miniature")
    assert outcome.runs == Counter(completed=3, added=1)
    for objective in objectives:
        _, run = stored(uri, objective)
        assert run.info.run_id == ids[objective]
        assert run.data.metrics["run/steps"] == STEPS
        assert logged(uri, objective, "train/gradient_norm") == dict.fromkeys(range(STEPS), 1)


def test_a_training_that_goes_on_continues_its_run(uri, backbone, tmp_path, monkeypatch):
    monkeypatch.setattr("test_live.TRIO", Trio("gpt2-small", 247))
    monkeypatch.setenv(live.URI, uri)
    with pytest.raises(RuntimeError):
        run_patiently(tmp_path, backbone, "helpful", {12: fail})
    _, run = stored(uri, "helpful")
    assert run.info.status == "FAILED"
    assert logged(uri, "helpful") == dict.fromkeys(range(13), 1)
    run_patiently(tmp_path, backbone, "helpful")  # from step 10, its last saved state
    _, same = stored(uri, "helpful")
    assert (same.info.run_id, same.info.status) == (run.info.run_id, "FINISHED")
    assert logged(uri, "helpful") == dict.fromkeys(range(STEPS), 1)


def test_a_training_that_begins_again_has_one_run(uri, backbone, tmp_path, monkeypatch):
    monkeypatch.setattr("test_live.TRIO", Trio("gpt2-small", 932))
    monkeypatch.setenv(live.URI, uri)
    with pytest.raises(RuntimeError):
        run_patiently(tmp_path, backbone, "helpful", {2: fail})  # no state was saved yet
    run_patiently(tmp_path, backbone, "helpful")
    assert logged(uri, "helpful") == dict.fromkeys(range(STEPS), 1)
    fill(connect(uri), Paths("mini", tmp_path), "the miniature")
    paths = Paths("mini", tmp_path)
    paths.state("train", TRIO.model("helpful").key).unlink()  # as the stage does
    run_patiently(tmp_path, backbone, "helpful")
    assert fill(connect(uri), paths, "the miniature").runs["completed"] == 1
    assert logged(uri, "helpful") == dict.fromkeys(range(STEPS), 1)


@pytest.mark.parametrize("broken", [down, hanging, failing])
def test_a_broken_server_changes_nothing(broken, backbone, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(live, "SECONDS_AT_END", PATIENCE)  # for the warning to come on a slow machine
    monkeypatch.setattr(live, "REQUEST", live.REQUEST | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1"})
    alone = run_stage(tmp_path / "alone", backbone, "helpful")
    with broken() as port:
        monkeypatch.setenv(live.URI, f"http://user:secret@127.0.0.1:{port}")
        watched = run_stage(tmp_path / "watched", backbone, "helpful")
    assert all(torch.equal(alone[name], watched[name]) for name in alone)
    said = capsys.readouterr().err
    assert said.count(WARNING) == 1
    assert "secret" not in said


def test_a_server_that_comes_back_gets_what_follows(uri, backbone, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("test_live.TRIO", Trio("gpt2-medium", 0))
    monkeypatch.setattr(live, "SECONDS_BETWEEN", 0.1)
    monkeypatch.setattr(live, "SECONDS_AFTER_FAILURE", 0.1)
    shut, failed, warn = threading.Event(), threading.Event(), live.Sender._warn
    monkeypatch.setattr(live.Sender, "_warn", lambda self, why: (warn(self, why), failed.set()))

    def until_shut():
        until(lambda: logged(uri, "mixed"))
        shut.set()

    def until_both_failed():
        assert failed.wait(PATIENCE)  # the sender, and then MLflow's own
        until(lambda: all(thread.name != "SystemMetricsMonitor" for thread in threading.enumerate()))
        shut.clear()

    def until_all_came():
        since = time.time()
        until(lambda: max(logged(uri, "mixed")) > 15)
        until_system_metrics("mixed", since)

    with gate(uri, shut) as port:
        monkeypatch.setenv(live.URI, f"http://127.0.0.1:{port}")
        run_patiently(tmp_path, backbone, "mixed", {7: until_shut, 15: until_both_failed, 20: until_all_came})
    assert capsys.readouterr().err.count(WARNING) == 1
    assert stored(uri, "mixed")[1].info.status == "FINISHED"
    assert fill(connect(uri), Paths("mini", tmp_path), "the miniature").runs["completed"] == 1
    assert logged(uri, "mixed") == dict.fromkeys(range(STEPS), 1)


def test_a_full_queue_drops_and_warns_once(monkeypatch, capsys):
    monkeypatch.setattr(live, "QUEUE", 2)
    sender = live.Sender("http://127.0.0.1:1", "x", {})  # never started, so nothing is taken out
    for number in range(5):
        sender.put({"step": number})
    assert capsys.readouterr().err.count("warning") == 1


def test_training_imports_no_mlflow():
    code = "import sys, rm_tension.train.__main__; sys.exit('mlflow' in sys.modules)"
    process = multiprocessing.get_context("spawn").Process(target=exec, args=(code,))
    process.start()
    process.join()
    assert process.exitcode == 0
