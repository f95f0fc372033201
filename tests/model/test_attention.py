"""All attention kernels agree with the definition, and each device and type gets the right one."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoConfig, AutoModelForSequenceClassification

from cuda_without_gpu import device_guards
from rm_tension.activations.stats import collect
from rm_tension.model import attention
from rm_tension.model.device import Compute, TokenBudget
from rm_tension.model.fused import fuse
from rm_tension.model.reward_model import load_reward_model, new_reward_model, rewards
from rm_tension.model.rows import collate
from samples import random_items, text

RNG = np.random.default_rng(5)
SHORT = text(RNG, 4)
BATCHES = {
    "answers to prompts": random_items(1, 5, answers=4),
    "texts alone": [[text(RNG, length)] for length in (7, 1, 5)],
    "a text that is all prefix": [
        [SHORT, np.append(SHORT, SHORT)],
        [np.append(SHORT, SHORT), SHORT],
        [SHORT],
    ],
}
CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)  # builds without CUDA need the index
HOPPER, TURING = (9, 0), (7, 5)


def one_mask(query, key, value, rows, scale):
    """Attend as the segments say: to earlier tokens of the row's prefix and of the own segment."""
    row = torch.cumsum((rows.position_ids[0] == 0) & (rows.segments <= 1), dim=0)
    tokens = torch.arange(len(row))
    visible = (row[:, None] == row) & (tokens[:, None] >= tokens)
    visible &= (rows.segments == 0) | (rows.segments[:, None] == rows.segments)
    share = query.shape[0] // key.shape[0]
    key, value = (one.repeat_interleave(share, dim=0) for one in (key, value))
    return scaled_dot_product_attention(
        query[None], key[None], value[None], attn_mask=visible, scale=scale
    )[0]


def by_cu_seqlens(q, k, v, query_ends, key_ends, longest_own, most_keys, scale):
    """Attend as packed kernels are documented to: each span alone, the last query sees all keys."""
    share = q.shape[1] // k.shape[1]
    k, v = (one.repeat_interleave(share, dim=1) for one in (k, v))
    outputs = []
    for begin, end, first, last in zip(
        query_ends, query_ends[1:], key_ends, key_ends[1:], strict=False
    ):
        own, keys = int(end - begin), int(last - first)
        assert own <= longest_own
        assert keys <= most_keys
        span = (one.transpose(0, 1)[None] for one in (q[begin:end], k[first:last], v[first:last]))
        mask = torch.ones(own, keys, dtype=torch.bool).tril(keys - own)
        outputs.append(scaled_dot_product_attention(*span, attn_mask=mask, scale=scale)[0])
    return torch.cat(outputs, dim=1).transpose(0, 1)


def flash(q, k, v, *indices, scale, window_size, enable_gqa):
    """Stand in for varlen_attn, which CPUs lack."""
    assert window_size == (-1, 0)
    assert enable_gqa == (q.shape[1] != k.shape[1])
    return by_cu_seqlens(q, k, v, *indices, scale)


def efficient(q, k, v, bias, *indices, scale):
    """Stand in for the memory-efficient kernel, which CPUs lack."""
    *indices, dropout, mask_type, _ = indices
    assert (bias, dropout, mask_type, q.shape[2]) == (None, 0.0, 2, k.shape[2])
    return (by_cu_seqlens(q[0], k[0], v[0], *indices, scale)[None],)


@pytest.fixture
def stand_ins(monkeypatch):
    monkeypatch.setattr(attention, "varlen_attn", flash)
    monkeypatch.setattr(torch.ops.aten, "_efficient_attention_forward", efficient)


KERNELS = [
    attention.definition,
    attention.span_by_span,
    attention.packed_flash,
    attention.packed_efficient,
    attention.padded,
]


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("key_heads", [2, 4])
@pytest.mark.parametrize("items", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_compute_what_the_segments_say(kernel, items, key_heads):
    rows = collate(items)
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(heads, len(rows.segments), 8, generator=generator, requires_grad=True)
        for heads in (4, key_heads, key_heads)
    ]
    weights = torch.randn(4, len(rows.segments), 8, generator=generator)
    outputs = kernel(*tensors, rows.spans, 0.3), one_mask(*tensors, rows, 0.3)
    results = [[output, *torch.autograd.grad(output, tensors, weights)] for output in outputs]
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


@pytest.fixture
def fake_cuda(backbone, monkeypatch):
    """Tensors with shapes, types and devices, but no numbers."""
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    with device_guards(), FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        yield


@pytest.fixture
def chosen(monkeypatch):
    """The kernels that models took on a GPU of Hopper whose packed float32 kernel is right."""
    calls = Counter()
    choose = attention.kernel_for

    def kernel_for(device, dtype):
        kernel = choose(device, dtype)
        calls[kernel.__name__, dtype] += 1
        return kernel

    monkeypatch.setattr(attention, "kernel_for", kernel_for)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: HOPPER)
    monkeypatch.setattr(attention, "packed_efficient_agrees", lambda _: True)
    return calls


def on_gpu(backbone, weights):
    """Make a model without numbers, of a backbone's shape."""
    config = AutoConfig.from_pretrained(backbone, num_labels=1)
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(
            config, attn_implementation=attention.NAME, dtype=getattr(torch, weights)
        )
    for module in fuse(model).modules():
        for name, tensor in module._parameters.items():
            if tensor is not None:
                empty = torch.empty_like(tensor, device=CUDA, requires_grad=False)
                module._parameters[name] = torch.nn.Parameter(empty, requires_grad=False)
        for name, tensor in module._buffers.items():
            module._buffers[name] = torch.empty_like(tensor, device=CUDA)
    return model.eval()


