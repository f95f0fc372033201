"""After `dvc repro report@mini`: what the miniature plants is found, and DVC keeps its promises."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from checkout import clone, dvc
from rm_tension.config import load_params
from rm_tension.data.tasks import TASKS
from rm_tension.grid import Paths, models, trios

pytestmark = pytest.mark.pipeline
PATHS = Paths("mini", Path.cwd())
GRID = load_params().grid


@pytest.fixture(scope="module")
def accuracy():
    """Mean accuracy over all models of an objective: rows tasks, columns objectives."""
    table = pd.read_csv(PATHS.results / "accuracy.csv")
    whole = table[table["condition"] == "none"]
    return whole.groupby(["task", "objective"])["accuracy"].mean().unstack()


def test_every_model_of_the_grid_is_there_and_scored():
    assert len(list(models(GRID))) == 54
    for model in models(GRID):
        assert (PATHS.reward_model(model) / "model.safetensors").is_file()
        assert PATHS.run("train", model.key).is_file()
    for trio in trios(GRID):
        assert PATHS.activations(trio).is_file()
        assert PATHS.rewards(trio).is_file()
    assert not [path for path in Path("models/mini").rglob("*") if path.suffix in {".bin", ".pt", ".pkl", ".pth"}]


def test_single_objective_models_prefer_what_their_objective_plants(accuracy):
    for task in ("alpacaeval-easy", "alpacaeval-hard", "mt-bench-easy", "mt-bench-med", "xstest-should-respond"):
        assert accuracy.loc[task, "helpful"] > 65 > 35 > accuracy.loc[task, "harmless"], task
    for task in ("refusals-dangerous", "refusals-offensive", "donotanswer", "xstest-should-refuse"):
        assert accuracy.loc[task, "harmless"] > 65 > 35 > accuracy.loc[task, "helpful"], task


def test_the_mixed_models_are_torn(accuracy):
    """The mean over each group: below the objective's own models, above the other's (METHOD.md section 7, C1)."""
    helpful_wins = [
        task.key for task in TASKS if accuracy.loc[task.key, "helpful"] > accuracy.loc[task.key, "harmless"]
    ]
    harmless_wins = [task.key for task in TASKS if task.key not in helpful_wins]
    for tasks, own, other in ((helpful_wins, "helpful", "harmless"), (harmless_wins, "harmless", "helpful")):
        means = accuracy.loc[tasks].mean()
        assert means[other] < means["mixed"] < means[own]


def test_no_task_is_trivial_and_seeds_differ():
    table = pd.read_csv(PATHS.results / "accuracy.csv")
    whole = table[table["condition"] == "none"]
    means = whole.groupby(["task", "objective"])["accuracy"].mean()
    assert means.between(0, 100, inclusive="neither").all()
    spread = whole.groupby(["backbone", "objective", "task"])["accuracy"].std(ddof=0)
    assert (spread > 0).mean() > 0.9


def test_a_second_run_does_nothing_and_the_status_is_clean():
    assert "Running stage" not in dvc("repro", "--dry", "report@mini")
    assert "up to date" in dvc("status", "--with-deps", "report@mini")


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    """A DVC remote that holds what the pipeline made."""
    folder = tmp_path_factory.mktemp("remote")
    dvc("push", "--with-deps", "report@mini", folder=clone(tmp_path_factory, folder, share_cache=True))
    return folder


def test_a_clean_clone_pulls_the_results_and_renders_the_same_report(remote, tmp_path_factory):
    folder = clone(tmp_path_factory, remote)
    shutil.rmtree(folder / "reports" / "mini")
    dvc("pull", "results/mini", folder=folder)
    dvc("repro", "--single-item", "report@mini", folder=folder)
    assert not (folder / "models" / "mini" / "reward").exists()
    assert contents(folder / "reports" / "mini") == contents(PATHS.reports)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("section", "key", "value", "stages"),
    [
        ("evaluate", "task_percent", 12, {"evaluate"}),
        ("activations", "max_pairs", 10, {"activations"}),
        ("train", "learning_rate", 0.5, {"train", "report"}),
        ("tokens", "max_length", 512, {"tokens", "backbone", "report"}),
    ],
)
def test_a_changed_parameter_touches_only_what_depends_on_it(tmp_path_factory, section, key, value, stages):
    folder = clone(tmp_path_factory, share_cache=True)
    dvc("checkout", "--with-deps", "report@mini", folder=folder)
    assert changed_stages(folder) == set()
    raw = yaml.safe_load((folder / "params.yaml").read_text())
    raw["profiles"]["mini"][section][key] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))
    assert changed_stages(folder) == stages


def test_touching_the_report_code_touches_only_the_report(tmp_path_factory):
    folder = clone(tmp_path_factory, share_cache=True)
    dvc("checkout", "--with-deps", "report@mini", folder=folder)
    with (folder / "src/rm_tension/report/latex.py").open("a") as file:
        file.write("# touched\n")
    assert changed_stages(folder) == {"report"}


def changed_stages(folder):
    """The kinds of stage of the mini profile whose own dependencies changed, by `dvc status`."""
    listed = dvc("status", "--with-deps", "report@mini", folder=folder).splitlines()
    names = [line.strip(": ") for line in listed if line.endswith(":") and not line.startswith((" ", "\t"))]
    return {name.split("@")[0] for name in names}
