"""The one place that chooses device and precision, through accelerate, and knows when a device's memory is full."""

import sys
from collections.abc import Callable
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from rm_tension.base.errors import UserError

Result = TypeVar("Result")


def make_accelerator(autocast: str | None) -> Accelerator:
    """An Accelerator for one process on the best device there is; `autocast` is bfloat16, or None for none."""
    full_precision()
    accelerator = Accelerator(  # what is left out, accelerate takes from the environment (ACCELERATE_*)
        mixed_precision="bf16" if autocast == "bfloat16" else "no",
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        dynamo_backend="no",
    )
    if accelerator.num_processes > 1:
        raise UserError(
            f"started as {accelerator.num_processes} processes, but one reward model trains on one device; "
            "run the stages of the grid side by side instead, one process each: `python -m rm_tension.launch`"
        )
    return accelerator


def full_precision() -> None:
    """Multiply float32 as float32, whatever TORCH_ALLOW_TF32_CUBLAS_OVERRIDE says, which NVIDIA's images set."""
    torch.set_float32_matmul_precision("highest")


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
            if not should_reduce_batch_size(error):
                raise
            if self._halved:
                raise UserError(f"out of memory with {self.tokens} tokens at a time, too: {error}") from error
        # here the error, and with it all tensors of its frames, is gone
        clear_device_cache(garbage_collection=True)
        self._halved = True
        self.tokens //= 2
        print(f"out of memory: going on with {self.tokens} tokens at a time instead of twice as many", file=sys.stderr)
        return self.run(work)