EXPECTED = {
    "float32": ("packed_efficient", torch.float32),
    "tf32": ("packed_efficient", torch.float32),
    "bfloat16": ("packed_flash", torch.bfloat16),
}


@pytest.mark.usefixtures("fake_cuda")
@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
@pytest.mark.parametrize("precision", EXPECTED)
def test_rewards_on_a_gpu_take_the_packed_kernel_of_the_precision(
    backbone, precision, weights, chosen
):
    if weights == "bfloat16" != precision:
        pytest.skip("params.yaml refuses it")
    model = on_gpu(backbone, weights)
    rows = collate(random_items(2, 6, answers=3)).to(CUDA)
    with Compute(CUDA, precision).autocast():
        found = rewards(model, rows)
    assert (found.shape, found.dtype, found.device.type) == ((18,), torch.float32, "cuda")
    assert chosen == {EXPECTED[precision]: model.config.num_hidden_layers}


@pytest.mark.usefixtures("fake_cuda")
@pytest.mark.parametrize("precision", EXPECTED)
def test_statistics_on_a_gpu_run_in_every_precision(backbone, precision, chosen, monkeypatch):
    # all that needs numbers: what leaves the GPU in the end
    monkeypatch.setattr("rm_tension.activations.stats._Sums.by_model", lambda self: self._of_models)
    rm, base = (on_gpu(backbone, "float32") for _ in range(2))
    sums = collect(
        {"rm": rm}, base, random_items(2, 6), Compute(CUDA, precision), TokenBudget(50), ""
    )
    assert (sums.device.type, sums.dtype) == ("cuda", torch.float64)
    assert {*chosen} == {EXPECTED[precision]}


@pytest.mark.parametrize("kernel", KERNELS[2:])
@pytest.mark.parametrize("key_heads", [2, 4])
def test_kernels_have_gradients_on_a_gpu(kernel, key_heads):
    """By torch's own shape functions of both directions."""
    dtype = torch.bfloat16 if kernel is attention.packed_flash else torch.float32
    rows = collate(random_items(2, 6, answers=3)).to(torch.device("meta"))
    leaves = [
        torch.empty(heads, rows.input_ids.shape[1], 64, dtype=dtype, device="meta")
        for heads in (4, key_heads, key_heads)
    ]
    output = kernel(*(leaf.requires_grad_() for leaf in leaves), rows.spans, None)
    gradients = torch.autograd.grad(output.sum(), leaves)
    assert output.shape == leaves[0].shape
    assert [gradient.shape for gradient in gradients] == [leaf.shape for leaf in leaves]


@pytest.mark.parametrize(
    ("device", "dtype", "capability", "agrees", "expected"),
    [
        (CPU, torch.bfloat16, HOPPER, True, "span_by_span"),
        (CUDA, torch.bfloat16, HOPPER, True, "packed_flash"),
        (CUDA, torch.float16, HOPPER, False, "packed_flash"),
        (CUDA, torch.bfloat16, TURING, True, "padded"),
        (CUDA, torch.float32, TURING, True, "packed_efficient"),
        (CUDA, torch.float32, HOPPER, False, "padded"),
        (CUDA, torch.float64, HOPPER, True, "padded"),
        (torch.device("mps"), torch.bfloat16, HOPPER, True, "padded"),
    ],
)
def test_the_kernel_of_a_device(device, dtype, capability, agrees, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(attention, "packed_efficient_agrees", lambda _: agrees)
    assert attention.kernel_for(device, dtype).__name__ == expected


@pytest.mark.parametrize("fault", [None, "off by", "no kernel of this architecture"])
def test_a_packed_kernel_that_is_wrong_is_left_and_said(fault, monkeypatch, capsys):
    def kernel(query, key, value, spans, scale):
        if fault == "no kernel of this architecture":
            raise RuntimeError(fault)
        return attention.definition(query, key, value, spans, scale * (1.01 if fault else 1))

    monkeypatch.setattr(attention, "packed_efficient", kernel)
    attention.packed_efficient_agrees.cache_clear()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):  # as stages ask
        found = [attention.packed_efficient_agrees(CPU) for _ in range(2)]
    attention.packed_efficient_agrees.cache_clear()
    assert found == [fault is None] * 2
    said = capsys.readouterr().err
    assert said.count("padded instead") == (fault is not None)
    assert (fault or "") in said


def test_models_without_numbers_compute_their_shapes(model):
    """On the meta device, which knows no autocast: costs are counted there."""
    meta = torch.device("meta")
    rows = collate(random_items(2, 6, answers=3)).to(meta)
    assert rewards(model.to(meta), rows).shape == (18,)


def test_a_model_of_ours_is_a_stock_model_to_whoever_calls_it_plainly(model, backbone, tmp_path):
    new_reward_model(backbone, 3, 0.5, "float32").save_pretrained(tmp_path)
    stock = AutoModelForSequenceClassification.from_pretrained(tmp_path, pad_token_id=0)
    ours = load_reward_model(tmp_path)
    ours.config.pad_token_id = 0
    batch = {
        "input_ids": torch.tensor([[5, 6, 7, 8], [5, 9, 0, 0]]),
        "attention_mask": torch.tensor([[1] * 4, [1, 1, 0, 0]]),
    }
    with torch.no_grad():
        torch.testing.assert_close(ours(**batch).logits, stock(**batch).logits, rtol=0, atol=1e-6)
