"""The one place that chooses device and precision, through accelerate."""

from accelerate import Accelerator

from rm_tension.base.errors import UserError


def make_accelerator(autocast: str | None) -> Accelerator:
    """An Accelerator for one process on the best device there is; `autocast` is bfloat16, or None for none."""
    accelerator = Accelerator(mixed_precision="bf16" if autocast == "bfloat16" else "no")
    if accelerator.num_processes > 1:
        raise UserError(
            f"started as {accelerator.num_processes} processes, but one reward model trains on one device; "
            "run the stages of the grid side by side instead, one process each"
        )
    return accelerator
