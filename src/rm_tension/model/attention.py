"""Attention within rows, by the fastest kernel of each device; transformers knows it as `rows`.

transformers' models hand the keyword arguments of `within` on to every block. All kernels take
query [heads, tokens, size], key and value [key heads, tokens, size], and return
[heads, tokens, size].
"""

import sys
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from rm_tension.model.spans import Spans

NAME = "rows"
FLASH_CAPABILITY = (8, 0)  # of CUDA: older GPUs have no FlashAttention
HALF = (torch.bfloat16, torch.float16)
CAUSAL_FROM_BOTTOM_RIGHT = 2  # custom_mask_type: the last query sees the last key
FLOAT32_LIMIT = (
    1e-5  # relative L2 distance of a float32 kernel from float64; wrong masks are at 0.3
)
CHECKED_SPANS = [(0, 0, 40), (0, 31, 17), (0, 31, 1), (58, 0, 5), (58, 3, 70), (58, 3, 33)]


class Kernel(Protocol):
    """An attention kernel."""

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, spans: Spans, scale: float | None
    ) -> Tensor: ...


def within(spans: Spans) -> dict[str, Any]:
    """Return forward kwargs for packed attention along `spans`."""
    # transformers makes a mask of its own, [tokens, tokens], unless it is given one of four
    # dimensions
    return {"spans": spans, "attention_mask": torch.empty(0, 0, 0, 0)}


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    spans: Spans | None = None,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Return [1, tokens, heads, size] of tensors [1, heads, tokens, size], and no weights.

    This is transformers' interface. A model that is called without spans, by a user of
    transformers, attends as it would with `sdpa`.
    """
    if spans is None:
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **others
        )
        return plain
    kind = query.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        # as SDPA does; Llama's query and key arrive in float32, and the kernel depends on the type
        dtype = torch.get_autocast_dtype(kind)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    kernel = kernel_for(query.device, query.dtype)
    return kernel(query[0], key[0], value[0], spans, scaling).transpose(0, 1)[None], None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)


def kernel_for(device: torch.device, dtype: torch.dtype) -> Kernel:
    """Return the fastest kernel that is right on the device for tensors of this type."""
    if device.type == "cpu":
        return span_by_span
    if device.type == "cuda":
        if dtype in HALF and torch.cuda.get_device_capability(device) >= FLASH_CAPABILITY:
            return packed_flash
        if dtype == torch.float32 and packed_efficient_agrees(device):
            return packed_efficient
    return padded


def span_by_span(
    query: Tensor, key: Tensor, value: Tensor, spans: Spans, scale: float | None
) -> Tensor:
    """Call SDPA for each span: nothing is computed in vain, and a CPU does not mind the calls.

    Calls on small tensors cost as much as they compute, so all spans are gathered and cut at once.
    """
    if spans.shared:
        key, value = (tensor.index_select(1, spans.key_places) for tensor in (key, value))
    queries = torch.split(query[None], spans.own.tolist(), dim=2)
    keys, values = (
        torch.split(tensor[None], spans.keys.tolist(), dim=2) for tensor in (key, value)
    )
    grouped = len(query) != len(key)
    outputs = [
        scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=grouped
        )
        for q, k, v, mask in zip(queries, keys, values, spans.masks, strict=True)
    ]
    return torch.cat(outputs, dim=2)[0]


def packed_flash(
    query: Tensor, key: Tensor, value: Tensor, spans: Spans, scale: float | None
) -> Tensor:
    """Call FlashAttention once for all spans; it takes half precision only."""
    q, k, v = _packed(query, key, value, spans)
    output = varlen_attn(
        q,
        k,
        v,
        spans.query_ends,
        spans.key_ends,
        *spans.longest,
        scale=scale,
        window_size=(-1, 0),  # causal: the last query of a span sees its last key
        enable_gqa=len(query) != len(key),
    )
    assert isinstance(output, Tensor)  # noqa: S101  # log-sum-exps are returned only on request
    return output.transpose(0, 1)


def packed_efficient(
    query: Tensor, key: Tensor, value: Tensor, spans: Spans, scale: float | None
) -> Tensor:
    """Call the memory-efficient kernel once for all spans, as torch's `attention.bias` does.

    The kernel multiplies float32 by three TF32 products, which lose next to nothing.
    """
    q, k, v = _packed(query, _for_heads(query, key), _for_heads(query, value), spans)
    differentiated = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
    output: Tensor = torch.ops.aten._efficient_attention_forward(
        q[None],
        k[None],
        v[None],
        None,
        spans.query_ends,
        spans.key_ends,
        *spans.longest,
        0.0,  # dropout
        CAUSAL_FROM_BOTTOM_RIGHT,
        differentiated,  # only gradients need the log-sum-exps
        scale=scale,
    )[0]
    return output[0].transpose(0, 1)


def padded(query: Tensor, key: Tensor, value: Tensor, spans: Spans, scale: float | None) -> Tensor:
    """Call SDPA for the spans without context and for the others, each padded to its longest.

    For GPUs without a packed kernel.
    """
    # copies: in float32, SDPA's only kernel that takes grouped heads keeps all scores
    key, value = _for_heads(query, key), _for_heads(query, value)
    parts = []
    for part in spans.padded:
        q = query[:, part.queries].transpose(0, 1)
        k, v = (tensor[:, part.keys].transpose(0, 1) for tensor in (key, value))
        causal = part.mask is None
        output = scaled_dot_product_attention(
            q, k, v, attn_mask=part.mask, is_causal=causal, scale=scale
        )
        parts.append(output.transpose(0, 1).flatten(1, 2)[:, part.real])  # [heads, tokens, size]
    return torch.cat(parts, dim=1)[:, spans.unpadded]


def definition(query: Tensor, key: Tensor, value: Tensor, spans: Spans, scale: float) -> Tensor:
    """Return what all kernels approximate: softmax of scores, span by span, with a mask."""
    share = len(query) // len(key)
    key, value = (tensor.repeat_interleave(share, dim=0) for tensor in (key, value))
    outputs, begin = [], 0
    for start, context, own in zip(spans.start, spans.context, spans.own, strict=True):
        places = [*range(start, start + context), *range(begin, begin + own)]
        scores = query[:, begin : begin + own] @ key[:, places].transpose(1, 2) * scale
        hidden = torch.ones(own, context + own, dtype=torch.bool).triu(context + 1)
        weights = scores.masked_fill(hidden, -torch.inf).softmax(dim=-1)
        outputs.append(weights @ value[:, places])
        begin += own
    return torch.cat(outputs, dim=1)


@cache
def packed_efficient_agrees(device: torch.device) -> bool:
    """Return whether `packed_efficient` is right on the device: output and gradients, by float64.

    A process asks once, and says on stderr if it must do with `padded`.
    """
    try:
        distance = max(distances(packed_efficient, device, torch.float32, 4, 2, 64))
        fault = "" if distance <= FLOAT32_LIMIT else f"off by {distance:.1e}"
    except RuntimeError as error:
        fault = str(error)
    if fault:
        print(
            f"{device}: packed attention in float32 does not work here ({fault}): padded instead, "
            "which is slower; `make gpu-check` tells more",
            file=sys.stderr,
        )
    return not fault


def distances(
    kernel: Kernel,
    device: torch.device,
    dtype: torch.dtype,
    heads: int,
    key_heads: int,
    size: int,
    spans: Spans | None = None,
) -> list[float]:
    """Return a kernel's relative L2 distances from float64: of the output, and of dq, dk and dv.

    Both sides get the same random numbers, rounded to `dtype`; float64 is `definition`'s on the
    CPU.
    """
    spans = spans or Spans.of(CHECKED_SPANS)
    shape = (heads, int(spans.own.sum()), size)
    shapes = [shape, *2 * [(key_heads, *shape[1:])], shape]

    def results(
        kernel: Callable[..., Tensor], device: torch.device, dtype: torch.dtype
    ) -> list[Tensor]:
        leaves = [tensor.to(device, dtype).requires_grad_() for tensor in inputs]
        output = kernel(*leaves, spans.to(device), size**-0.5)
        gradients = torch.autograd.grad(output, leaves, weights.to(device, dtype))
        return [tensor.detach().cpu().double() for tensor in (output, *gradients)]

    with (  # a stage may ask in the middle of scoring
        torch.inference_mode(mode=False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
    ):
        generator = torch.Generator().manual_seed(0)
        *inputs, weights = (torch.randn(one, generator=generator).to(dtype) for one in shapes)
        exact = results(definition, torch.device("cpu"), torch.float64)
        computed = results(kernel, device, dtype)
    return [float((a - b).norm() / b.norm()) for a, b in zip(computed, exact, strict=True)]


def _packed(
    query: Tensor, key: Tensor, value: Tensor, spans: Spans
) -> tuple[Tensor, Tensor, Tensor]:
    """Return [tokens, heads, size] of the queries, and of the keys and values span by span."""
    q, k, v = (tensor.transpose(0, 1) for tensor in (query, key, value))
    if spans.shared:
        k, v = (tensor.index_select(0, spans.key_places) for tensor in (k, v))
    return q.contiguous(), k.contiguous(), v.contiguous()


def _for_heads(query: Tensor, shared: Tensor) -> Tensor:
    """Return keys or values for each of the query's heads, of which several may share one."""
    if len(query) == len(shared):
        return shared
    return shared.repeat_interleave(len(query) // len(shared), dim=0)
