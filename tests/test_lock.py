"""uv.lock is of PyPI alone, hashed, and what pyproject.toml asks for; torch-cpu.txt has the same torch."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

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
    done = subprocess.run(
        [uv, "lock", "--check", "--offline"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_builds_without_cuda_are_of_the_locked_torch():
    (torch,) = (package["version"] for package in PACKAGES if package["name"] == "torch")
    assert f"\ntorch=={torch}+cpu " in Path("torch-cpu.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("setting", "said"),
    [("PYTHON=false", "false is none of these"), ("PYTHON=", "none is on the PATH")],
)
def test_without_a_fitting_python_make_says_what_to_do(tmp_path, setting, said):
    for name in ("Makefile", "uv.lock", "debian-latex.txt", "pyproject.toml", "torch-cpu.txt"):
        shutil.copy(name, tmp_path)
    done = subprocess.run(
        ["make", "setup", setting], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert f"error: uv.lock is for Python 3.11 to 3.13; {said}" in done.stdout
    assert "uv python install 3.13" in done.stdout
    assert not (tmp_path / ".venv").exists()
