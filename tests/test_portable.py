"""A portable profile has the same bits on every x86-64 CPU with AVX2 (docs/PERFORMANCE.md)."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rm_tension import cli
from rm_tension.base import portable
from rm_tension.base.config import parse_params
from rm_tension.base.errors import UserError
from small_repository import git
from tiny_profile import MADE, made, make_tiny, run_stages, stages, tiny_params

QEMU = shutil.which("qemu-x86_64")
# Of AMD, a Llama; of Intel without AVX-512, a GPT-2
OTHERS = {"EPYC-Rome": "smollm2-135m", "Haswell": "gpt2-small"}
# By their names in ATen, torch's functions that gave other bits under emulation for all of
# portable.TORCH: MKL begins with an approximation of the CPU's own. The power 1/2 is `sqrt`, too.
NOT_PORTABLE = {"asin", "atan", "sqrt"}
USED = {"addmm", "embedding_dense_backward", "_fused_adamw", "linalg_vector_norm", "rsqrt", "tanh"}
HOSTILE = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "SSE4_2", "OPENBLAS_CORETYPE": "Nehalem"}


def lines_of(backbones):
    """The stages before the analysis, as command lines."""
    return ["data", "tokens", *(line for backbone in backbones for line in stages(backbone))]


@pytest.mark.qemu
@pytest.mark.skipif(QEMU is None, reason="no qemu-x86_64, of Debian's qemu-user")
@pytest.mark.parametrize("cpu", OTHERS)
def test_another_cpu_computes_the_same_bytes(cpu, tmp_path_factory, tmp_path):
    backbone = OTHERS[cpu]
    native = make_tiny(tmp_path_factory, tiny_params([backbone]))
    git(tmp_path, "clone", "--quiet", str(native), "emulated")
    lines = [*lines_of([backbone]), "analyse"]  # an emulated report takes as long as all of them
    run_stages(native, lines, {})
    run_stages(tmp_path / "emulated", lines, {}, [QEMU, "-cpu", cpu])
    expected, computed = made(native), made(tmp_path / "emulated")
    assert {name.split("/")[0] for name in computed} >= {*MADE} - {"reports/mini"}
    assert [name for name in expected | computed if expected.get(name) != computed.get(name)] == []


class Seen(TorchDispatchMode):
    """The names of all that torch computes, gradients too; in-place ones without underscore."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__.removeprefix("_foreach_").removesuffix("_")
        is_root = name == "pow" and not isinstance(args[1], Tensor) and args[1] == 1 / 2
        self.names.add("sqrt" if is_root else name)
        return function(*args, **(kwargs or {}))


def test_no_result_comes_from_what_is_not_portable(tmp_path, monkeypatch):
    """In the stages of a trio of each family."""
    monkeypatch.chdir(tmp_path)
    text = yaml.safe_dump(tiny_params(OTHERS.values()), sort_keys=False)
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with Seen() as seen:
        for line in lines_of(OTHERS.values()):
            cli.main([*line.split(), "--profile", "mini"])
    assert seen.names >= USED
    assert not seen.names & NOT_PORTABLE


def python(*arguments):
    """A new process without the settings that these tests run under, but HOSTILE ones."""
    settings = {*portable.NUMPY, *portable.TORCH}
    inherited = {name: value for name, value in os.environ.items() if name not in settings}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=inherited | HOSTILE, capture_output=True, text=True)


def test_who_imports_the_package_computes_as_before():
    show = "import os, rm_tension.base.job; print(os.environ.get('OPENBLAS_CORETYPE'))"
    assert python("-c", show).stdout == "Nehalem\n"


@pytest.mark.parametrize(
    ("before", "late"),
    [
        ("portable.before_numpy(); import torch; torch.ones(9) @ torch.ones(9)", portable.TORCH),
        ("import numpy; portable.before_numpy()", portable.NUMPY),
    ],
)
def test_what_comes_too_late_is_refused_by_name(before, late):
    code = f"from rm_tension.base import portable; {before}; portable.require('mini')"
    said = python("-c", code).stderr
    names = re.search("UserError: profiles.mini.portable: (.*) come too late", said)
    assert names, said
    expected = {f"{name}={late[name]}" for name in HOSTILE if name in late}
    assert expected <= {*names[1].split(", ")}


def test_a_cpu_without_avx2_is_refused_and_left_as_it_is(tmp_path, monkeypatch):
    old = "processor\t: 0\nflags\t\t: fpu sse2 avx fma\nbugs\t\t: spectre_v1\n\n"
    (tmp_path / "cpuinfo").write_text(2 * old, encoding="ascii")
    monkeypatch.setattr(portable, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.delenv("OPENBLAS_CORETYPE")
    portable.before_numpy()
    assert "OPENBLAS_CORETYPE" not in os.environ
    message = r"this CPU has no AVX2.*set profiles\.mini\.portable to false"
    with pytest.raises(UserError, match=message):
        portable.require("mini")


@pytest.mark.parametrize(("key", "value"), [("threads", None), ("gpu", "useful")])
def test_a_portable_profile_needs_a_number_of_threads_and_no_gpu(key, value):
    raw = tiny_params(["gpt2-small"])
    raw["profiles"]["mini"][key] = value
    with pytest.raises(UserError, match=f"mini: portable needs gpu none .*is {value}"):
        parse_params(raw)
