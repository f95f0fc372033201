"""After `dvc repro report@mini`: what the miniature plants is found, and DVC keeps its promises."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import yaml

from checkout import clone, dvc, serve
from rm_tension.base.config import load_params
from rm_tension.base.grid import Paths, models, trios
from rm_tension.base.lockfile import file_md5
from rm_tension.paper.tasks import TASKS

pytestmark = pytest.mark.pipeline
PATHS = Paths("mini", Path.cwd())
GRID = load_params().grid


@pytest.fixture(scope="module")
def accuracy():
    """Mean accuracy over all models of an objective: rows tasks, columns objectives."""
    table = pd.read_csv(PATHS.results / "accuracy.csv")
    whole = table[table["kind"] == "none"]
    return whole.groupby(["task", "objective"])["accuracy"].mean().unstack()


def test_every_model_of_the_grid_is_there_and_scored():
    assert len(list(models(GRID, "mini"))) == 54
    for model in models(GRID, "mini"):
        assert (PATHS.reward_model(model) / "model.safetensors").is_file()
        assert PATHS.run("train", model.key).is_file()
    for trio in trios(GRID, "mini"):
        assert PATHS.activations(trio).is_file()
        assert PATHS.rewards(trio).is_file()
    assert not [
        path
        for path in Path("models/mini").rglob("*")
        if path.suffix in {".bin", ".pt", ".pkl", ".pth"}
    ]


def test_single_objective_models_prefer_what_their_objective_plants(accuracy):
    for task in (
        "alpacaeval-easy",
        "alpacaeval-hard",
        "mt-bench-easy",
        "mt-bench-med",
        "xstest-should-respond",
    ):
        assert accuracy.loc[task, "helpful"] > 65 > 35 > accuracy.loc[task, "harmless"], task
    for task in ("refusals-dangerous", "refusals-offensive", "donotanswer", "xstest-should-refuse"):
        assert accuracy.loc[task, "harmless"] > 65 > 35 > accuracy.loc[task, "helpful"], task


def test_the_mixed_models_are_torn(accuracy):
    """The mean over each group: below the objective's own models, above the other's (METHOD.md section 7, C1)."""
    helpful_wins = [
        task.key
        for task in TASKS
        if accuracy.loc[task.key, "helpful"] > accuracy.loc[task.key, "harmless"]
    ]
    harmless_wins = [task.key for task in TASKS if task.key not in helpful_wins]
    for tasks, own, other in (
        (helpful_wins, "helpful", "harmless"),
        (harmless_wins, "harmless", "helpful"),
    ):
        means = accuracy.loc[tasks].mean()
        assert means[other] < means["mixed"] < means[own]


def test_no_task_is_trivial_and_seeds_differ():
    table = pd.read_csv(PATHS.results / "accuracy.csv")
    whole = table[table["kind"] == "none"]
    means = whole.groupby(["task", "objective"])["accuracy"].mean()
    assert means.between(0, 100, inclusive="neither").all()
    spread = whole.groupby(["backbone", "objective", "task"])["accuracy"].std(ddof=0)
    assert (spread > 0).mean() > 0.9


def test_a_second_run_does_nothing_and_the_status_is_clean():
    assert "Running stage" not in dvc("repro", "--dry", "report@mini")
    assert "up to date" in dvc("status", "--with-deps", "report@mini")


@pytest.fixture(scope="module", params=["http", "s3"])
def remote(request, tmp_path_factory):
    """A DVC remote to which what the pipeline made was pushed: URL, settings, and the list of its HTTP requests."""
    requests = []
    if request.param == "s3":
        bucket = request.getfixturevalue("s3")
        url, settings = (
            f"s3://{bucket.name}/store",
            {"endpointurl": bucket.meta.client.meta.endpoint_url},
        )
        push(tmp_path_factory, url, **settings)
        yield url, settings, requests
    else:
        folder = tmp_path_factory.mktemp("remote")
        push(tmp_path_factory, folder)
        with serve(folder, requests) as url:
            yield url, {}, requests


def push(tmp_path_factory, url, **settings):
    dvc(
        "push",
        "--with-deps",
        "report@mini",
        folder=clone(tmp_path_factory, url, share_cache=True, **settings),
    )


def test_a_clean_clone_pulls_the_results_and_renders_the_same_report(remote, tmp_path_factory):
    url, settings, requests = remote
    folder = clone(tmp_path_factory, url, **settings)
    shutil.rmtree(folder / "reports" / "mini")
    touch_the_report_code(
        folder
    )  # or DVC finds nothing to do, and does not mind that the report is missing
    dvc("repro", "--pull", "--allow-missing", "report@mini", folder=folder)
    assert contents(folder / "reports" / "mini") == contents(PATHS.reports)
    assert contents(folder / "results" / "mini") == contents(PATHS.results)
    asked = {path.removeprefix("/files/md5/").replace("/", "") for _, path in requests}
    assert bool(asked) == url.startswith("http")
    fetched = {path.parent.name + path.name for path in folder.glob(".dvc/cache/files/md5/*/*")}
    assert not md5s_of_weights() & (asked | fetched)
    assert not (folder / "models").exists()


def md5s_of_weights():
    """Of all backbones and reward models."""
    md5s = {file_md5(path) for path in Path("models/mini").rglob("*.safetensors")}
    assert len(md5s) == 60
    return md5s


def touch_the_report_code(folder):
    with (folder / "src/rm_tension/report/latex.py").open("a") as file:
        file.write("# touched\n")


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A clone with all that the pipeline made; tests that change a file of it put it back."""
    folder = clone(tmp_path_factory, share_cache=True)
    dvc("checkout", "--with-deps", "report@mini", folder=folder)
    assert changed_stages(folder) == set()
    return folder


