"""MLflow's UI of the local store, on this machine only."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import FrameType
from urllib.error import URLError

from rm_tension.errors import UserError
from rm_tension.tracking.store import LOCAL, artifact_root, local_uri

HOST = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def server(port: int, folder: Path = LOCAL) -> subprocess.Popen[bytes]:
    """Start `mlflow server` on the local store and wait until it answers."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", local_uri(folder), "--default-artifact-root", artifact_root(folder)]
    command += ["--no-serve-artifacts", "--uvicorn-opts", "--log-level warning"]
    # Its job workers serve language model features that nobody uses here.
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(command, env=environment)  # noqa: S603
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5):
                return process
        except (URLError, OSError):
            time.sleep(0.2)
    raise UserError(f"`mlflow server` ended with {process.returncode}; its words are above")


def serve(port: int) -> None:
    """Serve until interrupted or terminated."""
    signal.signal(signal.SIGTERM, _stop)
    process = server(port)
    print(f"MLflow: http://{HOST}:{port} (Ctrl-C ends it)", flush=True)
    try:
        process.wait()
    except KeyboardInterrupt:
        print()
    finally:
        process.terminate()
        process.wait()


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
