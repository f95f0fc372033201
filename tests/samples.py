"""Small random models of both families, random texts, and a recipe for them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, GPT2Config, LlamaConfig

from rm_tension.base.config import Settings, TrainConfig

VOCABULARY = 97
POSITIONS = 64
RECIPE = TrainConfig(
    learning_rate=0.01,
    pairs_per_step=4,
    betas=(0.9, 0.999),
    weight_decay=0.0,
    max_grad_norm=1.0,
    head_std=0.5,
    weights="float32",
    precision="float32",
    tokens_per_micro_batch=50,
    save_every_minutes=5,
)


def only_mini(raw: dict, backbones: Sequence[str], seeds: Sequence[int]) -> dict:
    """Cut a parsed params.yaml down to the profile mini and a part of its grid, in place; returns the profile."""
    mini = raw["profiles"]["mini"]
    axes = {"profiles": ["mini"], "backbones": list(backbones), "seeds": list(seeds)}
    raw["grid"] |= {"profiles": ["mini"], "full": axes, "subset": {key: [] for key in axes}}
    raw["profiles"] = {"mini": mini}
    mini["backbones"] = {key: mini["backbones"][key] for key in backbones}
    return mini


def changed(settings: Settings, **changes):
    """The settings with some values changed; these are not checked."""
    return settings.model_copy(update=changes)


def make_backbone(family: str, folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    if family == "gpt2":
        config = GPT2Config(
            vocab_size=VOCABULARY, n_positions=POSITIONS, n_embd=16, n_layer=3, n_head=2
        )
    else:
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            max_position_embeddings=POSITIONS,
            hidden_size=16,
            intermediate_size=40,
            num_hidden_layers=2,
            num_attention_heads=2,
        )
    model = AutoModel.from_config(config)
    with torch.no_grad():  # larger than the default, so that tests see what a neuron does
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    model.save_pretrained(folder)
    return folder


def text(generator: np.random.Generator, length: int) -> np.ndarray:
    return generator.integers(1, VOCABULARY, length).astype(np.int32)


def random_items(
    seed: int, count: int, answers: int = 2, prefix: int = 6, longest: int = 9
) -> list[list[np.ndarray]]:
    """Items whose answers share a prefix of random length and then differ."""
    generator = np.random.default_rng(seed)
    items = []
    for _ in range(count):
        shared = text(generator, generator.integers(0, prefix + 1))
        rest = [text(generator, generator.integers(1, longest + 1)) for _ in range(answers)]
        items.append([np.concatenate([shared, one]) for one in rest])
    return items
