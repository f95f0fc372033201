"""Let FakeTensorMode compute on "cuda" with builds of torch that have no CUDA."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

CUDA, META = 1, 14  # numbers of device types
REGISTRY = "_ZN3c104impl26device_guard_impl_registryE"


@contextmanager
def device_guards() -> Iterator[None]:
    """Give CUDA the guards of the meta device, which do nothing, where it has none.

    FakeTensorMode does the same where torch is built with CUDA and there is no GPU.
    """
    library = ctypes.CDLL(str(Path(torch.__path__[0], "lib/libc10.so")))
    registry = (ctypes.c_void_p * (META + 1)).in_dll(library, REGISTRY)
    before = registry[CUDA]
    registry[CUDA] = before or registry[META]
    try:
        yield
    finally:
        registry[CUDA] = before
