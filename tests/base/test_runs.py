"""The commit that run records name, and the code that interrupted work belongs to."""

import pytest

from rm_tension.base.runs import digest_of_code, git_commit
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


def test_only_code_of_the_places_named_changes_their_digest(tmp_path):
    for name in ("train/training.py", "train/deep/state.py", "model/rows.py", "model/device.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("first")

    def digest():
        return digest_of_code(["model/rows.py", "train"], tmp_path)

    before = digest()
    (tmp_path / "model/device.py").write_text("second")
    assert digest() == before
    (tmp_path / "train/deep/state.py").write_text("second")
    after = digest()
    assert after != before
    (tmp_path / "train/deep/state.py").rename(tmp_path / "train/deep/other.py")
    assert digest() not in {before, after}
