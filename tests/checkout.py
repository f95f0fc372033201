"""Clean clones of this working tree, DVC in them, and remotes that hold what `make mini` made."""

import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def dvc(*arguments, folder="."):
    """Run DVC in a folder, with this environment's python and the folder's own code; returns what it printed."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    }
    environment["PYTHONPATH"] = str(Path(folder, "src").absolute())
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clone(tmp_path_factory, remote=None):
    """A clean checkout of this working tree's tracked files; `remote`, a URL, becomes its DVC remote."""
    folder = tmp_path_factory.mktemp("clone")
    subprocess.run(["git", "clone", "--quiet", ".", str(folder)], check=True)
    changed = subprocess.run(
        ["git", "ls-files", "--modified", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in changed:
        if Path(name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, folder / name)
    if changed:
        subprocess.run(["git", "add", "--all"], cwd=folder, check=True)
        identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        subprocess.run(
            ["git", *identity, "commit", "--quiet", "--message", "as it is"], cwd=folder, check=True
        )
    if remote:
        dvc("remote", "add", "--default", "here", remote, folder=folder)
    return folder


class Handler(SimpleHTTPRequestHandler):
    """Read-only, as a public remote is; appends each request's method and path to a list."""

    def __init__(self, requests, *arguments, **settings):
        self.requests = requests
        super().__init__(*arguments, **settings)

    def log_request(self, *_):
        self.requests.append((self.command, self.path))

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    """Does not mind a client that hangs up, as DVC does where it only asks whether a file is there."""

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def running(server):
    """Serve in a thread for as long as the block; yields the server."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serve(folder, requests=None, handler=Handler):
    """Serve a folder over HTTP on this machine; yields its URL."""
    requests = [] if requests is None else requests
    with running(
        Server(("127.0.0.1", 0), partial(handler, requests, directory=str(folder)))
    ) as server:
        yield f"http://127.0.0.1:{server.server_port}"
