"""What docs/EXTEND.md adds is trained, measured and shown, and the paper's numbers stay as they are."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml

from rm_tension.activations.sums import load_activations, save_activations
from rm_tension.base.grid import Paths, Trio
from small_repository import git
from tiny_profile import make_tiny, run_stages, stages, tiny_params

pytestmark = pytest.mark.slow

BACKBONE = "gpt2-small"
ADDED = "hones"  # honest, honest-pairs, honest-bench and the task honesty
CURVES = {"hh_percents": {kind: [10, 30] for kind in ("random", "change", "magnitude")}}
PATHS, TRIO = Paths("mini"), Trio(BACKBONE, 0)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The tiny profile without the additions; nothing was run."""
    raw = tiny_params([BACKBONE])
    raw["profiles"]["mini"]["evaluate"] |= CURVES
    return make_tiny(tmp_path_factory, raw)


@pytest.fixture(scope="module")
def extended(tmp_path_factory, plain):
    """A copy with the document's diffs, in which all stages have run."""
    folder = tmp_path_factory.mktemp("extended") / "copy"
    subprocess.run(["git", "clone", "--quiet", str(plain), str(folder)], check=True)
    shutil.copy("params.yaml", folder)
    for diff in re.findall(r"```diff\n(.*?)```", Path("docs/EXTEND.md").read_text(), re.DOTALL):
        subprocess.run(["git", "apply"], cwd=folder, input=diff, text=True, check=True)
    raw = tiny_params([BACKBONE], folder / "params.yaml")
    source = raw["profiles"]["mini"]["data"]["source"]
    source["train_pairs"]["honest-base"], source["test_pairs"]["honest-base"] = 12, 4
    raw["profiles"]["mini"]["evaluate"] |= CURVES
    (folder / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "extended")
    lines = ["data", "tokens", *stages(BACKBONE, raw["grid"]["objectives"]), "analyse", "report"]
    run_stages(folder, lines, {})
    return folder


def test_what_was_added_is_scored_under_every_condition(extended):
    rewards = pd.read_parquet(extended / PATHS.rewards(TRIO))
    honest = rewards[rewards["objective"] == "honest"]
    assert set(honest["dataset"]) >= {"honest-pairs", "honest-bench", "reward-bench"}
    kinds = set(rewards.loc[rewards["objective"] == "helpful", "kind"])
    assert set(honest["kind"]) == kinds >= {"none", "all", "magnitude", "backbone"}
    assert "shared" not in kinds  # which is the mixed RM's
    bench = rewards[rewards["dataset"] == "honest-bench"]
    assert set(bench["objective"]) == {"helpful", "harmless", "mixed", "honest"}
    assert set(rewards[rewards["dataset"] == "honest-pairs"]["objective"]) == {"honest"}


def test_what_was_added_is_in_results_and_supplement(extended):
    results, report = extended / PATHS.results, extended / PATHS.reports
    accuracy = pd.read_csv(results / "accuracy.csv")
    assert {"honest"} < set(accuracy.loc[accuracy["task"] == "honesty", "objective"])
    neurons = pd.read_parquet(results / "neurons.parquet")
    assert "honest" in set(neurons["objective"])
    for number in ("S03", "S06", "S08", "S14", "S15", "S16"):
        assert "onest" in (report / "tables" / f"table_{number}.csv").read_text(), number
    assert "honesty" in (report / "tables" / "table_S16.csv").read_text()
    assert (report / "figures" / "figure_S03.svg").is_file()
    assert "Honest RM" in (report / "index.html").read_text()
    for number in ("01", "02", "10", "13", "14", "16"):
        assert ADDED not in (report / "tables" / f"table_{number}.csv").read_text(), number


def test_the_papers_numbers_are_those_without_what_was_added(extended, plain):
    """The same rewards and activations, analysed without the additions, give the same tables."""
    for part in ("runs", "models/mini/provenance", "data"):
        shutil.copytree(extended / part, plain / part, dirs_exist_ok=True)
    (plain / PATHS.history(TRIO.model("honest"))).unlink()
    tables = (PATHS.texts("test"), PATHS.texts("benchmarks"), PATHS.rewards(TRIO))
    for path in (*tables, PATHS.margins(TRIO)):
        (plain / path).parent.mkdir(parents=True, exist_ok=True)
        of_paper(pd.read_parquet(extended / path)).to_parquet(plain / path)
    activations = load_activations(extended / PATHS.activations(TRIO))
    activations.pop("honest")
    (plain / PATHS.activations(TRIO)).parent.mkdir(parents=True)
    save_activations(plain / PATHS.activations(TRIO), activations)
    run_stages(plain, ["analyse"], {})
    tables = sorted((plain / PATHS.results).rglob("*.csv"))
    assert len(tables) > 30
    for table in tables:
        expected = pd.read_csv(table)
        found = of_paper(pd.read_csv(extended / table.relative_to(plain)))
        keys = [name for name in expected if expected[name].dtype.kind != "f"]
        both = [rows.sort_values(keys, ignore_index=True) for rows in (found, expected)]
        pd.testing.assert_frame_equal(*both, obj=table.name)
    claims = [
        json.loads((root / PATHS.results / "claims.json").read_text()) for root in (extended, plain)
    ]
    assert claims[0] == claims[1]


def of_paper(table):
    """The rows that name nothing of what was added."""
    texts = table.select_dtypes(exclude="number").drop(
        columns=["answers", "prompt"], errors="ignore"
    )
    added = texts.apply(lambda column: column.astype(str).str.contains(ADDED))
    return table[~added.any(axis=1)]
