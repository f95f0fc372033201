"""Rewards of benchmark items and of HH pairs, beside transformers' own pipeline and a sorted, padded loop."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from transformers import pipeline

from benchmarks.measure import Clock, Numbers, Side, Target, Task
from benchmarks.shared import Material, sorted_rewards, words
from rm_tension.evaluate.scoring import Scorer
from rm_tension.model.device import Budget
from rm_tension.model.rows import Item, token_count

TRIED = (1, 4, 16)  # texts at a time


def of_benchmarks(items: Sequence[Item]) -> Task:
    """Of prompts with all their answers."""
    what = f"rewards of {len(items)} benchmark items with {sum(map(len, items))} answers"
    return _task("benchmarks", what, items, times=1.2, most_tokens=None)


def of_pairs(pairs: Sequence[Item]) -> Task:
    """Of (chosen, rejected)."""
    return _task("hh", f"rewards of {len(pairs)} HH pairs", pairs, times=1.5, most_tokens=0.70)


def _task(
    name: str, what: str, items: Sequence[Item], times: float, most_tokens: float | None
) -> Task:
    ways = {"pipeline": by_pipeline, "sorted and padded": by_sorting}
    sides: dict[str, dict[str, Side]] = {
        way: {
            f"{way}, {size} at a time": partial(side, items=items, at_a_time=size) for size in TRIED
        }
        for way, side in ways.items()
    }
    targets = [Target(f"{way}, its best", list(sides[way]), times) for way in ways]
    others = {name: side for found in sides.values() for name, side in found.items()}
    return Task(
        name, what, token_count(items), partial(ours, items=items), others, targets, most_tokens
    )


def ours(material: Material, clock: Clock, items: Sequence[Item]) -> Numbers:
    """Rows of all answers to a prompt, as the evaluation lays them out."""
    with clock:
        scorer = Scorer(items, Budget(material.setting.budget))
        return {"rewards": scorer.score(material.model, material.setting.place, "")}


def by_pipeline(material: Material, clock: Clock, items: Sequence[Item], at_a_time: int) -> Numbers:
    """From strings, in the order of the items."""
    model, _ = material.plain()
    place = material.setting.place
    classify = pipeline(
        "text-classification", model, tokenizer=material.tokenizer, device=place.device
    )
    texts = [words(text) for item in items for text in item]
    with clock, place.computing():
        return {
            "rewards": np.array([one["score"] for one in classify(texts, batch_size=at_a_time)])
        }


def by_sorting(material: Material, clock: Clock, items: Sequence[Item], at_a_time: int) -> Numbers:
    """Every text on its own, from tokens."""
    model, _ = material.plain()
    place = material.setting.place
    with clock, torch.inference_mode(), place.computing():
        return {"rewards": sorted_rewards(model, items, at_a_time, place.device)}
