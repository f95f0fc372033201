"""Language modelling for the miniature's random backbones, so that their neurons mean something."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from rm_tension.base.config import Pretraining
from rm_tension.base.errors import UserError
from rm_tension.base.progress import Progress
from rm_tension.model.rows import Tokens


def pretrain(
    model: PreTrainedModel, texts: Sequence[Tokens], config: Pretraining, eos: int, seed: int
) -> None:
    """Train a language model in place on chunks of the texts, an EOS after each.

    The learning rate falls linearly to 0. Raise UserError if the texts do not fill a single chunk.
    """
    ended = [np.append(text, eos) for text in texts]
    stream = torch.from_numpy(np.concatenate(ended or [np.empty(0)]).astype(np.int64))
    chunks = stream[: len(stream) // config.length * config.length].reshape(-1, config.length)
    if not len(chunks):
        raise UserError(
            f"pretraining.length of the backbone in params.yaml is {config.length}, but the "
            f"training texts have {len(stream)} tokens: lower it, or raise data.max_train_pairs"
        )
    generator = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, fused=True)
    model.train()
    with Progress("language modelling", config.steps) as bar:
        for step in range(config.steps):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * (1 - step / config.steps)
            batch = chunks[generator.integers(0, len(chunks), config.chunks_per_step)]
            loss = model(input_ids=batch, labels=batch).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            bar.advance(tokens=batch.numel(), loss=float(loss.detach()))
