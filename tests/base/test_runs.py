"""The commit that run records name, and the code that interrupted work belongs to."""

import pytest

from rm_tension.base.runs import code, git_commit
from small_repository import git


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "--quiet")
    (tmp_path / "reports").mkdir()
    for name in ("code.py", "dvc.lock", "reports/claims.md"):
        (tmp_path / name).write_text("first")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    return tmp_path


def test_what_runs_write_is_no_change_of_the_commit(checkout, monkeypatch):
    commit = git_commit()
    assert len(commit) == 12
    (checkout / "dvc.lock").write_text("second")
    (checkout / "reports/claims.md").write_text("second")
    (checkout / "hub.sha256").write_text("new")
    assert git_commit() == commit
    (checkout / "code.py").write_text("second")
    assert git_commit() == f"{commit}+"
    monkeypatch.chdir(checkout / "reports")
    assert git_commit() == f"{commit}+"


def test_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert git_commit() == "unknown"


def test_only_code_that_may_decide_results_changes_their_digest(tmp_path):
    for name in ("training.py", "model/rows.py", "report/page.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("first")
    before = code(tmp_path)
    (tmp_path / "report/page.py").write_text("second")
    assert code(tmp_path) == before
    (tmp_path / "model/rows.py").write_text("second")
    after = code(tmp_path)
    assert after != before
    (tmp_path / "model/rows.py").rename(tmp_path / "model/columns.py")
    assert code(tmp_path) not in {before, after}
