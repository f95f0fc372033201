"""Sums of the MLP activations of an RM and its backbone, beside the released way: texts padded to 1,024, and hooks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from benchmarks.measure import Clock, Numbers, Target, Task
from benchmarks.shared import LIMIT, Material, padded
from rm_tension.activations.stats import SUMS, collect
from rm_tension.model.device import Budget
from rm_tension.model.rows import Item, token_count

AT_A_TIME = 4  # texts


def task(pairs: Sequence[Item]) -> Task:
    """Of (chosen, rejected)."""
    others = {"padded to 1,024, hooks": partial(released, pairs=pairs)}
    targets = [Target("the released way", list(others), 6.0)]
    what = f"statistics of {len(pairs)} HH pairs, in an RM and its backbone"
    return Task(
        "statistics",
        what,
        2 * token_count(pairs),
        partial(ours, pairs=pairs),
        others,
        targets,
        0.70,
    )


def ours(material: Material, clock: Clock, pairs: Sequence[Item]) -> Numbers:
    """Both models in step, a layer at a time."""
    with clock:
        models, budget = {"rm": material.model}, Budget(material.setting.budget)
        found = collect(models, material.backbone, pairs, material.setting.place, budget, "")["rm"]
    return {
        f"{name} {number}": getattr(side, name)
        for number, side in enumerate(found.sides)
        for name in (*SUMS, "tokens")
    }


def released(material: Material, clock: Clock, pairs: Sequence[Item]) -> Numbers:
    """Every text on its own and padded to the limit, through both models, all blocks' activations kept by hooks."""
    model, backbone = material.plain()
    place = material.setting.place
    found: dict[str, NDArray[Any]] = {}
    with (
        clock,
        torch.inference_mode(),
        place.computing(),
        _kept(model) as after,
        _kept(backbone) as before,
    ):
        for side in (0, 1):
            shape = len(SUMS), model.config.num_hidden_layers, model.config.intermediate_size
            sums, tokens = torch.zeros(shape, dtype=torch.float64, device=place.device), 0
            for first in range(0, len(pairs), AT_A_TIME):
                texts = [pair[side] for pair in pairs[first : first + AT_A_TIME]]
                inputs = padded(texts, LIMIT, place.device)
                model(**inputs, use_cache=False)
                backbone(**inputs, use_cache=False)
                real = inputs["attention_mask"].bool()
                for layer, (one, other) in enumerate(zip(after, before, strict=True)):
                    a, b = one[real].float(), other[real].float()  # [tokens, neurons]
                    for number, term in enumerate((a, a.abs(), (a - b).square(), b)):
                        sums[number, layer] += term.sum(dim=0)
                tokens += sum(map(len, texts))
            values = sums.cpu().numpy()
            found |= {f"{name} {side}": values[number] for number, name in enumerate(SUMS)}
            found[f"tokens {side}"] = np.array(tokens)
    return found


@contextmanager
def _kept(model: PreTrainedModel) -> Iterator[list[Tensor]]:
    """The activations of all blocks in the last forward pass: [texts, length, neurons] each."""
    kept: list[Tensor] = [torch.empty(0)] * model.config.num_hidden_layers

    def keep(layer: int, _module: nn.Module, _inputs: tuple[Tensor], output: Tensor) -> None:
        kept[layer] = output

    blocks = model.model.layers
    handles = [
        block.mlp.act_fn.register_forward_hook(partial(keep, layer))
        for layer, block in enumerate(blocks)
    ]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()
