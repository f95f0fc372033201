"""`rm-tension mlflow`: what MLflow has of runs/ and results/ of two trios."""

import shutil

import psutil
import pytest
from mlflow import MlflowClient
from mlflow_server import fill, serve

from rm_tension.base.grid import Paths, Trio
from rm_tension.base.runs import machine_of
from runs_folder import make_steps, write_results, write_runs, write_training

pytestmark = pytest.mark.slow

LARGE, SMALL = Trio("gpt2-large", 0), Trio("smollm2-1.7b", 0)
LONG = 20_000  # steps
NAME = "100%20 who? a#b"  # an address cannot hold it as it is
CUT = 40  # bytes that are left of a damaged file


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A checkout with records, of which some came without those of the machine."""
    root = tmp_path_factory.mktemp("checkout") / NAME
    root.mkdir()
    shutil.copy("params.yaml", root)
    paths = write_runs(root, [LARGE, SMALL])
    write_results(paths, [LARGE, SMALL])
    write_training(paths, SMALL, "mixed", make_steps(LONG))
    machine_of(paths.run("train", "smollm2-1.7b-helpful-0")).unlink()
    (machine_of(paths.histories) / "smollm2-1.7b-helpful-0.jsonl").unlink()
    return root


@pytest.fixture
def checkout(original, printed, tmp_path):
    """A copy whose store was filled already."""
    return shutil.copytree(original, tmp_path / NAME)


@pytest.fixture(scope="module")
def printed(original):
    done = fill(original)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def client(original, printed, tmp_path_factory):
    return client_of(original, tmp_path_factory.mktemp("copy"))


def client_of(checkout, folder):
    """A client for a copy of the store, in a folder whose name an address can hold."""
    return MlflowClient(f"sqlite:///{shutil.copy(checkout / '.mlflow/mlflow.db', folder)}")


def runs_in(client):
    """The runs of the mini profile, by name."""
    experiment = client.get_experiment_by_name("rm-tension-mini").experiment_id
    return {run.info.run_name: run for run in client.search_runs([experiment])}


def history(client, run, metric):
    points = client.get_metric_history(run.info.run_id, metric)
    return [(point.step, point.value) for point in points]


def test_each_record_becomes_a_run(client, printed):
    assert printed == "mini: 13 runs\n"
    names = {"data"}
    for trio in (LARGE, SMALL):
        names |= {trio.model(objective).key for objective in ("helpful", "harmless", "mixed")}
        names |= {f"backbone-{trio.backbone}", f"activations-{trio.key}", f"evaluate-{trio.key}"}
    assert set(runs_in(client)) == names
    experiment = client.get_experiment_by_name("rm-tension-mini")
    assert "not the paper's numbers" in experiment.tags["mlflow.note.content"]


def test_a_training_has_its_parameters_tags_and_numbers(client):
    run = runs_in(client)["gpt2-large-mixed-0"]
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == pytest.approx(3500, abs=2)
    assert run.data.params["train.learning_rate"] == "0.001"
    assert run.data.params["train.betas"] == "[0.9, 0.999]"
    assert run.data.tags.items() >= {
        ("profile", "mini"),
        ("stage", "train"),
        ("backbone", "gpt2-large"),
        ("family", "gpt2"),
        ("objective", "mixed"),
        ("seed", "0"),
        ("trio", "gpt2-large-0"),
        ("git_commit", "0123456789ab+"),
        ("host", "node-7"),
        ("machine", "x86_64"),
        ("libraries.torch", "2.13.0"),
    }
    assert run.data.metrics.items() >= {
        ("run/steps", 30),
        ("run/peak_memory_mib", 500),
        ("accuracy/math-prm", 80),
        ("group/helpfulness", 80),
        ("hh/own", 80),
    }
    steps = make_steps(30)
    for name in ("loss", "accuracy", "learning_rate", "tokens_per_second"):
        expected = [(step["step"], step[name]) for step in steps]
        assert history(client, run, f"train/{name}") == expected
    assert history(client, run, "ablation/magnitude") == [(0, 80), (2, 78), (10, 75)]


def test_what_came_without_the_machine_is_shown_as_far_as_it_goes(client):
    run = runs_in(client)["smollm2-1.7b-helpful-0"]
    assert "host" not in run.data.tags
    assert len(history(client, run, "train/loss")) == 30
    assert not history(client, run, "train/tokens_per_second")


def test_a_long_training_has_fewer_points_from_the_first_to_the_last(client):
    run = runs_in(client)["smollm2-1.7b-mixed-0"]
    points = history(client, run, "train/loss")
    assert 500 < len(points) < 1_100
    assert [step for step, _ in (points[0], points[-1])] == [0, LONG - 1]
    assert run.data.metrics["train/loss"] == make_steps(LONG)[-1]["loss"]


def test_a_trio_has_what_its_mixed_model_retains(client):
    metrics = runs_in(client)["evaluate-smollm2-1.7b-0"].data.metrics
    assert metrics["retention/math-prm"] == 0.9
    assert metrics["retention/helpfulness"] == pytest.approx(0.9)


def test_each_training_has_its_reward_model(client):
    experiment = client.get_experiment_by_name("rm-tension-mini").experiment_id
    models = client.search_logged_models([experiment])
    assert len(models) == 6
    (model,) = (model for model in models if model.name == "smollm2-1_7b-mixed-0")
    assert model.status == "READY"
    assert model.source_run_id == runs_in(client)["smollm2-1.7b-mixed-0"].info.run_id
    assert model.params["dvc.path"] == str(Paths("mini").reward_model(SMALL.model("mixed")))
    assert {"hh/own": 80}.items() <= {point.key: point.value for point in model.metrics}.items()


def test_what_is_damaged_is_named_and_left_out_and_nothing_of_an_earlier_fill_stays(
    checkout, tmp_path
):
    paths = Paths("mini", checkout)
    paths.run("data").write_text("[]")
    damaged = [
        paths.run("train", "gpt2-large-helpful-0"),
        machine_of(paths.run("evaluate", "gpt2-large-0")),
        paths.histories / "gpt2-large-mixed-0.jsonl",
        machine_of(paths.histories) / "gpt2-large-harmless-0.jsonl",
    ]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:CUT])
    damaged.append(paths.results / "accuracy.csv")
    damaged[-1].write_text("objective\n")
    write_training(paths, SMALL, "harmless", make_steps(30, start=0.6))
    missing = paths.histories / "smollm2-1.7b-mixed-0.jsonl"
    missing.unlink()
    done = fill(checkout)
    assert done.returncode == 1
    assert done.stdout == "mini: 7 runs\n"
    lines = done.stderr.splitlines()
    assert len(lines) == 7
    for path in [paths.run("data"), *damaged, missing]:
        (line,) = (line for line in lines if f"left out: {path.relative_to(checkout)}:" in line)
        assert "`" in line  # a command that repairs it
    client = client_of(checkout, tmp_path)
    runs = runs_in(client)
    assert len(runs) == 7
    assert history(client, runs["smollm2-1.7b-harmless-0"], "train/loss")[0] == (0, 0.6)


def test_a_served_store_is_on_this_machine_only_and_not_filled_again(checkout):
    with serve(checkout) as (process, _):
        server = psutil.Process(process.pid)
        sockets = [
            connection
            for child in (server, *server.children(recursive=True))
            for connection in child.net_connections("inet")
        ]
        listening = {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}
        database = (checkout / ".mlflow/mlflow.db").stat().st_ino
        refused = fill(checkout)
        assert refused.returncode == 1
        assert "error: .mlflow: another `rm-tension mlflow`" in refused.stderr
        assert (checkout / ".mlflow/mlflow.db").stat().st_ino == database
