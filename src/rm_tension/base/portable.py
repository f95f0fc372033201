"""Settings for `portable: true` of a profile: every x86-64 CPU with AVX2 computes the same bits.

Our libraries choose kernels by the CPU, and kernels differ in the order of sums and in how they
approximate exp, log and their like. The variables below choose kernels that every x86-64 CPU with
AVX2 has. numpy and its OpenBLAS read theirs when they are imported, before a program knows its
profile: `cli.main` sets them for every command, for they cost nothing that we could measure. torch,
MKL and oneDNN read theirs at the first operation: `require` sets them for the profiles that ask for
them, in a process of its own and in one that the launcher forked.

docs/PERFORMANCE.md says how this was tried, tests/test_portable.py what no variable makes portable.
"""

import ctypes
import os
import platform
import sys
from pathlib import Path

from rm_tension.base.errors import UserError

NUMPY = {
    # leaves SSE4.2, the baseline of numpy's build
    "NPY_DISABLE_CPU_FEATURES": "X86_V3,X86_V4,AVX512_ICL,AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
}
TORCH = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "COMPATIBLE",  # MKL's other branches are Intel's alone
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "CUDA_VISIBLE_DEVICES": "",
}
# Of mkl_cbwr_get: which settings are asked for, and the branch that it returns
MKL_ALL, MKL_COMPATIBLE = -1, 3
CPUINFO = Path("/proc/cpuinfo")


def is_x86() -> bool:
    """Return whether there is anything to set: other architectures always round otherwise."""
    return platform.machine() in ("x86_64", "AMD64")


def has_avx2() -> bool:
    """Return whether this CPU has AVX2 and FMA, by the kernel's list of its features."""
    lines = CPUINFO.read_text().splitlines()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return {"avx2", "fma"} <= {*flags.split()}


def before_numpy() -> None:
    """Set numpy's variables, where the CPU has AVX2. Call it before anything imports numpy."""
    # OpenBLAS would run Haswell's kernels on an older CPU, and die of them
    if is_x86() and has_avx2():
        os.environ |= NUMPY


def require(profile: str) -> None:
    """Set torch's variables. Call it before torch computes anything.

    Raise UserError on a CPU without AVX2, and for the variables, by name, that come too late.
    """
    if not is_x86():
        return
    if not has_avx2():
        raise UserError(
            f"profiles.{profile}.portable: this CPU has no AVX2, and would compute other bits than "
            f"all that have it; use another machine, or set profiles.{profile}.portable to false "
            "in params.yaml"
        )
    os.environ |= TORCH
    if faults := [*_faults_of_numpy(), *_faults_of_torch()]:
        raise UserError(
            f"profiles.{profile}.portable: {', '.join(faults)} come too late: numpy was imported, "
            "or torch has computed, before they were set; run `rm-tension STAGE --profile "
            f"{profile}` in a process of its own, with the libraries of uv.lock"
        )


def holds() -> bool:
    """Return whether the loaded libraries compute the bits of every CPU with AVX2."""
    return is_x86() and not (_faults_of_numpy() or _faults_of_torch())


def _faults_of_numpy() -> list[str]:
    """Return the variables, as NAME=VALUE, that numpy, if it is loaded, does not compute by."""
    if "numpy" not in sys.modules:
        return []
    core = sys.modules["numpy._core._multiarray_umath"]
    blas = ctypes.CDLL(core.__file__)  # it has loaded OpenBLAS
    wrong = []
    if any(core.__cpu_features__[name] for name in NUMPY["NPY_DISABLE_CPU_FEATURES"].split(",")):
        wrong.append("NPY_DISABLE_CPU_FEATURES")
    if not hasattr(blas, "scipy_openblas_get_corename64_"):  # another BLAS
        return [f"{name}={NUMPY[name]}" for name in NUMPY]
    blas.scipy_openblas_get_corename64_.restype = ctypes.c_char_p
    if blas.scipy_openblas_get_corename64_() != NUMPY["OPENBLAS_CORETYPE"].encode():
        wrong.append("OPENBLAS_CORETYPE")
    if blas.scipy_openblas_get_num_threads64_() != int(NUMPY["OPENBLAS_NUM_THREADS"]):
        wrong.append("OPENBLAS_NUM_THREADS")
    return [f"{name}={NUMPY[name]}" for name in wrong]


def _faults_of_torch() -> list[str]:
    """Return the variables, as NAME=VALUE, that torch, if it is loaded, does not compute by."""
    torch = sys.modules.get("torch")
    if torch is None:
        return []
    wrong = []
    if torch.backends.cpu.get_cpu_capability() != TORCH["ATEN_CPU_CAPABILITY"].upper():
        wrong.append("ATEN_CPU_CAPABILITY")
    library = ctypes.CDLL(f"{torch.__path__[0]}/lib/libtorch_cpu.so")
    # no documented name; a build that does not show it is taken at its variable
    branch_of = getattr(library, "mkl_serv_cbwr_get", lambda _: MKL_COMPATIBLE)
    if branch_of(MKL_ALL) != MKL_COMPATIBLE:
        wrong.append("MKL_CBWR")
    if torch.cuda.is_available():
        wrong.append("CUDA_VISIBLE_DEVICES")
    return [f"{name}={TORCH[name]}" for name in wrong]
