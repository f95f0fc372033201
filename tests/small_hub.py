"""A miniature of a few rows, as it is and as a hub's cache, and jobs of the data stage."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from rm_tension.base.config import DataConfig, HubData, HubRepo, MiniatureData, load_params
from rm_tension.base.grid import Paths
from rm_tension.base.job import Job
from rm_tension.data.miniature import generate
from rm_tension.data.sources import LocalFile
from samples import changed

PARAMS = load_params(Path(__file__).parents[1] / "params.yaml")
SMALL = MiniatureData(
    kind="miniature",
    seed=1,
    train_pairs={
        "helpful-base": 12,
        "helpful-online": 6,
        "helpful-rejection-sampled": 6,
        "harmless-base": 24,
    },
    test_pairs={
        "helpful-base": 4,
        "helpful-online": 3,
        "helpful-rejection-sampled": 3,
        "harmless-base": 4,
    },
    items_per_task=4,
    label_noise=0.1,
)


def hub_source() -> HubData:
    source = PARAMS.profiles["paper"].data.source
    assert isinstance(source, HubData)
    return source


def make_job(root: Path, source: HubData | MiniatureData, **caps: int | None) -> Job:
    """A job of the data stage below `root`, the data section of its profile replaced."""
    nothing = {"max_train_pairs": None, "max_test_pairs": None, "max_items_per_task": None}
    profile = changed(PARAMS.profiles["mini"], data=DataConfig(source=source, **(nothing | caps)))
    return Job(PARAMS, profile, Paths("mini", root), {"profile": "mini"})


def go_offline(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def snapshot(cache: Path, kind: str, repo: HubRepo) -> Path:
    """The folder in which the cache keeps the files of a repository; a branch leads there as well."""
    folder = cache / f"{kind}s--{repo.repo.replace('/', '--')}"
    commit = "0" * 40 if repo.revision == "main" else repo.revision
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    return folder / "snapshots" / commit


def fill_cache(cache: Path, scratch: Path) -> list[LocalFile]:
    """Put the small miniature into a hub cache at the pinned revisions; returns the files it is made of."""
    files = generate(SMALL, scratch)
    for file in files:
        target = (
            snapshot(cache, "dataset", hub_source().repositories[file.raw.data_set]) / file.raw.name
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.path, target)
    return files
