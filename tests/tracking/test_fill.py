"""runs/ and results/ of two trios in MLflow's real sqlite store."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from rm_tension.base.grid import Paths, Trio
from rm_tension.tracking.command import free_port
from rm_tension.tracking.fill import fill
from rm_tension.tracking.names import KEY
from rm_tension.tracking.store import experiment_of, runs_of
from runs_folder import make_steps, write_record, write_results, write_runs, write_training

TRIOS = [Trio("gpt2-large", 0), Trio("smollm2-135m", 0)]
TITLE = "the miniature: not the paper's numbers"
PARAMS = Path("params.yaml").absolute()
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(PARAMS.parent / "src"),
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A store without runs, made once: making the tables takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def client(empty, tmp_path):
    shutil.copy(empty, tmp_path / "mlflow.db")
    return MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.fixture
def paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = write_runs(Path(), TRIOS)
    write_results(paths, TRIOS)
    return paths


def stored(client):
    """Everything that the UI would show, by key."""
    runs = runs_of(client, experiment_of(client, "mini"))
    by_key = {run.data.tags[KEY]: run for run in runs}
    assert len(by_key) == len(runs)
    return by_key


def refill(client, paths):
    """Fill from what can all be read; returns what was done."""
    problems = []
    done = fill(client, paths, TITLE, problems)
    assert not problems
    return done


def history(client, run, metric):
    return [
        (point.step, point.value) for point in client.get_metric_history(run.info.run_id, metric)
    ]


@pytest.mark.parametrize(
    ("measured", "lasted"), [({"seconds": 3.5}, 3.5), ({"seconds": 2, "steps_seconds": 50}, 50)]
)
def test_a_run_lasts_what_was_measured_also_before_an_interruption(measured, lasted, client, paths):
    path = paths.run("train", "gpt2-large-mixed-0")
    content = json.loads(path.read_text())
    content["metrics"] = {"steps": content["metrics"]["steps"], **measured}
    path.write_text(json.dumps(content))
    refill(client, paths)
    run = stored(client)["train-gpt2-large-mixed-0"]
    assert run.info.end_time - run.info.start_time == pytest.approx(1000 * lasted, abs=2)
    points = client.get_metric_history(run.info.run_id, "train/loss")
    assert points[-1].timestamp - points[0].timestamp == pytest.approx(
        1000 * lasted * 29 / 30, abs=2
    )


def test_a_training_has_all_its_numbers(client, paths):
    deps = [{"path": "tokens/mini", "md5": "a" * 32 + ".dir"}, {"path": "src/x.py", "md5": "b"}]
    record = paths.run("train", "gpt2-large-mixed-0")
    outs = [
        {"path": "models/mini/reward/gpt2-large-mixed-0", "md5": "c.dir"},
        {"path": str(record), "md5": hashlib.md5(record.read_bytes()).hexdigest()},  # noqa: S324
    ]
    lock = {"stages": {"train@mini-gpt2-large-mixed-0": {"deps": deps, "outs": outs}}}
    Path("dvc.lock").write_text(yaml.safe_dump(lock))
    assert refill(client, paths) == {"added": 15}
    runs = stored(client)
    run, parent = runs["train-gpt2-large-mixed-0"], runs["trio-gpt2-large-0"]
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert run.data.tags.items() >= {
        ("stage", "train"),
        ("family", "gpt2"),
        ("objective", "mixed"),
        ("trio", "gpt2-large-0"),
        ("git_commit", "0123456789ab+"),
        ("libraries.torch", "2.13.0"),
        ("host", "node-7"),
        ("dvc.stage", "train@mini-gpt2-large-mixed-0"),
        ("output", "models/mini/reward/gpt2-large-mixed-0"),
        ("output.md5", "c.dir"),
    }
    assert run.data.params["train.learning_rate"] == "0.001"
    assert run.data.params["weights.revision"] == "abc"
    assert run.data.params["data.source.kind"] == "miniature"
    assert [one.dataset.digest for one in run.inputs.dataset_inputs] == ["a" * 32 + ".dir"]
    assert [
        one.info.run_id
        for one in runs_of(
            client, experiment_of(client, "mini"), f"dataset.digest = '{'a' * 32}.dir'"
        )
    ] == [run.info.run_id]
    assert history(client, run, "train/loss") == [
        (step["step"], step["loss"]) for step in make_steps(30)
    ]
    assert history(client, run, "ablation/magnitude") == [(0, 80.0), (2, 78.0), (10, 75.0)]
    assert run.data.metrics["accuracy/math-prm"] == run.data.metrics["group/helpfulness"] == 80
    assert run.data.metrics["ablation_change/magnitude-10/harmlessness"] == -5
    assert parent.data.metrics["retention/helpfulness"] == pytest.approx(0.9)
    assert (
        "output" not in runs["train-gpt2-large-helpful-0"].data.tags
    )  # dvc.lock does not know that run
    experiment = experiment_of(client, "mini")
    assert "not the paper's numbers" in experiment.tags["mlflow.note.content"]
    views = [
        json.loads(value)
        for key, value in experiment.tags.items()
        if key.startswith("mlflow.sharedViewState.")
    ]
    assert len(views) == 5


def test_a_second_fill_adds_nothing(client, paths):
    refill(client, paths)
    before = stored(client)
    assert refill(client, paths) == {"unchanged": 15}
    assert {key: run.to_dictionary() for key, run in stored(client).items()} == {
        key: run.to_dictionary() for key, run in before.items()
    }


def test_a_changed_run_is_replaced_and_no_other(client, paths):
    refill(client, paths)
    before = stored(client)
    write_training(paths, TRIOS[0], "mixed", make_steps(30, start=0.6))
    assert refill(client, paths) == {"unchanged": 14, "replaced": 1}
    after = stored(client)
    changed = [key for key, run in after.items() if run.info.run_id != before[key].info.run_id]
    assert changed == ["train-gpt2-large-mixed-0"]
    assert history(client, after[changed[0]], "train/loss")[0] == (0, 0.6)


def test_results_that_come_later_are_added(client, paths):
    shutil.move(paths.results, "aside")
    refill(client, paths)
    shutil.move("aside", paths.results)
    assert refill(client, paths) == {"unchanged": 3, "replaced": 12}  # trios, and all below them
    run = stored(client)["train-gpt2-large-mixed-0"]
    assert run.data.metrics["accuracy/math-prm"] == 80
    assert len(history(client, run, "train/loss")) == 30


def test_a_fill_that_was_killed_is_made_whole(client, paths, monkeypatch):
    def kill(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(client, "set_terminated", kill)
        with pytest.raises(KeyboardInterrupt):
            refill(client, paths)
    assert refill(client, paths) == {"replaced": 1, "added": 14}
    assert len(stored(client)) == 15


def test_runs_without_files_here_are_kept(client, paths):
    refill(client, paths)
    for path in (
        paths.run("train", "gpt2-large-mixed-0"),
        paths.histories / "gpt2-large-mixed-0.jsonl",
    ):
        path.unlink()
    assert refill(client, paths) == {"unchanged": 14, "kept, without a readable file here": 1}
    assert len(stored(client)) == 15


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (
            lambda paths: paths.run("train", "gpt2-large-mixed-0").write_text('{"parameters": {'),
            "train-gpt2-large-mixed-0",
        ),
        (lambda paths: paths.run("data").write_text("[]"), "data.json"),
        (
            lambda paths: (paths.histories / "gpt2-large-mixed-0.jsonl").unlink(),
            "gpt2-large-mixed-0.jsonl",
        ),
        (
            lambda paths: cut(paths.histories / "gpt2-large-mixed-0.jsonl"),
            "gpt2-large-mixed-0.jsonl",
        ),
        (lambda paths: cut(paths.results / "accuracy.csv"), "accuracy.csv"),
        (lambda paths: Path("dvc.lock").write_text("a: ["), "dvc.lock"),
    ],
)
def test_what_is_damaged_is_named_and_left_out(client, paths, damage, named):
    damage(paths)
    problems = []
    done = fill(client, paths, TITLE, problems)
    assert len(problems) == 1
    assert named in problems[0]
    assert done["added"] >= 14


def cut(path):
    path.write_bytes(path.read_bytes()[:40])


def command(folder, *arguments):
    line = [sys.executable, "-m", "rm_tension", "mlflow", "--fill-only", *arguments]
    return subprocess.Popen(
        line, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_at_once_on_a_fresh_folder(paths, tmp_path):
    shutil.copy(PARAMS, tmp_path)
    both = [command(tmp_path), command(tmp_path)]
    outputs = [one.communicate()[0].strip() for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert sorted(outputs) == ["mini: 15 runs added", "mini: 15 runs unchanged"]
    assert len(stored(MlflowClient(f"sqlite:///{tmp_path}/.mlflow/mlflow.db"))) == 15
    cut(Paths("mini", tmp_path).run("data"))
    third = command(tmp_path)
    assert "data.json: cannot be read" in third.communicate()[1]
    assert third.returncode == 1


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to], ids=["symlink", "hardlink"])
def test_a_store_that_dvc_has_linked_to_its_cache_is_copied_first(link, empty, tmp_path):
    shutil.copy(PARAMS, tmp_path)
    write_runs(tmp_path, [])
    kept = tmp_path / ".dvc/cache/files/md5/b0/26324c6904b2a9cb4b88d6d61c81d1"
    for folder in (kept.parent, tmp_path / ".mlflow"):
        folder.mkdir(parents=True)
    shutil.copy(empty, kept)
    kept.chmod(0o444)
    link(tmp_path / ".mlflow" / "mlflow.db", kept)
    assert command(tmp_path).communicate()[0] == "mini: 1 runs added\n"
    assert kept.read_bytes() == empty.read_bytes()


@pytest.mark.parametrize("name", ["who?", "100%20", "a#b"])
def test_a_folder_may_have_a_name_that_no_address_can_hold(name, tmp_path):
    (tmp_path / name).mkdir()
    shutil.copy(PARAMS, tmp_path / name)
    paths = write_runs(tmp_path / name, [])
    write_record(paths.run("report"), {}, {})
    paths.reports.mkdir(parents=True)
    (paths.reports / "claims.md").write_text("C1")
    process = command(tmp_path / name)
    assert process.communicate()[0] == "mini: 2 runs added\n"
    (kept,) = (tmp_path / name / ".mlflow" / "artifacts").rglob("claims.md")
    assert kept.read_text() == "C1"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_server_that_is_down_is_named(paths, tmp_path):
    shutil.copy(PARAMS, tmp_path)
    process = command(tmp_path, "--store", f"http://user:secret@127.0.0.1:{free_port()}")
    said = process.communicate()[1]
    assert process.returncode == 1
    assert "error: the store does not work" in said
    assert "secret" not in said


# A child's maximum in rusage begins with that of the process that forked it, which is pytest's, so it measures itself.
MEASURED = """
import atexit, pathlib, re
from rm_tension import cli
status = pathlib.Path("/proc/self/status")
atexit.register(lambda: print(re.search(r"VmHWM.*", status.read_text())[0]))
cli.main()
"""


def test_long_trainings_fit_into_memory(paths, tmp_path):
    shutil.copy(PARAMS, tmp_path)
    for trio in TRIOS:
        write_training(paths, trio, "mixed", make_steps(20_000))
    line = [sys.executable, "-c", MEASURED, "mlflow", "--fill-only"]
    done = subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert int(re.search(r"VmHWM:\s*(\d+) kB", done.stdout)[1]) < 700_000
    client = MlflowClient(f"sqlite:///{tmp_path}/.mlflow/mlflow.db")
    run = stored(client)["train-gpt2-large-mixed-0"]
    steps = [step for step, _ in history(client, run, "train/margin")]
    assert steps[:513] == [*range(512), 512]
    assert steps[-1] == 19_999
    assert len(steps) < 2_000  # more than that no chart can show
    assert run.data.metrics["train/loss"] == make_steps(20_000)[-1]["loss"]
