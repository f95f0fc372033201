"""Downloads are what they were, or an error says what to do."""

import io
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from checkout import Handler, serve
from rm_tension.base.config import HubRepo
from rm_tension.base.errors import UserError
from rm_tension.base.hub import Hub, sha256_of
from small_hub import go_offline, snapshot

REPO = HubRepo(repo="owner/data", revision="main")
# Fetches a file for a record, which it has read when all others have.
FETCH = """
import sys, time
from pathlib import Path
from rm_tension.base.config import HubRepo
from rm_tension.base.hub import Hub

sums, name, here, count = sys.argv[1:]
with Hub(Path(sums)).data_file(HubRepo(repo="owner/data", revision="main"), name):
    Path(here, name).touch()
    while len(list(Path(here).iterdir())) < int(count):
        time.sleep(0.01)
"""
PATIENCE = 120  # seconds; for several processes to start on a slow machine


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file of a data set in the hub's cache."""
    go_offline(tmp_path / "cache", monkeypatch)
    path = snapshot(tmp_path / "cache", "dataset", REPO) / "a.json"
    path.parent.mkdir(parents=True)
    path.write_text("first")
    return path


@pytest.fixture
def sums(tmp_path):
    return tmp_path / "hub.sha256"


def fetch(sums, name="a.json"):
    with Hub(sums).data_file(REPO, name) as path:
        return path.read_text()


def test_the_first_fetch_is_recorded_and_later_ones_must_agree(file, sums):
    assert fetch(sums) == "first"
    line = f"{sha256_of(file)}  datasets/owner/data@main/a.json\n"
    assert sums.read_text() == line
    assert fetch(sums) == "first"
    file.write_text("other")  # as a branch that has moved
    with pytest.raises(
        UserError,
        match=r"a\.json: sha256 .*, but .*hub\.sha256 has .* delete its line in hub\.sha256",
    ):
        fetch(sums)
    assert sums.read_text() == line
    assert fetch(None) == "other"


def test_what_could_not_be_read_is_not_recorded(file, sums):
    with pytest.raises(UserError, match="bad"), Hub(sums).data_file(REPO, file.name):
        raise UserError("bad")
    assert not sums.exists()


def test_a_damaged_record_is_named(file, sums):
    sums.write_text("0123  short\n")
    with pytest.raises(
        UserError, match=r"hub\.sha256:1: not a sha256 and a name: '0123  short'; `git checkout"
    ):
        fetch(sums)


def test_several_at_once_lose_no_line(file, sums, tmp_path):
    names = [f"{number}.json" for number in range(8)]
    for name in names:
        file.with_name(name).write_text(name)
    here = tmp_path / "here"
    here.mkdir()
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}

    def fetch_in_a_process(name):
        command = [sys.executable, "-c", FETCH, sums, name, here, str(len(names))]
        return subprocess.run(command, env=environment, timeout=PATIENCE, check=False).returncode

    with ThreadPoolExecutor(len(names)) as pool:
        assert list(pool.map(fetch_in_a_process, names)) == [0] * len(names)
    assert sorted(line.split("/")[-1] for line in sums.read_text().splitlines()) == names


def test_what_is_nowhere_is_named(tmp_path, monkeypatch, sums):
    go_offline(tmp_path, monkeypatch)
    with pytest.raises(
        UserError, match=r"owner/data: a\.json at revision main is neither .* set HF_HOME"
    ):
        fetch(sums)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub on this machine, which has `a.json` in every repository; yields what makes it break off halfway."""
    breaks = threading.Event()

    class Halfway(Handler):
        def send_head(self):
            self.send_response(200)
            for name, value in {
                "ETag": '"1"',
                "X-Repo-Commit": "0" * 40,
                "Content-Length": "5",
            }.items():
                self.send_header(name, value)
            self.end_headers()
            return io.BytesIO(b"fir" if breaks.is_set() else b"first")

    with serve(tmp_path, handler=Halfway) as url:
        template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield breaks


@pytest.mark.usefixtures("hub")
def test_a_download_is_recorded_and_a_cache_that_cannot_be_written_to_is_named(
    tmp_path, monkeypatch, sums
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    assert fetch(sums) == "first"
    assert sums.read_text().endswith("  datasets/owner/data@main/a.json\n")
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        UserError, match=rf"owner/data: a\.json .* can be written to \(.*{tmp_path}/file"
    ):
        fetch(sums)


def test_a_download_that_breaks_off_is_named_and_leaves_nothing(hub, tmp_path, monkeypatch, sums):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        "huggingface_hub.file_download.time.sleep", lambda seconds: None
    )  # between its tries
    hub.set()
    with pytest.raises(
        UserError, match=r"owner/data: a\.json at revision main .* check the connection"
    ):
        fetch(sums)
    assert not sums.exists()
    hub.clear()
    assert fetch(sums) == "first"
