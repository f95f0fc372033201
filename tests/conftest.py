"""One backbone and one reward model of each family, and a DVC remote."""

import pytest

from checkout import serve
from rm_tension.model.reward_model import new_reward_model
from samples import make_backbone


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
def http_remote():
    """The URL of a DVC remote that holds what `make mini` made: DVC's cache has the layout of a remote."""
    with serve(".dvc/cache") as url:
        yield url
