"""`dvc pull` checks what a remote sends only with `verify`, which docs/USE.md therefore sets."""

import subprocess
import sys

import pytest

from bad_remotes import damage
from small_repository import PLACE, copy_repository, listed, md5s, stored

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("verify", [True, False])
def test_a_corrupted_file_goes_through_without_verify_alone(verify, origin, remote, tmp_path):
    """Once this fails without `verify`, DVC has changed, and docs/USE.md may be simpler."""
    damage(stored(remote, listed(origin)["model.safetensors"]), "corrupted")
    clone = copy_repository(origin, tmp_path / "clone", remote, verify=verify)
    command = [sys.executable, "-m", "dvc", "pull", str(PLACE)]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == verify
    assert (clone / PLACE / "model.safetensors").exists() == (not verify)
    assert md5s(clone / PLACE) != md5s(origin / PLACE)
