"""MLflow's UI of the local store, on this machine only."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rm_tension.base.errors import UserError
from rm_tension.tracking.store import LOCAL, artifact_root, local_uri

HOST = "127.0.0.1"
PATIENCE = 300  # s until it answers; from a slow shared disk, its imports take minutes
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a cluster's proxy does not reach this machine


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


@contextmanager
def server(port: int, folder: Path = LOCAL) -> Iterator[subprocess.Popen[bytes]]:
    """Run `mlflow server` on the local store; yields it when it answers, and ends it."""
    try:
        socket.create_server((HOST, port)).close()  # else whoever has the port would answer in our server's place
    except (OSError, OverflowError) as error:
        raise UserError(f"port {port} cannot be had ({error}): choose another --port, or none for a free one") from None
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", local_uri(folder), "--default-artifact-root", artifact_root(folder)]
    command += ["--no-serve-artifacts", "--uvicorn-opts", "--log-level warning"]
    # Its job workers serve language model features that nobody uses here.
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(command, env=environment) as process:  # noqa: S603
        deadline = time.monotonic() + PATIENCE
        try:
            while not _answers(port):
                if process.poll() is not None:
                    raise UserError(f"`mlflow server` ended with {process.returncode}; its words are above")
                if time.monotonic() > deadline:
                    raise UserError(f"`mlflow server` is silent on port {port} for {PATIENCE} s; its words are above")
                time.sleep(0.2)
            yield process
        finally:
            process.terminate()


def serve(port: int, pages: dict[str, str]) -> None:
    """Serve until interrupted or terminated. `pages`: what to say of an address below the server's."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with server(port) as process:
            for name, page in pages.items():
                print(f"{name}:\nhttp://{HOST}:{port}/{page}")
            print("Ctrl-C ends it.", flush=True)
            process.wait()
            # MLflow exits 0 also when the kernel has killed the uvicorn below it, so its status says nothing.
            raise UserError("`mlflow server` ended by itself; if it did not say why above, look for a lack of memory")
    except KeyboardInterrupt:
        print()


def _answers(port: int) -> bool:
    try:
        with DIRECT.open(f"http://{HOST}:{port}/health", timeout=5):
            return True
    except OSError:
        return False
