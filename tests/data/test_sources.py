import subprocess
from pathlib import Path

import pytest

from rm_tension.base.config import HH_SOURCES
from rm_tension.base.errors import UserError
from rm_tension.base.hub import sha256_of
from rm_tension.data.sources import OFFICIAL, LocalFile, RawFile, deviations, download
from rm_tension.paper.tasks import SUBSETS, TASKS
from samples import changed
from small_hub import fill_cache, go_offline, hub_source


@pytest.fixture
def filled_cache(tmp_path, monkeypatch):
    """In a place with a name that a pattern or the search for a commit might take for something else."""
    go_offline(tmp_path / "snapshots" / "[hub]", monkeypatch)
    fill_cache(tmp_path / "snapshots" / "[hub]", tmp_path / "[scratch]")


def local(path: Path, digest: str | None, **rows: int) -> LocalFile:
    return LocalFile(
        RawFile("hh_rlhf", path.name, rows, digest), path, "owner/repo", "main", "0" * 40
    )


def git_name(content: bytes) -> str:
    found = subprocess.run(
        ["git", "hash-object", "--stdin"], input=content, capture_output=True, check=True
    )
    return found.stdout.decode().strip()


def test_official_files():
    assert len(OFFICIAL) == 8 + 3
    rows = {file.name: file.rows for file in OFFICIAL}
    assert sum(sum(rows[f"{source}/train.jsonl.gz"].values()) for source in HH_SOURCES) == 160_800
    assert sum(rows["data/filtered-00000-of-00001.parquet"].values()) == 2985
    assert sum(rows["data/test-00000-of-00001.parquet"].values()) == 1865
    assert sum(rows["total_dataset.json"].values()) == 1327
    assert all(file.digest for file in OFFICIAL if file.data_set == "hh_rlhf")


def test_every_subset_but_code_and_ties_is_in_one_task():
    used = [subset for task in TASKS for subset in task.subsets]
    assert len(used) == len(set(used))
    unused = {subset.name for subset in set(SUBSETS) - set(used)}
    assert unused == {
        "ties",
        "code",
        "hep-cpp",
        "hep-go",
        "hep-java",
        "hep-js",
        "hep-python",
        "hep-rust",
    }


def test_a_digest_is_a_sha256_or_one_of_two_git_names(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"hello\n")
    sha256 = sha256_of(path)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize 6\n".encode()
    for digest in (sha256, git_name(b"hello\n"), git_name(pointer), None):
        assert deviations(local(path, digest, a=1), sha256, {"a": 1}) == []
    for digest in ("0" * 64, "0" * 40):
        (fault,) = deviations(local(path, digest, a=1), sha256, {"a": 1})
        assert sha256 in fault
        assert digest in fault


@pytest.mark.parametrize("found", [{"a": 3, "b": 2}, {"a": 5, "b": 2}, {"b": 2}])
def test_too_few_and_too_many_rows(tmp_path, found):
    faults = deviations(local(tmp_path, None, a=4, b=2), "", found)
    assert faults == [f"a: {found.get('a', 0)} rows, expected 4"]


@pytest.mark.usefixtures("filled_cache")
def test_download_finds_the_cache_and_its_commit():
    files = download(hub_source())
    assert all(file.path.is_file() for file in files)
    assert [file.raw for file in files] == list(OFFICIAL)
    assert files[-1].commit == "0" * 40  # `main`, resolved
    assert files[-1].revision == "main"


@pytest.mark.usefixtures("filled_cache")
def test_a_file_that_is_nowhere():
    missing = changed(hub_source(), rm_bench=changed(hub_source().rm_bench, revision="1" * 40))
    with pytest.raises(
        UserError, match=r"THU-KEG/RM-Bench: total_dataset\.json at revision 1{40} .* HF_HOME"
    ):
        download(missing)


def test_an_empty_cache(tmp_path, monkeypatch):
    go_offline(tmp_path, monkeypatch)
    with pytest.raises(
        UserError, match=r"Anthropic/hh-rlhf: helpful-base/train\.jsonl\.gz at revision 09be8c5"
    ):
        download(hub_source())
