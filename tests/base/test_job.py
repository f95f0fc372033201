"""What every stage's program looks at before it computes."""

import shutil
import subprocess
import sys


def test_code_of_another_checkout_is_refused(tmp_path):
    (tmp_path / "src" / "rm_tension").mkdir(parents=True)
    shutil.copy("params.yaml", tmp_path)
    command = [sys.executable, "-m", "rm_tension", "data", "--profile", "mini"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"error: {tmp_path / 'src' / 'rm_tension'}: not the code that runs, which is "
    )
    assert "set PYTHONPATH=src (before `dvc exp run --temp`, too), or `make setup`" in done.stderr
    assert not (tmp_path / "data").exists()
