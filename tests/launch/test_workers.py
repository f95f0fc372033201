"""Machines without a shared disk, as docs/RUN.md says: clones that meet in a DVC remote, here an S3 server."""

import pytest
import yaml
from toy import WHOLE, Toy

from small_repository import git

pytestmark = pytest.mark.slow


def computed(origin, folder, target):
    """The stages that a clone runs, and not only restores, for a target; what it makes is pushed."""
    git(origin.folder.parent, "clone", "--quiet", str(origin.folder), str(folder))
    clone = Toy(folder, new=False)
    clone.dvc("repro", "--pull", target)
    clone.dvc("push", "--run-cache")
    return clone, sorted(path.name for path in (folder / "runs-of").iterdir())


def test_workers_compute_and_the_coordinator_finds_all_of_it(s3, tmp_path):
    origin = Toy(tmp_path / "origin")
    origin.dvc("remote", "add", "--default", "store", f"s3://{s3.name}/toy")
    origin.dvc("remote", "modify", "store", "endpointurl", s3.meta.client.meta.endpoint_url)
    git(origin.folder, "add", "--all")
    git(origin.folder, "commit", "--quiet", "--message", "toy")

    assert computed(origin, tmp_path / "first", "first")[1] == ["first"]
    for cell in Toy.cells:
        assert computed(origin, tmp_path / cell, f"middle@{cell}")[1] == [f"middle-{cell}"]
    coordinator, ran = computed(origin, tmp_path / "coordinator", "last")
    assert ran == ["last"]
    assert coordinator.read("last") == WHOLE

    origin.dvc("repro", "last")
    assert yaml.safe_load(coordinator.lock()) == yaml.safe_load(origin.lock())
