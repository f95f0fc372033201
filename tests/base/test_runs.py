"""The commit that run records name, and the code that interrupted work belongs to."""

import json
from datetime import UTC, datetime

import pytest

from rm_tension.base.runs import commit_date, git_commit, record
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
    assert git_commit() == commit
    (checkout / "code.py").write_text("second")
    assert git_commit() == f"{commit}+"
    monkeypatch.chdir(checkout / "reports")
    assert git_commit() == f"{commit}+"


def test_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert git_commit() == "unknown"


def test_the_machine_record_says_when_the_stage_ran(tmp_path):
    with record(tmp_path / "stage.json", {}):
        pass
    machine = json.loads((tmp_path / "machine/stage.json").read_text())
    started, ended = (datetime.fromisoformat(machine[name]) for name in ("started", "ended"))
    assert started.tzinfo == UTC
    assert started <= ended <= datetime.now(UTC)


def test_the_day_of_a_commit(checkout):
    day = git(checkout, "log", "-1", "--format=%cs").strip()
    assert commit_date() == day
