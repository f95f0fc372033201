"""`--pull`: the records that somebody else made come here, and nothing else does."""

import shutil
from pathlib import Path

import pytest
import yaml

from checkout import dvc
from rm_tension.base.errors import UserError
from rm_tension.base.files import write_json
from rm_tension.base.lockfile import file_md5
from rm_tension.tracking.pull import pull
from small_repository import git

MADE = {
    "runs/mini/data.json": "{}",
    "runs/mini/train.json": "[]",
    "results/mini/accuracy.csv": "a,b\n",
}
FOLDERS = ["runs/mini", "results/mini", "runs/paper"]


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """Two stages that ran elsewhere, whose outputs are in a remote and not here, and one that nobody has run."""
    (tmp_path / "clone").mkdir()
    monkeypatch.chdir(tmp_path / "clone")
    stages = {
        "train": {"cmd": "true", "outs": ["runs/mini/data.json", "runs/mini/train.json"]},
        "analyse": {"cmd": "true", "outs": ["results/mini"]},
        "report": {"cmd": "true", "outs": ["runs/mini/report.json"]},
    }
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    git(".", "init", "--quiet")
    dvc("init", "--quiet")
    dvc("remote", "add", "--default", "there", str(tmp_path / "remote"))
    for name, text in MADE.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    dvc("commit", "--force", "train", "analyse")
    dvc("push", "train", "analyse")
    for folder in ("runs", "results", ".dvc/cache"):
        shutil.rmtree(folder)


def here():
    return {name: Path(name).read_text() for name in MADE if Path(name).exists()}


def test_what_is_missing_comes_and_what_is_here_stays(clone):
    newer = {"runs/mini/data.json": "newer"}
    Path("runs/mini").mkdir(parents=True)
    Path("runs/mini/data.json").write_text("newer")
    pull(FOLDERS)
    assert here() == MADE | newer
    assert not Path("runs/mini/report.json").exists()


def test_a_link_to_what_the_cache_has_no_longer_is_replaced(clone):
    old = Path(".dvc/cache/files/md5/b0/26324c6904b2a9cb4b88d6d61c81d1").absolute()
    for folder in (old.parent, Path("runs/mini")):
        folder.mkdir(parents=True)
    Path("runs/mini/data.json").symlink_to(old)
    pull(FOLDERS)
    assert here() == MADE
    assert not Path("runs/mini/data.json").is_symlink()
    assert not old.exists()


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_what_the_cache_has_comes_as_dvc_links_it_and_the_cache_stays_as_it_is(kind, clone):
    dvc("fetch", "train", "analyse")
    dvc("config", "cache.type", kind)
    pull(FOLDERS)
    assert here() == MADE
    objects = [path for path in Path(".dvc/cache/files").rglob("*") if path.is_file()]
    assert len(objects) == 4  # and the list of results/mini
    assert {path.stat().st_mode & 0o777 for path in objects} == {0o444}
    write_json(Path("runs/mini/train.json"), "again")
    assert all(file_md5(path) == path.parent.name + path.stem for path in objects)


def test_what_cannot_be_had_is_named(clone, tmp_path):
    shutil.rmtree(tmp_path / "remote")
    with pytest.raises(
        UserError, match=r"runs/mini/data\.json: could not be pulled .*; is there a remote\?"
    ):
        pull(FOLDERS)
    assert not here()
    with pytest.raises(
        UserError, match=r"results/mini: could not be pulled .*; is there a remote\?"
    ):
        pull(["results/mini"])
