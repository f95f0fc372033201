"""uv.lock is of PyPI alone, hashed, and what pyproject.toml asks for; torch-cpu.txt is of its torch."""

import subprocess
import sys
import tomllib
from pathlib import Path

PACKAGES = tomllib.loads(Path("uv.lock").read_text(encoding="utf-8"))["package"]


def test_every_file_is_pypis_and_has_its_sha256():
    locked = [package for package in PACKAGES if package["name"] != "rm-tension"]
    assert {package["source"]["registry"] for package in locked} == {"https://pypi.org/simple"}
    for package in locked:
        files = [*package.get("wheels", ()), *filter(None, [package.get("sdist")])]
        assert files, package["name"]
        for file in files:
            assert file["url"].startswith("https://files.pythonhosted.org/"), file
            assert file["hash"].startswith("sha256:"), file


def test_the_lock_is_what_pyproject_asks_for():
    uv = Path(sys.executable).with_name("uv")
    done = subprocess.run([uv, "lock", "--check", "--offline"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_builds_without_cuda_are_of_the_locked_torch():
    (torch,) = (package["version"] for package in PACKAGES if package["name"] == "torch")
    assert f"\ntorch=={torch}+cpu " in Path("torch-cpu.txt").read_text(encoding="utf-8")
