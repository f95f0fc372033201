"""Measure how long batches take on the device at hand, by the stages' own code on random weights.

A GPU gets batches of the real size, a CPU a few rows. Of large models two and four blocks are
measured, with the whole vocabulary, and the others added: memory stays small, and time grows
evenly with the blocks.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
)

from rm_tension.activations.stats import collect
from rm_tension.base.config import Profile
from rm_tension.cost import Batches, Rate, Shape
from rm_tension.evaluate.scoring import Scorer
from rm_tension.model import attention
from rm_tension.model.device import Compute, TokenBudget, find_device, make_accelerator
from rm_tension.model.fused import fuse
from rm_tension.model.rows import Item, row_length
from rm_tension.train.training import backward

FEW, MORE = 2, 4  # blocks
REPEATS = 3
ROWS_ON_CPU = 4
LEARNING_RATE, MAX_GRAD_NORM = 1e-5, 1.0  # no matter for the time


def calibrated(profile: Profile) -> tuple[Rate, bool]:
    """Return how long a batch of the profile takes here, and whether that is on a GPU."""
    device = find_device("cpu" if profile.gpu == "none" else None)
    gpu = device.type != "cpu"

    @cache
    def per_token(shape: Shape, batches: Batches) -> float:
        count = max(2, round(batches.tokens / batches.row_tokens))
        items = random_items(batches, count if gpu else min(count, ROWS_ON_CPU))
        return measure(shape, batches, items, device) / sum(map(row_length, items))

    def seconds(shape: Shape, batches: Batches) -> float:
        # how many batches there are does not matter, so that objectives share a measurement
        return batches.tokens * per_token(shape, replace(batches, count=0))

    return seconds, gpu


def random_items(batches: Batches, count: int) -> list[Item]:
    """Return rows of random tokens from 0.2 to 1.8 times as long as the mean row of the batches."""
    generator = np.random.default_rng(0)
    answers, shared = (2, 0.45) if batches.rows == "pairs" else (4, 0.1)
    items: list[Item] = []
    for length in np.linspace(0.2, 1.8, count) * batches.row_tokens:
        prefix = generator.integers(1, 256, max(1, round(shared * length)))
        rest = max(1, round((1 - shared) * length / answers))
        texts = [np.append(prefix, generator.integers(1, 256, rest)) for _ in range(answers)]
        items.append([text.astype(np.int32) for text in texts])
    return items


def measure(shape: Shape, batches: Batches, items: Sequence[Item], device: torch.device) -> float:
    """Return the seconds that the items take together in a model of that shape."""
    if shape.layers <= MORE:
        return _timed(shape, batches, items, device)
    few, more = (
        _timed(replace(shape, layers=layers), batches, items, device) for layers in (FEW, MORE)
    )
    return few + (shape.layers - FEW) * max(0.0, more - few) / (MORE - FEW)


def _timed(shape: Shape, batches: Batches, items: Sequence[Item], device: torch.device) -> float:
    """Return the seconds of the fastest of some runs, after one that is not counted."""
    dtype = getattr(torch, batches.weights)
    with device:
        model = AutoModelForSequenceClassification.from_config(
            config_of(shape), attn_implementation=attention.NAME, dtype=dtype
        )
    model = fuse(model)  # as the stages load it
    compute, budget = Compute(device, batches.precision), TokenBudget(round(batches.tokens))
    if batches.kind == "train":
        return _fastest(_training_step(model, batches, items, budget), device)
    model.eval().requires_grad_(False)
    scorer = Scorer(items, budget)
    alone = _fastest(lambda: scorer.score(model, compute, ""), device)
    if batches.kind == "score":
        return alone
    both = _fastest(lambda: collect({"rm": model}, model, items, compute, budget, ""), device)
    return max(both - alone, both / 2)  # the RM's pass has the sums, so it is more than half


def _training_step(
    model: PreTrainedModel, batches: Batches, items: Sequence[Item], budget: TokenBudget
) -> Callable[[], object]:
    """Return a step of the training stage: gradient, clipping, AdamW."""
    accelerator = make_accelerator(batches.precision)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    model, optimizer = accelerator.prepare(model.train(), optimizer)

    def step() -> None:
        budget.run(lambda tokens: backward(model, items, accelerator, tokens))
        accelerator.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()

    return step


def _fastest(run: Callable[[], object], device: torch.device) -> float:
    seconds = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        run()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def config_of(shape: Shape) -> PretrainedConfig:
    """Return transformers' configuration of a reward model of that shape, without dropout."""
    common = {"num_labels": 1, "vocab_size": shape.vocabulary, "pad_token_id": 0}
    common |= {"bos_token_id": 0, "eos_token_id": 0}
    sizes = {
        "num_hidden_layers": shape.layers,
        "hidden_size": shape.width,
        "num_attention_heads": shape.heads,
        "max_position_embeddings": shape.positions,
    }
    if shape.family == "gpt2":
        dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        return GPT2Config(**common, **sizes, **dropout, n_inner=shape.mlp)
    return LlamaConfig(
        **common, **sizes, intermediate_size=shape.mlp, num_key_value_heads=shape.key_heads
    )
