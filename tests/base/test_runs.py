"""The commit and the times that run records name."""

import json
from datetime import UTC, datetime

from rm_tension.base.runs import commit_date, git_commit, record
from small_repository import git


def test_what_runs_write_is_no_change_of_the_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert git_commit() == "unknown"
    git(tmp_path, "init", "--quiet")
    files = [tmp_path / name for name in ("dvc.lock", "reports/claims.md", "code.py")]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_text("first")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    assert commit_date() == git(tmp_path, "log", "-1", "--format=%cs").strip()
    commit = git_commit()
    assert len(commit) == 12
    *results, code = files
    for file in results:
        file.write_text("second")
    assert git_commit() == commit
    code.write_text("second")
    assert git_commit() == f"{commit}+"
    monkeypatch.chdir(tmp_path / "reports")
    assert git_commit() == f"{commit}+"


def test_the_machine_record_says_when_the_stage_ran(tmp_path):
    with record(tmp_path / "stage.json", {}):
        pass
    machine = json.loads((tmp_path / "machine/stage.json").read_text())
    started, ended = (datetime.fromisoformat(machine[name]) for name in ("started", "ended"))
    assert started.tzinfo == UTC
    assert started <= ended <= datetime.now(UTC)
