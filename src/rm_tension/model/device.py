"""The one place that chooses devices and precision, and knows when a device's memory is full."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from rm_tension.base.config import Precision
from rm_tension.base.errors import UserError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Place:
    """A device, and the precision of the products that models compute there."""

    device: torch.device
    precision: Precision

    @property
    def computes_in(self) -> Precision:
        """What the precision comes to: where there is no TF32, the float32 that it approximates."""
        return (
            "float32" if self.precision == "tf32" and not has_tf32(self.device) else self.precision
        )

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute so, whatever torch was told before, by TORCH_ALLOW_TF32_CUBLAS_OVERRIDE for one."""
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if self.computes_in == "tf32" else "highest")
        try:
            with torch.autocast(
                self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
            ):
                yield
        finally:
            torch.set_float32_matmul_precision(before)


def find_device(name: str | None = None) -> torch.device:
    """A torch device by name, or the best there is; raises UserError if it cannot be used."""
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


def has_tf32(device: torch.device) -> bool:
    """NVIDIA's GPUs since Ampere."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def make_accelerator(precision: Precision) -> Accelerator:
    """Return an Accelerator for a training in one process, on the best device there is.

    Its `autocast` is on where products are in bfloat16, also with weights in bfloat16: the release has both
    (METHOD.md section 1). Raises UserError if several processes were started.
    """
    accelerator = (
        Accelerator(  # what is left out, accelerate takes from the environment (ACCELERATE_*)
            mixed_precision="bf16" if precision == "bfloat16" else "no",
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            dynamo_backend="no",
        )
    )
    if accelerator.num_processes > 1:
        raise UserError(
            f"started as {accelerator.num_processes} processes, but one reward model trains on one device; "
            "run the stages of the grid side by side instead, one process each: `rm-tension run`"
        )
    tf32 = Place(accelerator.device, precision).computes_in == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")  # for backward passes, too
    return accelerator


# What CUDA says besides "out of memory." of torch's allocator, which accelerate knows
OUT_OF_MEMORY = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


def _is_out_of_memory(error: RuntimeError) -> bool:
    return should_reduce_batch_size(error) or any(text in str(error) for text in OUT_OF_MEMORY)


class Budget:
    """How many tokens go through a model together: halved, once, where memory does not suffice for them.

    Nothing but rounding depends on it.
    """

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self._halved = False

    def run(self, work: Callable[[int], Result]) -> Result:
        """What `work` makes of so many tokens at a time; it must be able to begin again. Raises UserError."""
        try:
            return work(self.tokens)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
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
