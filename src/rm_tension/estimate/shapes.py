"""The shapes of the backbones: shapes.csv has those of the hub, params.yaml those of random ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from rm_tension.base.config import Family, Profile, RandomWeights, TrainedTokenizer
from rm_tension.base.errors import UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

FILE = Path(__file__).with_name("shapes.csv")


@dataclass(frozen=True)
class Shape:
    """Of a backbone without language-model head; `weight_bytes` is the size of one weight as it is published."""

    family: Family
    layers: int
    width: int
    mlp: int  # neurons of a block
    heads: int
    key_heads: int  # of keys and values, which several heads may share
    vocabulary: int
    positions: int
    weight_bytes: int

    @property
    def neurons(self) -> int:
        return self.layers * self.mlp

    @property
    def block(self) -> int:
        """Weights of a block's matrices, each of which a token meets once; Llama has a gate beside the MLP's two."""
        attention = 2 * self.width**2 * (self.heads + self.key_heads) // self.heads
        return attention + (3 if self.family == "llama" else 2) * self.width * self.mlp

    @property
    def parameters(self) -> int:
        """All, with embeddings, norms and biases."""
        if self.family == "llama":
            return self.layers * (self.block + 2 * self.width) + (self.vocabulary + 1) * self.width
        biases_and_norms = self.mlp + 9 * self.width
        return (
            self.layers * (self.block + biases_and_norms)
            + (self.vocabulary + self.positions + 2) * self.width
        )


SIZES = ("layers", "width", "mlp", "heads", "key_heads", "vocabulary", "positions", "weight_bytes")
PUBLISHED = {
    row["repo"]: Shape(row["family"], *(row[size] for size in SIZES))
    for row in pd.read_csv(FILE).to_dict("records")
}


def shape_of(profile: Profile, backbone: str) -> Shape:
    """A backbone of a profile; UserError if it is from the hub and not in shapes.csv."""
    weights = profile.backbones[backbone].weights
    if not isinstance(weights, RandomWeights):
        return _known(weights.repo)
    tokenizer = profile.tokens.tokenizers[profile.backbones[backbone].tokenizer]
    return Shape(
        family=weights.family,
        layers=weights.layers,
        width=weights.width,
        mlp=4 * weights.width,
        heads=weights.heads,
        key_heads=weights.heads,
        vocabulary=tokenizer.vocabulary
        if isinstance(tokenizer, TrainedTokenizer)
        else _known(tokenizer.repo).vocabulary,
        positions=profile.tokens.max_length,
        weight_bytes=4,
    )


def config_of(shape: Shape) -> "PretrainedConfig":
    """For a model of that shape with random weights."""
    from transformers import GPT2Config, LlamaConfig  # seconds that most callers need not wait

    common = {
        "num_labels": 1,
        "vocab_size": shape.vocabulary,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    sizes = {
        "num_hidden_layers": shape.layers,
        "hidden_size": shape.width,
        "num_attention_heads": shape.heads,
        "max_position_embeddings": shape.positions,
    }
    if shape.family == "gpt2":
        return GPT2Config(
            **common, **sizes, n_inner=shape.mlp, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
        )
    return LlamaConfig(
        **common, **sizes, intermediate_size=shape.mlp, num_key_value_heads=shape.key_heads
    )


def _known(repo: str) -> Shape:
    if repo not in PUBLISHED:
        raise UserError(
            f"{FILE}: no shape of {repo}: add a line, whose values are those of its config.json"
        )
    return PUBLISHED[repo]
