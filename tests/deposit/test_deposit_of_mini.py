"""What `make mini` made, through a deposit into a clean clone that has no remote."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from local_invenio import TOKEN, local_invenio

from checkout import clone, dvc
from rm_tension.base.lockfile import file_md5
from small_repository import git

pytestmark = pytest.mark.pipeline


def rm_tension(*arguments, folder):
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "ZENODO_TOKEN": TOKEN}
    line = [sys.executable, "-m", "rm_tension", "deposit", *arguments]
    done = subprocess.run(
        line, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_clean_clone_is_filled_from_the_deposit_alone(tmp_path_factory):
    folder = clone(tmp_path_factory)
    dvc("cache", "dir", "--local", str(Path(".dvc/cache").absolute()), folder=folder)
    dvc("checkout", "--with-deps", "report@mini", folder=folder)
    with local_invenio() as server:
        rm_tension("reserve", "--server", server.url, folder=folder)
        git(folder, "commit", "--quiet", "--all", "--message", "DOI")
        environment = os.environ | {
            "PYTHONPATH": str(folder / "src"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        subprocess.run(
            ["make", "--old-file=.venv/installed", "deposit"],
            cwd=folder,
            env=environment,
            check=True,
        )
        rm_tension("send", "--server", server.url, folder=folder)
        server.publish("a1")
        archive = tmp_path_factory.mktemp("archive")
        content = server.published["a1"]["entries"]["rm-tension-0.1.0.tar.gz"]["content"]
        subprocess.run(["tar", "--extract", "--gzip"], input=content, cwd=archive, check=True)
        (unpacked,) = archive.iterdir()
        for step in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "archive"]):
            git(unpacked, *step)
        printed = rm_tension("fetch", f"{server.url}/records/a1", folder=unpacked)
    assert " 0 skipped" in printed
    assert "dvc checkout --with-deps report@mini" in printed
    dvc("checkout", "--with-deps", "report@mini", folder=unpacked)
    states = [
        sorted(dvc("status", "--with-deps", "report@mini", folder=place).splitlines())
        for place in (unpacked, folder)
    ]
    assert states[0] == states[1]
    rewards = "rewards/mini/gpt2-small-0.parquet"
    assert file_md5(unpacked / rewards) == file_md5(folder / rewards)
    assert not git(unpacked, "status", "--porcelain")
