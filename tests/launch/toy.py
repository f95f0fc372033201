"""A small pipeline of the shape of ours, whose stages do what a file says: wait, fail, or die."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from checkout import dvc

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 300  # seconds, for something to happen on a slow machine
WHOLE = "first 1\nmiddle-a 1\nfirst 1\nmiddle-b 1\nfirst 1\nmiddle-c 1\nlast 1\n"  # of `last`
STEP = '''
"""python -m step OUT [IN...]: concatenate inputs and a parameter; an order in orders/OUT is first."""
import os, signal, sys, time
from pathlib import Path
from ruamel.yaml import YAML
from rm_tension.base.files import atomic_write

out, inputs = Path(sys.argv[1]), sys.argv[2:]
with open(f"runs-of/{out.name}", "a") as file:
    file.write("x")
order = Path("orders", out.name)
what = order.read_text() if order.exists() else ""
if what == "fail":
    print("first words"); sys.exit("error: the toy broke")
if what == "die once":
    order.write_text("find nothing")
    out.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
if what == "find nothing" and out.exists():
    sys.exit("error: the output of an earlier run is there")
if what == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if what == "need memory":
    much = bytearray(b"x") * 600_000_000
    time.sleep(600)
if what == "write nothing":
    sys.exit()
if what == "wait":
    def end(*_):
        Path("ended", out.name).touch(); sys.exit(143)
    signal.signal(signal.SIGTERM, end)
    Path("waits", out.name).touch()
    while order.exists():
        time.sleep(0.05)
value = YAML(typ="safe").load(Path("toy.yaml"))["value"]
text = "".join(Path(name).read_text() for name in inputs) + f"{out.name} {value}\\n"
with atomic_write(out) as partial:
    partial.write_text(text + "much" * 15_000 if what == "much" else text)
'''


class Toy:
    """first -> middle (of three cells) -> last, as `step.py` in a folder of their own."""

    cells = ("a", "b", "c")

    def __init__(self, folder: Path, new: bool = True) -> None:
        """In a new folder, or in one that is a clone of another's."""
        self.folder = folder
        for name in ("orders", "waits", "ended", "runs-of"):
            (folder / name).mkdir(parents=True)
        if new:
            self._make()

    def _make(self) -> None:
        shutil.copy(REPOSITORY / "params.yaml", self.folder)
        self.set_value(1)
        self.write("step.py", STEP)
        cells = {"matrix": {"cell": list(self.cells)}}
        self.has_only(
            first=_step("out/first", params=[{"toy.yaml": ["value"]}]),
            middle=cells | _step("out/middle-${item.cell}", "out/first"),
            last=_step("out/last", *(f"out/middle-{cell}" for cell in self.cells)),
        )
        self.write(".gitignore", "out/\n.state/\norders/\nwaits/\nended/\nruns-of/\n")
        subprocess.run(["git", "init", "--quiet"], cwd=self.folder, check=True)
        self.dvc("init", "--quiet")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def text(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    def recorded(self, name: str = "dvc.lock") -> Any:
        return yaml.safe_load(self.text(name))

    def has_only(self, file: str = "dvc.yaml", **stages: object) -> None:
        """Have these stages only in a dvc.yaml."""
        self.write(file, yaml.safe_dump({"stages": stages}, sort_keys=False))

    def set_value(self, value: int) -> None:
        """Of the parameter that all stages read and the first depends on."""
        self.write("toy.yaml", f"value: {value}\n")

    def order(self, name: str, what: str) -> None:
        self.write(f"orders/{name}", what)

    def release(self, name: str) -> None:
        (self.folder / "orders" / name).unlink()

    def launch(self, *arguments: str, command: str = "run", **variables: str) -> tuple[int, str]:
        """Run the launcher to its end; return its exit code and what it printed."""
        launcher = self.start(*arguments, command=command, **variables)
        printed, _ = launcher.communicate()
        return launcher.returncode, printed

    def start(
        self,
        *arguments: str,
        command: str = "run",
        output: int = subprocess.PIPE,
        **variables: str,
    ) -> subprocess.Popen[str]:
        """Start the launcher without a GPU and with dash, which stays while its command runs."""
        return subprocess.Popen(
            [sys.executable, "-m", "rm_tension", command, *(arguments or ("last",))],
            cwd=self.folder,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "SHELL": "/bin/sh"} | variables,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def dvc(self, *arguments: str) -> str:
        return dvc(*arguments, folder=self.folder)

    def read(self, name: str) -> str:
        return self.text(f"out/{name}")

    def runs(self, name: str) -> int:
        """How often a stage's program was started."""
        path = self.folder / "runs-of" / name
        return len(path.read_text(encoding="utf-8")) if path.exists() else 0

    def lock(self) -> str:
        return self.text("dvc.lock")

    def wait_for(self, *names: str) -> None:
        """Until `names` (of files below the folder) are there."""
        deadline = time.monotonic() + PATIENCE
        while not all((self.folder / name).exists() for name in names):
            assert time.monotonic() < deadline, names
            time.sleep(0.05)


def stage(command: object, *deps: str, outs: object = ("out/own",), **more: object) -> dict:
    """As dvc.yaml has one."""
    return {"cmd": command, **more, "deps": list(deps), "outs": list(outs)}


def _step(out: str, *deps: str, **more: object) -> dict:
    command = " ".join(["python -m step", out, *deps])
    return stage(command, "step.py", *deps, outs=[out], **more)


def read_until(process: subprocess.Popen[str], *lines: str) -> None:
    """Until a process has printed all of them."""
    missing = {*lines}
    assert process.stdout is not None
    while missing:
        line = process.stdout.readline()
        assert line, missing
        missing.discard(line.strip())
