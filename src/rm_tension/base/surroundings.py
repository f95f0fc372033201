"""What our libraries read of the user's surroundings; results depend on params.yaml, the locks and the code alone.

Most of it is set where it is used: accelerate's precision, steps and compiler and torch's TF32 in model/device.py,
matplotlib's style and LaTeX's environment in report/, git's repository in base/runs.py. What cannot be set and asks for
other numbers is refused here, by name. What changes no more than the order of sums, as another machine would, is set by
base/portable.py where a profile asks for it, and goes into the run records.
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
# Beginnings of the names of variables that choose devices, threads, instructions or algorithms. None holds a secret.
RECORDED = (
    "ACCELERATE_", "ATEN_", "CUBLAS", "CUDA_", "CUDNN_", "DNNL_", "GOMP_", "GOTO_", "KMP_", "MKL_", "NPY_", "NVIDIA_",
    "OMP_", "ONEDNN_", "OPENBLAS_", "PYTORCH_", "RAYON_", "TORCH_", "TRANSFORMERS_",
)  # fmt: skip


def check() -> None:
    """To be called by every program before it computes; raises UserError for a variable that it must not run under."""
    for stream in (sys.stdout, sys.stderr):  # what a locale's encoding lacks is no reason to stop
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for name, harmless in REFUSED.items():
        value = os.environ.get(name, "")
        if value and value.lower() not in harmless:
            what = "under it our libraries would compute something else than params.yaml asks for, or fail"
            raise UserError(f"{name}={value}: {what}; unset {name}")
    warnings = os.environ.get("PYTHONWARNINGS", "")
    actions = [one.strip().partition(":")[0] for one in warnings.split(",")]
    if any(
        action and "error".startswith(action) for action in actions
    ):  # as Python reads it; e is error
        raise UserError(
            f"PYTHONWARNINGS={warnings}: under it our libraries fail where they warn; unset PYTHONWARNINGS"
        )
    encoding = sys.getfilesystemencoding()
    if (
        encoding != "utf-8" and not str(Path.cwd()).isascii()
    ):  # safetensors and tokenizers know no other
        raise UserError(
            f"{Path.cwd()}: a name that is no ASCII, under a locale of {encoding}; set PYTHONUTF8=1"
        )


def recorded() -> dict[str, Any]:
    """What decides the order of sums, for a run record."""
    found: dict[str, Any] = {
        "variables": " ".join(
            f"{name}={os.environ[name]}" for name in sorted(os.environ) if name.startswith(RECORDED)
        ),
        "portable": portable.holds(),
    }
    torch = sys.modules.get("torch")  # stages without torch must not pay for its import
    if torch is not None:
        found |= {
            "threads": torch.get_num_threads(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
        }
    return found
