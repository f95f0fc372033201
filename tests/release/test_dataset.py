"""The data set holds the recorded outputs and no texts, and its card rebuilds results from it."""

import hashlib
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from analysed_run import REWARDS, read_lock, write_lock

from rm_tension.release import command as release
from rm_tension.release.dataset import dataset_files
from rm_tension.release.every_eval_ever import export
from rm_tension.release.profile import FinishedProfile

RESULTS = Path("results/mini")
KEYS = ["backbone", "seed", "objective", "kind", "percent"]


@pytest.mark.slow
def test_it_holds_the_outputs_byte_for_byte_and_no_texts(hub):
    release.push("someone")
    files = hub.repos["datasets/someone/rm-tension-mini"]
    place = "rewards/backbone=gpt2-small/seed=0/rewards.parquet"
    assert files[place] == Path(REWARDS).read_bytes()
    results = {f"results/{path.relative_to('results/mini')}" for path in RESULTS.rglob("*.*")}
    quoting = {"results/example.json", "results/explorer.json"}
    assert {name for name in files if name.startswith("results/")} == results - quoting
    for name in results - quoting:
        assert files[name] == (RESULTS / name.removeprefix("results/")).read_bytes()
    Path("items.parquet").write_bytes(files["items.parquet"])
    items = pd.read_parquet("items.parquet")
    assert [*items] == ["dataset", "subset", "item_id", "n_chosen", "task", "sha256"]
    assert items["task"].tolist() == ["safety", "chat", ""]
    texts = '["How?", "a", "b", "c", "d"]'
    assert items["sha256"][0] == hashlib.sha256(texts.encode()).hexdigest()


@pytest.mark.slow
def test_a_trio_that_is_not_evaluated_is_left_out(analysed, tmp_path):
    folder = analysed()
    stages = read_lock(folder)
    del stages["evaluate@mini-gpt2-small-0"]
    write_lock(folder, stages)
    run = FinishedProfile.open("mini")
    files = dataset_files(run)
    assert not [name for name in files if name.startswith("rewards/")]
    assert b"of the 0 reward models" in files["README.md"]
    export(run, tmp_path / "export", "0.1.0", 0)
    assert not (tmp_path / "export").exists()


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    """The data set of what `make mini` made, in a folder."""
    folder = tmp_path_factory.mktemp("dataset")
    for name, content in dataset_files(FinishedProfile.open("mini")).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            shutil.copyfile(content, path)
    return folder


@pytest.mark.pipeline
def test_the_cards_snippets_give_the_numbers_of_results(miniature, monkeypatch):
    monkeypatch.chdir(miniature)
    snippets = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL)
    made: dict[str, object] = {}
    exec("\n".join(snippets), made)  # noqa: S102
    accuracy = pd.read_csv("results/accuracy.csv").set_index([*KEYS, "task"])["accuracy"]
    assert_equal(made["accuracy"].drop("", level="task"), accuracy, 1e-6)
    hh = pd.read_csv("results/hh_accuracy.csv").query("subset != 'own'")
    assert_equal(made["hh_accuracy"], hh.set_index([*KEYS, "subset"])["accuracy"], 1e-6)
    whole = pd.read_csv("results/retention.csv").query("kind == 'none'")
    whole = whole.set_index(["backbone", "seed", "task"])["retention"]
    assert_equal(made["retention"].drop("", level="task"), whole, 1e-8)


def assert_equal(ours, results, tolerance):
    """Compare two series by their index; a CSV has ten digits."""
    assert len(ours) == len(results) > 0
    ours.index = pd.MultiIndex.from_tuples([tuple(map(str, key)) for key in ours.index])
    results.index = pd.MultiIndex.from_tuples([tuple(map(str, key)) for key in results.index])
    np.testing.assert_allclose(ours[results.index], results, atol=tolerance)


@pytest.mark.pipeline
def test_the_card_defines_the_columns_of_each_file_that_the_viewer_shows(miniature):
    text = (miniature / "README.md").read_text()
    configurations = yaml.safe_load(text.split("---\n")[1])["configs"]
    assert {one["config_name"] for one in configurations} >= {"rewards", "items", "neurons"}
    rows = text.split("## Columns\n")[1].split("\n## ")[0].splitlines()
    defined = {name for row in rows for name in row.strip("| ").split(" | ")[0].split(", ")}
    for one in configurations:
        paths = list(miniature.glob(one["data_files"]))
        assert paths
        read = pd.read_csv if paths[0].suffix == ".csv" else pd.read_parquet
        assert set(read(os.fspath(paths[0]))) <= defined, one
