"""The one command: its map, its errors, and what becomes of its output."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rm_tension.cli import COMMANDS

COST = "cost --profile mini --gpu H100 --json -"


def run(line, **streams):
    command = [sys.executable, "-m", "rm_tension", *line.split()]
    return subprocess.run(command, text=True, check=False, **{"capture_output": True, **streams})


def test_its_help_is_a_map_of_all_commands():
    shown = run("--help").stdout
    for title, commands in COMMANDS.items():
        assert title in shown
        assert all(f" {name} " in shown for name in commands)


HELP = """import contextlib, sys
from rm_tension import cli
for name in sys.argv[1:]:
    with contextlib.suppress(SystemExit):
        cli.main([name, "--help"])"""


@pytest.mark.slow
def test_every_command_explains_itself_in_a_notebook_too():
    """In one process, which imports all of them."""
    names = [name for group in COMMANDS.values() for name in group]
    notebook = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}  # Jupyter and Colab
    command = [sys.executable, "-c", HELP, *names]
    shown = subprocess.run(command, env=os.environ | notebook, capture_output=True, text=True)
    assert re.findall(r"^Usage: rm-tension (\w+)", shown.stdout, re.MULTILINE) == names, (
        shown.stderr
    )


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("trian", 2, 'Did you mean "train"?'),
        ("run", 2, "target"),
        ("cost --profile mini --jobs many", 2, "--jobs"),
        ("cost --profile nope", 1, "no profile nope: params.yaml has mini"),
    ],
)
def test_what_is_not_understood_is_named_in_one_line(line, code, message):
    done = run(line)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_output_that_cannot_be_written_ends_without_a_traceback():
    with open("/dev/full", "w") as full:
        done = run(COST, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, "error: [Errno 28] No space left on device\n")
    reader, writer = os.pipe()
    os.close(reader)
    done = run(COST, capture_output=False, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("path", ["/sys/costs.json", "README.md/costs.json"])
def test_a_path_that_may_not_be_written_is_named(path):  # in /sys not by root, either
    done = run(f"cost --profile mini --gpu H100 --json {path}")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(f"error: .*{Path(path).parent}.*\n", done.stderr)
