"""One backbone and one reward model of each family, and DVC remotes."""

import logging
import os
import shutil
import signal

import pytest

from rm_tension.base import portable

# Some tests run the stages of a portable profile here, beside others that compute
portable.before_numpy()
if not os.environ.get("TEST_GPU"):  # it hides GPUs
    portable.require("mini")

from rm_tension.model.reward_model import new_reward_model  # noqa: E402
from samples import make_backbone  # noqa: E402
from small_repository import make_repository  # noqa: E402

# A shell that starts the tests in the background has them ignore it, and so would all that they
# start
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["gpt2", "llama"])
def family(request):
    return request.param


@pytest.fixture
def backbone(family, tmp_path):
    return make_backbone(family, tmp_path / "backbone")


@pytest.fixture
def model(backbone):
    return new_reward_model(backbone, seed=0, head_std=0.5, dtype="float32").eval()


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A small repository (`origin`) beside the remote that it was pushed to (`remote`); tests change copies only."""
    folder = tmp_path_factory.mktemp("trained")
    make_repository(folder / "origin", folder / "remote")
    return folder


@pytest.fixture
def origin(trained):
    return trained / "origin"


@pytest.fixture
def remote(trained, tmp_path):
    """A copy of the remote, to be damaged."""
    return shutil.copytree(trained / "remote", tmp_path / "remote")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Where the loader keeps what it fetches."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "rm-tension"


@pytest.fixture(scope="module")
def s3():
    """A bucket of an S3 server on this machine, with the credentials for it in the environment."""
    import boto3  # seconds that the other tests need not wait for
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(
        logging.WARNING
    )  # not a line for each of a thousand requests
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield boto3.resource("s3", endpoint_url=f"http://{host}:{port}").create_bucket(
            Bucket="bucket"
        )
    server.stop()
