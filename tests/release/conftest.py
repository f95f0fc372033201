"""A repository in which one reward model was trained and analysed."""

import shutil

import pytest
from analysed_run import read_lock, recorded, write_lock, write_results

from rm_tension.base.config import load_params
from rm_tension.score.checkpoints import md5_of_folder
from small_repository import PLACE, REPOSITORY, STAGE, listed


@pytest.fixture(scope="session")
def params():
    return load_params(REPOSITORY / "params.yaml")


@pytest.fixture
def analysed(trained, tmp_path, monkeypatch, params):
    """Make such a repository from a profile's settings and enter it; returns its folder."""

    def make(profile="mini", **context):
        folder = shutil.copytree(trained / "origin", tmp_path / "run")
        shutil.copy(REPOSITORY / "pyproject.toml", folder)
        shutil.copytree(REPOSITORY / "reference", folder / "reference")
        write_results(folder / "results" / "mini", **context)
        checkpoint = read_lock(folder)[STAGE]["outs"][0]
        stages = recorded(params, profile)
        stages[STAGE] |= {"outs": [checkpoint]}
        rewards = {"path": "rewards/mini/gpt2-small-0.parquet", "md5": "0" * 32}
        files = listed(trained / "origin")
        md5 = md5_of_folder({f"{PLACE.name}/{name}": files[name] for name in files if name})
        trio = {"path": str(PLACE.parent), "md5": md5}
        stages["evaluate@mini-gpt2-small-0"] = {"deps": [trio], "outs": [rewards]}
        write_lock(folder, stages)
        monkeypatch.chdir(folder)
        return folder

    return make
