"""Rewards from shared-prefix rows are those of separate sequences."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rm_tension.model.reward_model import rewards
from rm_tension.model.rows import (
    batches,
    collate,
    prefix_length,
    row_batches,
    row_length,
    split,
    token_count,
)
from samples import POSITIONS, random_items, text

RNG = np.random.default_rng(7)
PROMPT = text(RNG, 5)
A, B = text(RNG, 8), text(RNG, 3)
FULL = text(RNG, POSITIONS)

CASES = {
    "a common prompt": [[np.concatenate([PROMPT, A]), np.concatenate([PROMPT, B])]],
    "no common prefix": [[np.array([1, 2, 3], np.int32), np.array([4, 5], np.int32)]],
    "one answer is a prefix of the other": [[PROMPT, np.concatenate([PROMPT, A])]],
    "the other way round": [[np.concatenate([PROMPT, A]), PROMPT]],
    "identical answers": [[A, A.copy()]],
    "single-token texts": [[np.array([3], np.int32), np.array([4], np.int32)]],
    "single-token answers": [[np.append(PROMPT, np.int32(3)), np.append(PROMPT, np.int32(4))]],
    "texts at the length limit": [[FULL, np.append(FULL[:-1], np.int32(1))]],
    "one answer only": [[A]],
    "six answers, several items": random_items(1, 5, answers=6),
    "rows of very different length": [[FULL, B], [B, np.append(B, np.int32(9))]],
}


def one_by_one(model, items):
    """The reward of each text alone, through transformers' own causal mask."""
    found = []
    for answer in (answer for item in items for answer in item):
        ids = torch.as_tensor(answer, dtype=torch.int64)[None]
        hidden = model.base_model(input_ids=ids).last_hidden_state
        found.append(model.score(hidden[:, -1]).squeeze())
    return torch.stack(found)


@pytest.mark.parametrize("items", CASES.values(), ids=CASES.keys())
def test_rewards_equal_those_of_separate_sequences(model, items):
    with torch.no_grad():
        torch.testing.assert_close(
            rewards(model, collate(items)), one_by_one(model, items), rtol=0, atol=1e-5
        )


def gradients(model, of_texts):
    """The gradient of a weighted sum of rewards, all parameters in one vector."""
    model.zero_grad()
    (of_texts * torch.linspace(0.5, 1, len(of_texts))).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_gradients_equal_those_of_separate_sequences(model):
    items = random_items(2, 6)
    separate = gradients(model, one_by_one(model, items))
    shared = gradients(model, rewards(model, collate(items)))
    assert float((shared - separate).norm() / separate.norm()) < 1e-5


def test_batching_changes_no_reward(model):
    items = random_items(3, 9, answers=3)
    found = torch.empty(9, 3)
    with torch.no_grad():
        for indices, rows in row_batches(items, 40):
            found[indices] = rewards(model, rows).view(-1, 3)
        torch.testing.assert_close(found.flatten(), one_by_one(model, items), rtol=0, atol=1e-5)


def test_an_empty_text_is_refused():
    with pytest.raises(ValueError, match="without tokens"):
        collate([[A, np.array([], np.int32)]])


def test_layout_of_rows():
    rows = collate(
        [
            [np.array([7, 8, 1], np.int32), np.array([7, 8, 2, 3], np.int32)],
            [np.array([9], np.int32)],
        ]
    )
    assert rows.input_ids.tolist() == [[7, 8, 1, 2, 3, 9]]
    assert rows.position_ids.tolist() == [[0, 1, 2, 2, 3, 0]]
    assert rows.segments.tolist() == [0, 0, 1, 2, 2, 0]  # a text alone is its own prefix
    assert rows.last.tolist() == [2, 4, 5]
    assert rows.belongs_to(0).tolist() == [True, True, True, False, False, True]


texts = st.lists(
    st.lists(st.integers(0, 2), min_size=1, max_size=8).map(np.array), min_size=1, max_size=4
)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 200))
def test_batches_hold_each_row_once_within_the_budget_longest_first(lengths, budget):
    groups = batches(lengths, budget)
    assert [lengths[index] for group in groups for index in group] == sorted(lengths, reverse=True)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    assert all(len(group) == 1 or sum(lengths[i] for i in group) <= budget for group in groups)
    for group, after in pairwise(groups):
        assert sum(lengths[index] for index in group) + lengths[after[0]] > budget


@given(texts, st.sampled_from([1, 9, 1000]))
def test_an_item_is_split_into_rows_in_the_order_of_its_texts(item, budget):
    rows = list(split(item, budget))
    assert [text.tolist() for row in rows for text in row] == [text.tolist() for text in item]
    assert all(
        len(row) == 1 or sum(map(len, row)) - (len(row) - 1) * prefix_length(item) <= budget
        for row in rows
    )


@pytest.mark.parametrize(("prefix", "rows"), [(0, 3), (1, 3), (2, 1), (9, 1)])
def test_a_prefix_is_shared_from_an_eighth_of_the_longest_answer(prefix, rows):
    shared = np.full(prefix, 5, np.int32)
    item = [
        np.append(shared, np.full(own, first, np.int32)) for first, own in enumerate((3, 16, 9))
    ]
    assert len(list(split(item, 1000))) == rows


@given(texts)
def test_prefix_is_the_longest_that_all_texts_share(item):
    length = prefix_length(item)
    assert all((one[:length] == item[0][:length]).all() for one in item)
    assert any(len(one) == length for one in item) or len({one[length] for one in item}) > 1
    assert token_count([item]) == row_length(item) + (len(item) - 1) * length