@contextmanager
def changed(path):
    """Put the file back after the block."""
    before = path.read_bytes()
    try:
        yield path
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(
    ("section", "key", "value", "stages"),
    [
        ("evaluate", "task_percent", 12, {"evaluate", "report"}),
        ("activations", "max_pairs", 10, {"activations", "report"}),
        ("train", "learning_rate", 0.5, {"train", "report"}),
        ("tokens", "max_length", 512, {"tokens", "backbone", "report"}),
        ("data", "max_items_per_task", 5, {"data", "report"}),
    ],
)
def test_a_changed_parameter_touches_only_what_depends_on_it(checkout, section, key, value, stages):
    with changed(checkout / "params.yaml") as params:
        raw = yaml.safe_load(params.read_text())
        raw["profiles"]["mini"][section][key] = value
        params.write_text(yaml.safe_dump(raw))
        assert changed_stages(checkout) == stages


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("report/latex.py", {"report"}),  # a table
        ("analyse/claims.py", {"analyse", "report"}),  # a claim
        ("paper/tasks.csv", {"data", "analyse", "report"}),  # a task
        ("data/sources.py", {"data", "report"}),  # a benchmark; the report has the estimated cost
        ("tokens/encode.py", {"tokens"}),
        ("evaluate/selection.py", {"evaluate", "analyse", "report"}),
        ("evaluate/scores.py", {"evaluate", "analyse", "report"}),  # a neuron score
        ("evaluate/controls.py", {"evaluate", "analyse", "report"}),  # a control
        ("backbone/neurons.py", {"backbone", "activations", "evaluate"}),  # the neurons
        ("train/training.py", {"train"}),  # a loss
        ("activations/stats.py", {"activations"}),
        ("model/rows.py", {"backbone", "train", "activations", "evaluate"}),  # a faster attention
        ("base/config.py", set()),
        ("tracking/live.py", set()),
        ("score/loading.py", set()),
        ("preflight.py", set()),
    ],
)
def test_a_changed_file_touches_only_what_is_made_with_it(checkout, file, stages):
    with changed(checkout / "src/rm_tension" / file) as source:
        source.write_bytes(source.read_bytes() + b"# touched\n")
        assert changed_stages(checkout) == stages


def test_another_template_for_the_benchmarks_trains_nothing_again(tmp_path_factory):
    folder = clone(tmp_path_factory, share_cache=True)
    dvc("checkout", "--with-deps", "report@mini", folder=folder)
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("Human:{prompt}", "User:{prompt}"))
    dvc("repro", "--single-item", "tokens@mini", folder=folder)
    assert changed_stages(folder) == {"evaluate", "report"}  # the report shows the settings


def changed_stages(folder):
    """The kinds of stage of the mini profile whose own dependencies changed, by `dvc status`."""
    listed = dvc("status", "--with-deps", "report@mini", folder=folder).splitlines()
    names = [
        line.strip(": ")
        for line in listed
        if line.endswith(":") and not line.startswith((" ", "\t"))
    ]
    return {name.split("@")[0] for name in names}
