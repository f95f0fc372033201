"""`dvc pull` as docs/CACHE.md sets it up: it fails where it must, leaves nothing wrong, and goes on afterwards."""

import shutil
import subprocess
import sys

import pytest

from bad_remotes import damage, kill_in_the_middle, make_stalling, small_disk
from checkout import dvc, serve
from rm_tension.base.lockfile import file_md5
from small_repository import PLACE, copy_repository, listed, md5s, stored

PULL = [sys.executable, "-m", "dvc", "pull", str(PLACE)]
WEIGHTS = "model.safetensors"


def fails(clone):
    """Pull in a clone; returns what DVC says. What is in its cache afterwards has the md5 that its name says."""
    done = subprocess.run(PULL, cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert not (clone / PLACE / WEIGHTS).exists()
    for path in clone.glob(".dvc/cache/files/md5/*/[!.]*"):
        assert file_md5(path) == (path.parent.name + path.stem)
    return done.stderr


def succeeds(clone, origin):
    dvc("pull", str(PLACE), folder=clone)
    assert md5s(clone / PLACE) == md5s(origin / PLACE)


@pytest.mark.parametrize("how", ["truncated", "missing"])
def test_a_damaged_remote(how, origin, remote, tmp_path):
    weights = stored(remote, listed(origin)[WEIGHTS])
    damage(weights, how)
    with serve(remote) as url:
        clone = copy_repository(origin, tmp_path / "clone", url, verify=True)
        said = fails(clone)
        if how == "missing":
            assert f"failed to transfer '{listed(origin)[WEIGHTS]}'" in said
        else:
            assert f"Checkout failed for following targets:\n{PLACE}" in said
        weights.unlink(missing_ok=True)
        shutil.copy(stored(origin / ".dvc" / "cache", listed(origin)[WEIGHTS]), weights)
        succeeds(clone, origin)


def test_without_verify_a_corrupted_file_goes_through(origin, remote, tmp_path):
    """Why the setting is documented; once this fails, DVC has changed, and docs/CACHE.md may be simpler."""
    damage(stored(remote, listed(origin)[WEIGHTS]), "corrupted")
    clone = copy_repository(origin, tmp_path / "clone", remote)
    dvc("pull", str(PLACE), folder=clone)
    assert md5s(clone / PLACE) != md5s(origin / PLACE)


def test_no_remote_and_a_remote_out_of_reach(origin, tmp_path):
    assert "No remote provided and no default remote set" in fails(
        copy_repository(origin, tmp_path / "alone", None)
    )
    with serve(tmp_path) as url:
        pass
    said = fails(copy_repository(origin, tmp_path / "unplugged", url))
    assert "Some of the cache files do not exist neither locally nor on remote" in said


def test_a_killed_pull_goes_on(origin, remote, tmp_path):
    stalling, requests = make_stalling(), []
    with serve(remote, handler=stalling) as url:
        clone = copy_repository(origin, tmp_path / "clone", url)
        kill_in_the_middle(stalling, PULL, clone)
    with serve(remote, requests) as url:
        dvc("remote", "modify", "there", "url", url, folder=clone)
        succeeds(clone, origin)
    assert ("GET", f"/{stored('', listed(origin)[WEIGHTS])}") in requests


def test_a_full_disk(origin, remote, tmp_path):
    clone = copy_repository(origin, tmp_path / "clone", remote)
    with small_disk(clone / ".dvc" / "cache") as filler:
        said = fails(clone)
        assert f"failed to transfer '{listed(origin)[WEIGHTS]}'" in said
        assert "No space left on device" in said
        filler.unlink()
        succeeds(clone, origin)
