"""`make archive`: the same bytes each time, and all that a reader of the archive needs."""

import subprocess

import pytest

from checkout import clone, dvc
from small_repository import git

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Those of one commit, made in two checkouts with other modes and times of files."""
    first = clone(tmp_path_factory)
    second = tmp_path_factory.mktemp("again")
    subprocess.run(
        ["git", "clone", "--quiet", "--config", "core.sharedRepository=0660", first, second],
        check=True,
    )
    for folder in (first, second):
        subprocess.run(["make", "archive"], cwd=folder, check=True, capture_output=True)
    return [next((folder / "dist").glob("*.tar.gz")) for folder in (first, second)]


def test_a_checkout_has_the_same_bytes_whatever_git_is_told_of_line_ends(tmp_path_factory):
    first, second = clone(tmp_path_factory), tmp_path_factory.mktemp("converted")
    subprocess.run(
        ["git", "clone", "--quiet", "--config", "core.autocrlf=true", first, second], check=True
    )
    for name in ("dvc.yaml", "src/rm_tension/train/training.py", "reference/published.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_the_same_commit_gives_the_same_bytes(archives):
    assert archives[0].read_bytes() == archives[1].read_bytes()
    sums = archives[0].with_name("SHA256SUMS").read_text()
    assert sums == archives[1].with_name("SHA256SUMS").read_text()


def test_it_holds_sources_metadata_and_reports_and_a_checkout_is_made_of_it(archives, tmp_path):
    subprocess.run(["tar", "--extract", "--file", archives[0]], cwd=tmp_path, check=True)
    (folder,) = tmp_path.iterdir()
    reports = ("reports/mini/artifact.pdf",)
    for name in ("dvc.yaml", "dvc.lock", "params.yaml", ".dvc/config", "uv.lock", *reports):
        assert (folder / name).is_file(), name
    for step in ("init", "add --all", "commit --message archive"):  # ARTIFACT.md
        git(folder, *step.split())
    assert git(folder, "ls-files") == git(archives[0].parents[1], "ls-files")
    git(tmp_path, "clone", "--quiet", folder, "clone")
    assert "report@mini" in dvc("stage", "list", folder=tmp_path / "clone")


def test_uncommitted_changes_are_refused(tmp_path_factory):
    folder = clone(tmp_path_factory)
    with (folder / "README.md").open("a") as file:
        file.write("more")
    done = subprocess.run(
        ["make", "archive"], cwd=folder, check=False, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "uncommitted changes" in done.stdout
    assert not (folder / "dist").exists()
