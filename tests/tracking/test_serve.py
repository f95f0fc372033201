"""The server of `make mlflow`: what it does where it cannot come up, and how it ends."""

import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import psutil
import pytest

import checkout
from rm_tension.base.errors import UserError
from rm_tension.tracking import serve
from rm_tension.tracking.serve import free_port, server

PATIENCE = 60  # seconds; for a server to end on a slow machine


def test_a_port_that_another_server_has_is_named(tmp_path):
    (tmp_path / "health").touch()  # it answers as MLflow does
    with checkout.serve(tmp_path) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(UserError, match=f"port {port} .*in use.* another --port"), server(port, tmp_path):
            pytest.fail("the other server was taken for ours")


def test_a_port_that_cannot_be_is_named(tmp_path):
    with pytest.raises(UserError, match=r"port 99999 .*0-65535.* another --port"), server(99999, tmp_path):
        pytest.fail("no such port")


def test_a_server_that_does_not_answer_is_not_waited_for_forever(tmp_path, monkeypatch):
    monkeypatch.setattr(serve, "PATIENCE", 0)
    with (
        pytest.raises(UserError, match=r"is silent on port \d+ for 0 s; its words are above"),
        server(free_port(), tmp_path),
    ):
        pytest.fail("it cannot be up yet")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """One to serve from, on a cluster where all addresses lead through a proxy, which is down."""
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    shutil.copy("params.yaml", tmp_path)
    return tmp_path


@contextmanager
def serving(folder):
    """`make mlflow`, when it serves."""
    command = [sys.executable, "-m", "rm_tension.tracking"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert any(line.startswith("Ctrl-C") for line in process.stdout), process.stderr.read()
            yield process
        finally:
            process.terminate()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_well_when_it_is_told_to(folder, stop):
    with serving(folder) as process:
        process.send_signal(stop)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0


def test_a_server_that_is_killed_is_an_error(folder):
    with serving(folder) as process:
        _mlflow, uvicorn = psutil.Process(process.pid).children(recursive=True)
        uvicorn.kill()  # as a kernel without memory does: it is the largest
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        assert "error: `mlflow server` ended by itself" in errors
