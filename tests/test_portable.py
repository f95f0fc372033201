"""Results of a portable profile are the same bits on every x86-64 CPU with AVX2 (docs/PRECISION.md)."""

import copy
import json
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
OTHERS = {
    "EPYC-Rome": "smollm2-135m",
    "Haswell": "gpt2-small",
}  # of AMD, a Llama; of Intel without AVX-512, a GPT-2
FEWEST = {
    "train_pairs": {
        "helpful-base": 4,
        "helpful-online": 2,
        "helpful-rejection-sampled": 2,
        "harmless-base": 8,
    },
    "test_pairs": {
        "helpful-base": 2,
        "helpful-online": 1,
        "helpful-rejection-sampled": 1,
        "harmless-base": 2,
    },
    "items_per_task": 1,
}
# By their names in ATen, torch's functions that gave other bits under emulation for all of portable.TORCH: MKL begins
# with an approximation of the CPU's own. The power 1/2 is `sqrt` as well.
NOT_PORTABLE = {"asin", "atan", "sqrt"}
HOSTILE = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "SSE4_2", "OPENBLAS_CORETYPE": "Nehalem"}


def lines_of(backbones):
    """The stages before the analysis, as command lines."""
    return ["data", "tokens", *(line for backbone in backbones for line in stages(backbone))]


def fewest_of(*backbones):
    """Parameters of a trio of each backbone, so small that an emulator is done with them in minutes."""
    raw = tiny_params(backbones)
    mini = raw["profiles"]["mini"]
    mini["data"]["source"] |= FEWEST
    mini["tokens"]["tokenizers"]["miniature"]["vocabulary"] = 1024  # fewer tokens
    for backbone in mini["backbones"].values():
        backbone["weights"]["pretraining"] |= {"chunks_per_step": 4}
    return raw


@pytest.fixture
def fewest():
    """Parameters of a trio of each family."""
    return fewest_of(*OTHERS.values())


@pytest.mark.qemu
@pytest.mark.skipif(
    QEMU is None, reason="qemu-x86_64 is not on the PATH: `make portable` installs it on Debian"
)
@pytest.mark.parametrize("cpu", OTHERS)
def test_another_cpu_computes_the_same_bytes(cpu, tmp_path_factory, tmp_path):
    backbone = OTHERS[cpu]
    native = make_tiny(tmp_path_factory, fewest_of(backbone))
    git(tmp_path, "clone", "--quiet", str(native), "emulated")
    lines = [*lines_of([backbone]), "analyse"]  # an emulated report takes as long as all of them
    run_stages(native, lines, {})
    run_stages(tmp_path / "emulated", lines, {}, [QEMU, "-cpu", cpu])
    expected, computed = made(native), made(tmp_path / "emulated")
    assert {name.split("/")[0] for name in computed} == {*MADE} - {"reports/mini"}
    assert [name for name in expected | computed if expected.get(name) != computed.get(name)] == []


class Seen(TorchDispatchMode):
    """The names of all that torch computes, gradients too; without the underscore of what works in place."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__.removeprefix("_foreach_").removesuffix("_")
        is_root = name == "pow" and not isinstance(args[1], Tensor) and args[1] == 1 / 2
        self.names.add("sqrt" if is_root else name)
        return function(*args, **(kwargs or {}))


def test_no_result_comes_from_what_is_not_portable(fewest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(fewest, sort_keys=False), encoding="utf-8")
    with Seen() as seen:
        for line in lines_of(OTHERS.values()):
            cli.main([*line.split(), "--profile", "mini"])
    assert seen.names >= {
        "addmm",
        "embedding_dense_backward",
        "_fused_adamw",
        "linalg_vector_norm",
        "rsqrt",
        "tanh",
    }
    assert not seen.names & NOT_PORTABLE


def python(*arguments, folder, **variables):
    """A new process with variables of its own, and without those that these tests run under."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in {*portable.NUMPY, *portable.TORCH}
    }
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=inherited | variables, capture_output=True, text=True, check=False
    )


def test_a_program_has_the_settings_whatever_its_user_set(fewest, tmp_path):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(fewest, sort_keys=False), encoding="utf-8")
    done = python("-m", "rm_tension", "data", "--profile", "mini", folder=tmp_path, **HOSTILE)
    assert done.returncode == 0, done.stderr
    environment = json.loads(
        (tmp_path / "runs/mini/machine/data.json").read_text(encoding="utf-8")
    )["environment"]
    assert environment["portable"] is True
    assert {f"{name}={value}" for name, value in portable.NUMPY.items()} <= {
        *environment["variables"].split()
    }


def test_who_imports_the_package_computes_as_before(tmp_path):
    show = "import os, rm_tension.base.job; print(os.environ.get('OPENBLAS_CORETYPE'))"
    assert python("-c", show, folder=tmp_path).stdout == "None\n"


@pytest.mark.parametrize(
    ("before", "late"),
    [
        (
            "portable.before_numpy(); import torch; torch.ones(9) @ torch.ones(9)",
            ["ATEN_CPU_CAPABILITY", "MKL_CBWR"],
        ),
        ("import numpy; portable.before_numpy()", ["OPENBLAS_CORETYPE"]),
    ],
)
def test_what_comes_too_late_is_refused_by_name(before, late, tmp_path):
    code = f"from rm_tension.base import portable; {before}; portable.require('mini')"
    said = python("-c", code, folder=tmp_path, **HOSTILE).stderr
    names = re.search("UserError: profiles.mini.portable: (.*) come too late", said)
    assert names, said
    settings = portable.NUMPY | portable.TORCH
    assert {f"{name}={settings[name]}" for name in late} <= {*names[1].split(", ")}


def test_a_cpu_without_avx2_is_refused_and_left_as_it_is(tmp_path, monkeypatch):
    old = "processor\t: 0\nflags\t\t: fpu sse2 avx fma\nbugs\t\t: spectre_v1\n\n"
    (tmp_path / "cpuinfo").write_text(2 * old, encoding="ascii")
    monkeypatch.setattr(portable, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.delenv("OPENBLAS_CORETYPE")
    portable.before_numpy()
    assert "OPENBLAS_CORETYPE" not in os.environ
    with pytest.raises(
        UserError, match=r"this CPU has no AVX2.*set profiles\.mini\.portable to false"
    ):
        portable.require("mini")


@pytest.mark.parametrize(
    ("key", "value", "shown"), [("threads", None, "is None"), ("gpu", "useful", "is useful")]
)
def test_a_portable_profile_needs_a_number_of_threads_and_no_gpu(fewest, key, value, shown):
    raw = copy.deepcopy(fewest)
    raw["profiles"]["mini"][key] = value
    with pytest.raises(UserError, match=f"profiles.mini: .*portable needs gpu none .*{shown}"):
        parse_params(raw)
