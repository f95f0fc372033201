"""The one place that chooses devices and precision, and knows when a device's memory is full."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from rm_tension.base.config import Precision
from rm_tension.base.errors import UserError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Compute:
    """A device, and the precision of the products that models compute there."""

    device: torch.device
    precision: Precision

    @property
    def computes_in(self) -> Precision:
        """What the precision comes to: where there is no TF32, the float32 that it approximates."""
        if self.precision == "tf32" and not has_tf32(self.device):
            return "float32"
        return self.precision

    @property
    def float64_device(self) -> torch.device:
        """Where float64 sums are kept: on the device, or the CPU beside Apple's GPUs."""
        return torch.device("cpu") if self.device.type == "mps" else self.device

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Compute in the precision, whatever TORCH_ALLOW_TF32_CUBLAS_OVERRIDE says."""
        with (
            _float32_products("high" if self.computes_in == "tf32" else "highest"),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"),
        ):
            yield

    @contextmanager
    def float32(self) -> Iterator[None]:
        """Compute float32 products in float32, for sums: TF32 would round each term first."""
        with _float32_products("highest"), torch.autocast(self.device.type, enabled=False):
            yield


@contextmanager
def _float32_products(precision: Literal["high", "highest"]) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def find_device(name: str | None = None) -> torch.device:
    """Return a torch device by name, or the best there is; raise UserError if it cannot be used."""
    best: torch.device = torch.accelerator.current_accelerator(
        check_available=True
    ) or torch.device("cpu")
    try:
        device = best if name is None else torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device {name!r} cannot be used; the best one here is {str(best)!r} ({error})"
        ) from error
    return device


def profile_device(profile: str, gpu: Literal["none", "useful", "required"]) -> torch.device:
    """Return the device that a profile's stages compute on, by its `gpu` in params.yaml.

    `none` is the CPU, also beside a GPU, whose bits would be others. `useful` is the best there is.
    `required` is CUDA; raise UserError, with torch's reason, where it cannot be used.
    """
    if gpu == "none":
        return torch.device("cpu")
    if gpu == "useful":
        return find_device()
    device = torch.device("cuda")
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"profiles.{profile}.gpu: required, but torch {torch.__version__} cannot use CUDA "
            f"here: {error}; look at `nvidia-smi`, start the container with `--gpus all`, or set "
            "it to useful in params.yaml to compute on a CPU"
        ) from error
    return device


def has_tf32(device: torch.device) -> bool:
    """Return whether the device is an NVIDIA GPU of Ampere or later."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def make_accelerator(precision: Precision, device: torch.device | None = None) -> Accelerator:
    """Return an Accelerator for a training in one process, on the device or the best there is.

    Its `autocast` is on where products are in bfloat16, also with weights in bfloat16: the release
    has both (METHOD.md section 1). Raise UserError if several processes were started, or if
    accelerate's own environment variables ask for another device.
    """
    accelerator = Accelerator(  # takes from the environment (ACCELERATE_*) what is left out
        cpu=device is not None and device.type == "cpu",
        mixed_precision="bf16" if precision == "bfloat16" else "no",
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        dynamo_backend="no",
    )
    if accelerator.num_processes > 1:
        raise UserError(
            f"started as {accelerator.num_processes} processes, but one reward model trains on one "
            "device; run the stages of the grid side by side instead, one process each: "
            "`rm-tension run`"
        )
    if device is not None and accelerator.device.type != device.type:
        raise UserError(
            f"accelerate chose {accelerator.device} instead of {device}: unset ACCELERATE_USE_CPU"
        )
    tf32 = Compute(accelerator.device, precision).computes_in == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")  # for backward passes, too
    return accelerator


# Beside accelerate's list: failures of CUDA's own allocations, outside torch's allocator
OUT_OF_MEMORY = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether the error says that memory did not suffice, of a GPU or of the machine."""
    return should_reduce_batch_size(error) or any(text in str(error) for text in OUT_OF_MEMORY)


class TokenBudget:
    """Micro-batch size in tokens, halved once on out-of-memory; only rounding depends on it."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self._halved = False

    def run(self, work: Callable[[int], Result]) -> Result:
        """Return `work(tokens)`, which may be begun again; UserError if halving fails, too."""
        try:
            return work(self.tokens)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if self._halved:
                raise UserError(
                    f"out of memory with {self.tokens} tokens at a time, too: {error}"
                ) from error
        # here the error, and with it all tensors of its frames, is gone
        clear_device_cache(garbage_collection=True)
        self._halved = True
        self.tokens //= 2
        print(
            f"out of memory: going on with {self.tokens} tokens at a time instead of twice as many",
            file=sys.stderr,
        )
        return self.run(work)
