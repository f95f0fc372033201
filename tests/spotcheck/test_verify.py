"""Whether the outputs of a run are the published ones, in the small repository in which all stages ran."""

import json
import shutil

import pandas as pd
import pytest

from checkout import dvc
from rm_tension import verify
from rm_tension.base.errors import UserError
from rm_tension.base.files import write_json
from rm_tension.base.grid import Paths, Trio
from small_repository import git

pytestmark = pytest.mark.slow

PATHS, TRIO = Paths("mini"), Trio("gpt2-small", 0)


@pytest.fixture
def tree(evaluated, tmp_path, monkeypatch):
    """A copy of the repository with DVC's cache, as the working directory."""
    folder = shutil.copytree(evaluated / "origin", tmp_path / "tree")
    monkeypatch.chdir(folder)
    return folder


def change_rewards():
    path = PATHS.rewards(TRIO)
    table = pd.read_parquet(path)
    table["reward"] += 1
    table.to_parquet(path, index=False)


def test_the_same_bits_are_one_sentence(tree):
    (line,) = verify.verify("mini", "HEAD")
    assert line.startswith("the same bits as published at HEAD, in ")


def test_the_first_stage_that_differs_is_named_with_both_machines_and_verdicts(tree):
    verify.main("mini", record=True)
    path = tree / "reports/runs/mini/machine.json"
    machine = json.loads(path.read_text())
    assert machine["machine"]
    assert machine["libraries"]["torch"]
    write_json(path, machine | {"cpu": "another CPU"})
    git(tree, "add", "reports/runs")
    git(tree, "commit", "--quiet", "--message", "machine")
    change_rewards()
    (PATHS.all_tokens / "other").touch()
    write_json(PATHS.reports / "metrics.json", {"claims": {"C1": "another verdict"}})
    dvc("commit", "--force", folder=tree)
    first, why, here, published, verdicts = verify.verify("mini", "HEAD")
    assert "tokens@mini is the first of 3 stages that differ" in first
    assert why.startswith("it read the same and wrote another tokens/mini: md5 ")
    assert "another CPU" in published
    assert "another CPU" not in here
    assert "cpu " in here
    assert verdicts == "other verdicts: C1 another verdict, published reproduced"


def test_a_pdf_of_another_latex_is_no_other_result(tree):
    (PATHS.reports / "artifact.pdf").write_bytes(b"%PDF of another LaTeX")
    dvc("commit", "--force", folder=tree)
    (line,) = verify.verify("mini", "HEAD")
    assert line.endswith("but for the PDF: another LaTeX made it of the same artifact.tex")


def test_what_is_not_up_to_date_is_refused_by_name(tree):
    change_rewards()
    message = rf"evaluate@mini-{TRIO.key}: not up to date, nor \d+ other stages"
    with pytest.raises(UserError, match=message):
        verify.verify("mini", "HEAD")


def test_nothing_published_is_said(tree):
    with pytest.raises(UserError, match="no stage of paper: nothing is published of it"):
        verify.verify("paper", "HEAD")
    with pytest.raises(UserError, match=r"git show nowhere:dvc\.lock: "):
        verify.verify("mini", "nowhere")
