"""Attention within rows, by the fastest kernel of each device; transformers knows it as `rows`.

transformers' models hand the arguments of `within` on to every block. All kernels take query [heads, tokens, size],
key and value [key heads, tokens, size], and return [heads, tokens, size].
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from rm_tension.model.spans import Spans

NAME = "rows"


def within(spans: Spans) -> dict[str, Any]:
    """What to call a model with, so that each token attends as `spans` say."""
    # transformers makes a mask of its own, [tokens, tokens], unless it is given one of four dimensions
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
    """As transformers calls it: tensors [1, heads, tokens, size] -> [1, tokens, heads, size], no attention weights.

    A model that is called without spans, by a user of transformers, attends as it would with `sdpa`.
    """
    if spans is None:
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **others
        )
        return found
    if query.device.type == "cpu":
        kernel = span_by_span
    elif query.device.type == "cuda" and query.dtype in (torch.bfloat16, torch.float16):
        kernel = end_to_end
    else:
        kernel = side_by_side
    return kernel(query[0], key[0], value[0], spans, scaling).transpose(0, 1)[None], None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)


def span_by_span(
    query: Tensor, key: Tensor, value: Tensor, spans: Spans, scale: float | None
) -> Tensor:
    """A call for each span: nothing is computed in vain, and a CPU does not mind the calls."""
    queries, keys, values = (
        torch.split(one, spans.own.tolist(), dim=1) for one in (query, key, value)
    )
    found = []
    for number, span in enumerate(spans.each):
        k, v = keys[number], values[number]
        if span.mask is not None:
            k, v = (
                torch.cat([of[span.home][:, : span.context], own], dim=1)
                for of, own in ((keys, k), (values, v))
            )
        causal = span.mask is None
        q, k, v = queries[number][None], k[None], v[None]
        found.append(
            scaled_dot_product_attention(
                q, k, v, attn_mask=span.mask, is_causal=causal, scale=scale, enable_gqa=True
            )
        )
    return torch.cat(found, dim=2)[0]


def end_to_end(
    query: Tensor, key: Tensor, value: Tensor, spans: Spans, scale: float | None
) -> Tensor:
    """FlashAttention over all spans at once; causal there means that the last query sees the last key."""
    q, k, v = (
        one.transpose(0, 1).contiguous()
        for one in (query, _for_heads(query, key), _for_heads(query, value))
    )
    if spans.shared:
        k, v = (one.index_select(0, spans.key_places) for one in (k, v))
    longest = int(spans.own.max()), int(spans.keys.max())
    found = varlen_attn(
        q, k, v, spans.query_ends, spans.key_ends, *longest, scale=scale, window_size=(-1, 0)
    )
    assert isinstance(found, Tensor)  # noqa: S101  # the pair with the sums is returned only where it is asked for
    return found.transpose(0, 1)


def side_by_side(
    query: Tensor, key: Tensor, value: Tensor, spans: Spans, scale: float | None
) -> Tensor:
    """A call over the spans without context and one over the others, each padded to its longest.

    For what FlashAttention does not take: float32 on a GPU.
    """
    key, value = _for_heads(query, key), _for_heads(query, value)
    parts = []
    for part in spans.padded:
        q, k, v = (
            one[:, at].transpose(0, 1)
            for one, at in ((query, part.queries), (key, part.keys), (value, part.keys))
        )
        causal = part.mask is None
        found = scaled_dot_product_attention(
            q, k, v, attn_mask=part.mask, is_causal=causal, scale=scale
        )
        parts.append(
            found.transpose(0, 1).flatten(1, 2)[:, part.real]
        )  # [heads, tokens of the part, size]
    return torch.cat(parts, dim=1)[:, spans.unpadded]


def _for_heads(query: Tensor, shared: Tensor) -> Tensor:
    """Keys or values for each of the query's heads, of which several may share one."""
    return shared.repeat_interleave(query.shape[0] // shared.shape[0], dim=0)
