"""Environment variables that libraries read: refused if they change results, else recorded.

Results depend on params.yaml, the locks and the code alone. Most settings are made where they are
used: accelerate's precision, steps and compiler and torch's TF32 in model/device.py, matplotlib's
style and LaTeX's environment in report/, git's repository in base/runs.py. What cannot be set and
asks for other numbers is refused here, by name. What changes no more than the order of sums, as
another machine would, base/portable.py sets where a profile asks for it, and run records keep it.
"""

import io
import os
import sys
from pathlib import Path
from typing import Any

from rm_tension.base import portable
from rm_tension.base.errors import UserError

OFF = ("0", "false", "no", "off")
# The values that ask for nothing; in lower case.
REFUSED: dict[str, tuple[str, ...]] = {
    "NVIDIA_TF32_OVERRIDE": ("0",),  # cuBLAS reads it, whatever torch is told
    "ONEDNN_DEFAULT_FPMATH_MODE": ("strict",),  # bfloat16 or TF32 for float32
    "DNNL_DEFAULT_FPMATH_MODE": ("strict",),  # its old name
    "ACCELERATE_USE_DEEPSPEED": OFF,  # these four: another way to train, with settings of their own
    "ACCELERATE_USE_FSDP": OFF,
    "ACCELERATE_USE_MEGATRON_LM": OFF,
    "ACCELERATE_USE_PARALLELISM_CONFIG": OFF,
    "PYTHONOPTIMIZE": ("0", "1"),  # 2 takes the docstrings away that transformers reads
}
# Beginnings of the names of variables that choose devices, threads, instructions or algorithms.
# None holds a secret.
RECORDED = (
    "ACCELERATE_", "ATEN_", "CUBLAS", "CUDA_", "CUDNN_", "DNNL_", "GOMP_", "GOTO_", "KMP_", "MKL_",
    "NPY_", "NVIDIA_", "OMP_", "ONEDNN_", "OPENBLAS_", "PYTORCH_", "RAYON_",
    "TORCH_", "TRANSFORMERS_",
)  # fmt: skip


def check() -> None:
    """Raise UserError for a variable or locale that no program may compute under."""
    for stream in (sys.stdout, sys.stderr):  # what a locale's encoding lacks is no reason to stop
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for name, harmless in REFUSED.items():
        value = os.environ.get(name, "")
        if value and value.lower() not in harmless:
            raise UserError(
                f"{name}={value}: under it our libraries would compute something else than "
                f"params.yaml asks for, or fail; unset {name}"
            )
    warnings = os.environ.get("PYTHONWARNINGS", "")
    actions = [entry.strip().partition(":")[0] for entry in warnings.split(",")]
    # Python takes every beginning of "error" for it
    if any(action and "error".startswith(action) for action in actions):
        raise UserError(
            f"PYTHONWARNINGS={warnings}: under it our libraries fail where they warn; "
            "unset PYTHONWARNINGS"
        )
    encoding = sys.getfilesystemencoding()
    # safetensors and tokenizers know UTF-8 only
    if encoding != "utf-8" and not str(Path.cwd()).isascii():
        raise UserError(
            f"{Path.cwd()}: a name that is no ASCII, under a locale of {encoding}; set PYTHONUTF8=1"
        )


def recorded() -> dict[str, Any]:
    """Return what decides the order of sums, for a run record."""
    names = [name for name in sorted(os.environ) if name.startswith(RECORDED)]
    record: dict[str, Any] = {
        "variables": " ".join(f"{name}={os.environ[name]}" for name in names),
        "portable": portable.holds(),
    }
    torch = sys.modules.get("torch")  # stages without torch must not pay for its import
    if torch is not None:
        record |= {
            "threads": torch.get_num_threads(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
        }
    return record
