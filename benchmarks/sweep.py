"""Rewards of the same HH pairs without several sets of neurons, beside hooks that silence them and sorted padding."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from benchmarks.measure import Clock, Numbers, Side, Target, Task
from benchmarks.shared import Material, sorted_rewards
from rm_tension.backbone.neurons import ablated
from rm_tension.evaluate.scoring import Scorer
from rm_tension.model.device import Budget
from rm_tension.model.rows import Item, token_count

Mask = NDArray[np.bool_]  # [layers, neurons]
TRIED = (1, 4)  # texts at a time
SHARES = (0.0, 0.1, 0.3, 0.5)  # of all neurons, drawn at random


def task(pairs: Sequence[Item], layers: int, neurons: int) -> Task:
    """Of (chosen, rejected), for a model with so many neurons in each layer."""
    draws = np.random.default_rng(0).random((layers, neurons))
    masks = [draws < share for share in SHARES]
    others: dict[str, Side] = {
        f"hooks, sorted and padded, {size} at a time": partial(
            by_hooks, pairs=pairs, masks=masks, at_a_time=size
        )
        for size in TRIED
    }
    targets = [Target("hooks, their best", list(others), 1.6)]
    what = f"rewards of {len(pairs)} HH pairs under {len(masks)} conditions"
    our = partial(ours, pairs=pairs, masks=masks)
    return Task(
        "sweep", what, len(masks) * token_count(pairs), our, others, targets, most_tokens=0.70
    )


def ours(material: Material, clock: Clock, pairs: Sequence[Item], masks: Sequence[Mask]) -> Numbers:
    """Rows laid out once, and zeroed weights."""
    found = {}
    with clock:
        scorer = Scorer(pairs, Budget(material.setting.budget))
        for number, mask in enumerate(masks):
            with ablated(material.model, mask):
                found[f"condition {number}"] = scorer.score(
                    material.model, material.setting.place, ""
                )
    return found


def by_hooks(
    material: Material, clock: Clock, pairs: Sequence[Item], masks: Sequence[Mask], at_a_time: int
) -> Numbers:
    """Every text on its own, and a product for every activation."""
    model, _ = material.plain()
    found, place = {}, material.setting.place
    with clock, torch.inference_mode(), place.computing():
        for number, mask in enumerate(masks):
            with _silenced(model, torch.from_numpy(~mask).to(place.device)):
                found[f"condition {number}"] = sorted_rewards(model, pairs, at_a_time, place.device)
    return found


@contextmanager
def _silenced(model: PreTrainedModel, kept: Tensor) -> Iterator[None]:
    """Multiply the activations by `kept`, bool [layers, neurons]; without a hook where all are."""

    def silence(layer: int, _module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return output * kept[layer]

    blocks = enumerate(model.model.layers) if not kept.all() else ()
    handles = [
        block.mlp.act_fn.register_forward_hook(partial(silence, layer)) for layer, block in blocks
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
