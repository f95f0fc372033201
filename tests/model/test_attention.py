"""All attention kernels agree with one mask over all tokens, in results and gradients."""

from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoModelForSequenceClassification

from rm_tension.model import attention
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


def one_mask(query, key, value, rows, scale):
    """The definition: of its row, a token sees the earlier tokens of the prefix and of its own segment."""
    row = torch.cumsum((rows.position_ids[0] == 0) & (rows.segments <= 1), dim=0)
    tokens = torch.arange(len(row))
    starts = {
        int(row[i]): i for i in reversed(range(len(row)))
    }  # a row without a prefix has a text at its start
    visible = (row[:, None] == row) & (tokens[:, None] >= tokens)
    visible &= (rows.segments == 0) | (rows.segments[:, None] == rows.segments)
    assert len(starts) == int(row[-1])
    share = query.shape[0] // key.shape[0]
    key, value = (one.repeat_interleave(share, dim=0) for one in (key, value))
    return scaled_dot_product_attention(
        query[None], key[None], value[None], attn_mask=visible, scale=scale
    )[0]


def varlen(query, key, value, query_ends, key_ends, longest_own, most_keys, *, scale, window_size):
    """What FlashAttention is documented to compute: each run alone, the last query beside the last key."""
    assert window_size == (-1, 0)
    found = []
    for begin, end, first, last in zip(
        query_ends, query_ends[1:], key_ends, key_ends[1:], strict=False
    ):
        q, k, v = (
            one.transpose(0, 1)[None]
            for one in (query[begin:end], key[first:last], value[first:last])
        )
        own, keys = q.shape[2], k.shape[2]
        assert own <= longest_own
        assert keys <= most_keys
        mask = torch.ones(own, keys, dtype=torch.bool).tril(keys - own)
        found.append(scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)[0])
    return torch.cat(found, dim=1).transpose(0, 1)


@pytest.mark.parametrize("items", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize(
    "kernel", [attention.span_by_span, attention.end_to_end, attention.side_by_side]
)
def test_kernels_compute_what_the_segments_say(kernel, items, monkeypatch):
    monkeypatch.setattr(attention, "varlen_attn", varlen)
    rows = collate(items)
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(heads, len(rows.segments), 8, generator=generator, requires_grad=True)
        for heads in (4, 2, 2)
    ]
    weights = torch.randn(4, len(rows.segments), 8, generator=generator)
    expected = one_mask(*tensors, rows, 0.3)
    found = kernel(*tensors, rows.spans, 0.3)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    for ours, theirs in zip(
        *(torch.autograd.grad((one * weights).sum(), tensors) for one in (found, expected)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kernel", [attention.end_to_end, attention.side_by_side])
def test_every_kernel_gives_a_model_the_same_rewards(model, kernel, monkeypatch):
    """To 1e-6 of the rewards' own size, in both families."""
    rows = collate(random_items(2, 6, answers=3))
    with torch.no_grad():
        expected = rewards(model, rows)
        monkeypatch.setattr(attention, "varlen_attn", varlen)
        monkeypatch.setattr(attention, "span_by_span", called := Mock(wraps=kernel))
        found = rewards(model, rows)
    assert called.call_count == model.config.num_hidden_layers
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


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
