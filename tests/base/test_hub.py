"""A file of the hub comes, or an error says what to do."""

import io
import threading

import pytest

from checkout import Handler, serve
from rm_tension.base.config import HubRepo
from rm_tension.base.errors import UserError
from rm_tension.base.hub import data_file
from small_hub import go_offline

REPO = HubRepo(repo="owner/data", revision="main")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that has `a.json` in every repository; yields what makes it break off halfway."""
    breaks = threading.Event()

    class Halfway(Handler):
        def send_head(self):
            self.send_response(200)
            headers = {"ETag": '"1"', "X-Repo-Commit": "0" * 40, "Content-Length": "5"}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            return io.BytesIO(b"fir" if breaks.is_set() else b"first")

    with serve(tmp_path, handler=Halfway) as url:
        template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield breaks


def test_what_is_nowhere_is_named(tmp_path, monkeypatch):
    go_offline(tmp_path, monkeypatch)
    with pytest.raises(
        UserError, match=r"owner/data: a\.json at revision main is neither .* set HF_HOME"
    ):
        data_file(REPO, "a.json")


@pytest.mark.usefixtures("hub")
def test_a_cache_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    assert data_file(REPO, "a.json").read_text() == "first"
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        UserError, match=rf"owner/data: a\.json .* can be written to \(.*{tmp_path}/file"
    ):
        data_file(REPO, "a.json")


def test_a_download_that_breaks_off_is_named_and_tried_again(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    hub.set()
    with pytest.raises(UserError, match=r"a\.json at revision main .* check the connection"):
        data_file(REPO, "a.json")
    hub.clear()
    assert data_file(REPO, "a.json").read_text() == "first"
