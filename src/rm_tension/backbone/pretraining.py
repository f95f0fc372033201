"""A short life as a language model for the miniature's random backbones, so that their neurons mean something."""

from collections.abc import Sequence

import numpy as np
import torch
from tqdm import tqdm
from transformers import PreTrainedModel

from rm_tension.base.config import Pretraining
from rm_tension.model.rows import Tokens


def pretrain(model: PreTrainedModel, texts: Sequence[Tokens], config: Pretraining, eos: int, seed: int) -> None:
    """Train a language model in place on chunks of the texts, an EOS after each.

    The learning rate falls linearly to 0. Raises ValueError if the texts do not fill a single chunk.
    """
    stream = torch.from_numpy(np.concatenate([np.append(text, eos) for text in texts]).astype(np.int64))
    chunks = stream[: len(stream) // config.length * config.length].reshape(-1, config.length)
    if not len(chunks):
        raise ValueError(f"{len(stream)} tokens do not fill a chunk of {config.length}")
    generator = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, fused=True)
    model.train()
    bar = tqdm(range(config.steps), desc="language modelling", unit="step", leave=False, disable=None)
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * (1 - step / config.steps)
        batch = chunks[generator.integers(0, len(chunks), config.chunks_per_step)]
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        bar.set_postfix(loss=f"{float(loss.detach()):.2f}")
