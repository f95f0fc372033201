"""After `dvc repro report@mini`: what was made is up to date, and a clone renders it from a remote."""

import shutil
from pathlib import Path

import pytest

from checkout import clone, dvc, serve
from rm_tension.base.grid import Paths
from rm_tension.base.lockfile import file_md5

pytestmark = pytest.mark.pipeline
PATHS = Paths("mini", Path.cwd())


def test_a_second_run_does_nothing():
    assert "up to date" in dvc("status", "--with-deps", "report@mini")


def test_a_clean_clone_pulls_the_results_and_renders_the_same_report(tmp_path_factory):
    """From a server of DVC's cache, which has the layout of a remote; no weights are fetched."""
    requests = []
    with serve(".dvc/cache", requests) as url:
        folder = clone(tmp_path_factory, url)
        shutil.rmtree(folder / "reports" / "mini")
        with (folder / "src/rm_tension/report/latex.py").open("a") as code:
            code.write("# or DVC finds nothing to do, and does not mind a missing report\n")
        dvc("repro", "--pull", "--allow-missing", "report@mini", folder=folder)
    assert contents(folder / "reports" / "mini") == contents(PATHS.reports)
    assert contents(folder / "results" / "mini") == contents(PATHS.results)
    asked = {path.removeprefix("/files/md5/").replace("/", "") for _, path in requests}
    fetched = {path.parent.name + path.name for path in folder.glob(".dvc/cache/files/md5/*/*")}
    weights = {file_md5(path) for path in Path("models/mini").rglob("*.safetensors")}
    assert len(weights) == 60
    assert fetched
    assert not weights & (asked | fetched)
    assert not (folder / "models").exists()


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
