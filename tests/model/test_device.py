"""Which device a profile computes on, in which precision, and what counts as out of memory."""

from types import SimpleNamespace

import pytest
import torch

from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.model import device as devices
from rm_tension.model.device import (
    Compute,
    TokenBudget,
    find_device,
    is_out_of_memory,
    make_accelerator,
    profile_device,
)


def test_a_profile_without_gpu_computes_on_the_cpu_beside_one(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("meta"))
    assert find_device().type == profile_device("p", "useful").type == "meta"
    assert profile_device("p", "none").type == "cpu"
    assert make_accelerator("float32", profile_device("p", "none")).device.type == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
@pytest.mark.parametrize("stage", ["train", "activations", "evaluate"])
def test_stages_refuse_a_required_gpu_that_is_lost(stage):
    from importlib import import_module

    from rm_tension.base.grid import Paths
    from rm_tension.base.job import Job

    params = load_params()
    cell = {"profile": "paper", "backbone": "gpt2-small", "objective": "helpful", "seed": 0}
    job = Job(params, params.profiles["paper"], Paths("paper"), cell)
    reason = "(?s)paper.gpu: required, but torch .* (CUDA enabled|NVIDIA driver|CUDA GPUs)"
    with pytest.raises(UserError, match=reason):
        import_module(f"rm_tension.{stage}.stage").run(job)


def test_accelerates_own_variables_choose_no_other_device(monkeypatch):
    elsewhere = SimpleNamespace(num_processes=1, device=torch.device("cpu"))
    monkeypatch.setattr(devices, "Accelerator", lambda **_: elsewhere)
    with pytest.raises(UserError, match="chose cpu instead of cuda: unset ACCELERATE_USE_CPU"):
        make_accelerator("float32", torch.device("cuda"))


def test_sums_are_float32_within_any_precision(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    before = torch.get_float32_matmul_precision()
    with Compute(torch.device("cuda"), "tf32").autocast():
        assert torch.get_float32_matmul_precision() == "high"
        with Compute(torch.device("cuda"), "tf32").float32():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before
    a = torch.full((2, 2), 1 + 2**-12)
    with (compute := Compute(torch.device("cpu"), "bfloat16")).autocast():
        assert (a @ a).dtype == torch.bfloat16
        with compute.float32():
            assert (a @ a).dtype == torch.float32


@pytest.mark.parametrize(
    ("message", "counts"),
    [
        ("CUDA out of memory. Tried to allocate 2.00 GiB", True),
        ("CUDA error: out of memory\nCUDA kernel errors might be reported later", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes", True),
        ("CUDA error: an illegal memory access was encountered", False),
        ("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)", False),
    ],
)
def test_what_counts_as_out_of_memory(message, counts, capsys):
    asked = []

    def work(tokens):
        asked.append(tokens)
        if len(asked) == 1:
            raise RuntimeError(message)
        return tokens

    assert is_out_of_memory(RuntimeError(message)) == counts
    if not counts:
        with pytest.raises(RuntimeError, match=r"illegal|multiplied"):
            TokenBudget(100).run(work)
        return
    assert TokenBudget(100).run(work) == 50
    assert "going on with 50 tokens" in capsys.readouterr().err


def test_memory_that_half_a_budget_does_not_suffice_for_is_the_users_error():
    def work(tokens):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with pytest.raises(UserError, match="out of memory with 50 tokens at a time, too"):
        TokenBudget(100).run(work)
