"""Find out whether a model of any architecture may be given shared-prefix rows.

Rows hold where attention is plain and causal. Sliding windows, soft caps, attention biases and
blocks with arguments of their own give other numbers, or an error: texts then go one by one through
the model's own attention.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from rm_tension.activations.stats import OWN_SUMS, collect
from rm_tension.base.errors import UserError
from rm_tension.evaluate.scoring import Scorer
from rm_tension.model import attention
from rm_tension.model.device import Compute, TokenBudget, is_out_of_memory
from rm_tension.model.reward_model import takes_rows
from rm_tension.model.rows import Item

TOKENS = 4096  # that go through a model together
SHORTEST, BEYOND = 48, 16  # tokens of a probe's texts, and those beyond a sliding window
# relative L2 distance: rounding is far below, a wrong mask far above
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 1e-1, torch.float16: 1e-1}
Numbers = NDArray[np.float64]


def choose_attention(model: PreTrainedModel, compute: Compute, max_length: int) -> None:
    """Have a model take rows where these give the numbers of its own attention, which it has now.

    Texts of random tokens decide, longer than its sliding window if texts of `max_length` tokens
    are. Raise UserError if the reward is not a linear map of the last token's hidden state.
    """
    pairs = _pairs(model, max_length)
    own, tolerance = model.config._attn_implementation, TOLERANCE[model.dtype]
    expected = _stock_rewards(model, pairs, compute)
    rewards, sums = _numbers(model, pairs, compute)
    if not _distance(rewards, expected) <= tolerance:
        raise UserError(
            f"model type {model.config.model_type!r}: its rewards are not a linear map of a text's "
            "last token, which is all that can be scored here"
        )
    try:
        model.set_attn_implementation(attention.NAME)
        if takes_rows(model):  # some types keep theirs
            of_rows = _numbers(model, pairs, compute)
            distances = [_distance(*both) for both in zip(of_rows, (rewards, sums), strict=True)]
            if max(distances) <= tolerance:
                return
    except (UserError, MemoryError):
        raise
    except Exception as error:  # of blocks that do not know rows: any
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
    model.set_attn_implementation(own)


def _pairs(model: PreTrainedModel, max_length: int) -> list[Item]:
    """Return pairs of random texts that share three quarters of their tokens."""
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None) or 0
    length = min(max_length, max(SHORTEST, window + BEYOND))
    ids = np.arange(config.vocab_size, dtype=np.int32)
    ids = ids[ids != (-1 if config.pad_token_id is None else config.pad_token_id)]
    generator = np.random.default_rng(0)
    pairs: list[Item] = []
    for shorter in (1, 5):
        texts = generator.choice(ids, (2, length))
        texts[1, : length * 3 // 4] = texts[0, : length * 3 // 4]
        pairs.append([texts[0], texts[1, : max(length - shorter, 1)]])
    return pairs


def _stock_rewards(model: PreTrainedModel, pairs: Sequence[Item], compute: Compute) -> Numbers:
    """Return the rewards that transformers' own forward pass gives each text alone."""
    rewards = []
    with torch.inference_mode(), compute.autocast():
        for pair in pairs:
            for text in pair:
                ids = torch.from_numpy(text.astype(np.int64)).to(compute.device)
                rewards.append(float(model(input_ids=ids[None], use_cache=False).logits[0, 0]))
    return np.array(rewards)


def _numbers(
    model: PreTrainedModel, pairs: Sequence[Item], compute: Compute
) -> tuple[Numbers, Numbers]:
    """Return rewards and activation sums, as everything here computes them."""
    rewards = Scorer(pairs, TokenBudget(TOKENS)).score(model, compute, "probe").astype(np.float64)
    both = collect({"rm": model}, model, pairs, compute, TokenBudget(TOKENS), "probe")["rm"]
    sums = [[getattr(side, name) for name in OWN_SUMS] for side in both.sides]
    return rewards, np.array(sums)


def _distance(numbers: Numbers, expected: Numbers) -> float:
    """Return the L2 distance relative to how far the expected numbers are from their mean."""
    spread = np.linalg.norm(expected - expected.mean())
    return float(np.linalg.norm(numbers - expected) / max(spread, np.finfo(np.float32).tiny))
