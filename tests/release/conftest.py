"""A repository in which one reward model was trained and analysed."""

import shutil
from functools import partial

import pytest
from analysed_run import REWARDS, read_lock, recorded, write_data, write_lock, write_results
from huggingface_hub import HfApi
from local_hub import LocalHub

from checkout import running
from rm_tension.base.config import load_params
from rm_tension.base.lockfile import file_md5
from rm_tension.score.checkpoints import md5_of_folder
from small_repository import PLACE, REPOSITORY, STAGE, listed, md5s


@pytest.fixture(scope="session")
def params():
    return load_params(REPOSITORY / "params.yaml")


@pytest.fixture
def analysed(trained, tmp_path, monkeypatch, params):
    """Make such a repository from a profile's settings and enter it; returns its folder."""

    def make(profile="mini", **context):
        folder = shutil.copytree(trained / "origin", tmp_path / "run")
        shutil.copy(REPOSITORY / "pyproject.toml", folder)
        for name in ("reference", "docs"):
            shutil.copytree(REPOSITORY / name, folder / name)
        write_results(folder / "results" / "mini", **context)
        write_data(folder)
        checkpoint = read_lock(folder)[STAGE]["outs"][0]
        stages = recorded(params, profile)
        stages[STAGE] |= {"outs": [checkpoint]}
        rewards = {"path": REWARDS, "md5": file_md5(folder / REWARDS)}
        stages["data@mini"]["outs"][0]["md5"] = md5_of_folder(md5s(folder / "data/mini"))
        results = {"path": "results/mini", "md5": md5_of_folder(md5s(folder / "results/mini"))}
        dep = {"path": "rewards/mini", "md5": md5_of_folder(md5s(folder / "rewards/mini"))}
        stages["analyse@mini"] = {"deps": [dep], "outs": [results]}
        files = listed(trained / "origin")
        md5 = md5_of_folder({f"{PLACE.name}/{name}": files[name] for name in files if name})
        trio = {"path": str(PLACE.parent), "md5": md5}
        stages["evaluate@mini-gpt2-small-0"] = {"deps": [trio], "outs": [rewards]}
        write_lock(folder, stages)
        monkeypatch.chdir(folder)
        return folder

    return make


@pytest.fixture
def hub(analysed, monkeypatch):
    """A hub on this machine, and an analysed repository to send to it."""
    analysed()
    with running(LocalHub()) as hub:
        monkeypatch.setattr(
            "rm_tension.release.command.HfApi", partial(HfApi, endpoint=hub.url, token="a-token")
        )
        yield hub
