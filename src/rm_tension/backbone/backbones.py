"""The six backbones: pretrained ones from the hub, or small random ones for the miniature."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
)

from rm_tension.backbone.neurons import neuron_sites
from rm_tension.backbone.pretraining import pretrain
from rm_tension.base.config import HubFiles, RandomWeights
from rm_tension.base.errors import UserError
from rm_tension.base.hub import model_folder, snapshot_of
from rm_tension.base.provenance import Snapshot
from rm_tension.base.tables import TRAINING, read_table
from rm_tension.model.reward_model import quiet
from rm_tension.model.tokenizer import read_tokenizer, stock_tokenizer

MODEL_FILES = ("config.json", "model*.safetensors", "model.safetensors.index.json")


def make_backbone(
    source: HubFiles | RandomWeights, tokenizer: Path, pairs: Path, positions: int
) -> tuple[PreTrainedModel, Snapshot | None]:
    """Return the backbone without its language-model head, and the hub's files that it is from.

    `pairs` are the training pairs in its tokenizer's ids. Weights from the hub keep their type and
    must be safetensors; random ones are float32, know `positions` tokens and come from no file.
    Raise UserError if the hub has no such weights, or if they lack positions or ids of the
    tokenizer.
    """
    quiet()
    loaded = None
    if isinstance(source, RandomWeights):
        model = _random_model(source, tokenizer, pairs, positions)
    else:
        folder = model_folder(source, *MODEL_FILES)
        loaded = snapshot_of(source, folder, *MODEL_FILES)
        try:
            model = AutoModel.from_pretrained(
                folder, dtype="auto", use_safetensors=True, trust_remote_code=False
            )
        except (OSError, SafetensorError) as error:
            raise UserError(f"backbone {source.repo} at {source.revision}: {error}") from error
    neuron_sites(model)  # fail here, not after hours of training
    if model.config.max_position_embeddings < positions:
        known = model.config.max_position_embeddings
        raise UserError(
            f"tokens.max_length is {positions}, but the backbone has {known} positions: lower it "
            "in params.yaml"
        )
    ids = read_tokenizer(tokenizer).get_vocab_size()
    known = model.get_input_embeddings().num_embeddings
    if ids > known:
        raise UserError(
            f"{tokenizer}: the tokenizer has {ids} ids, but the backbone knows {known}: name the "
            "backbone's own as its tokenizer in params.yaml"
        )
    return model, loaded


def save_backbone(model: PreTrainedModel, folder: Path, tokenizer: Path) -> None:
    """Write weights as safetensors, config and tokenizer."""
    model.save_pretrained(folder)
    shutil.copytree(tokenizer, folder, dirs_exist_ok=True)


def _random_model(
    source: RandomWeights, tokenizer: Path, pairs: Path, positions: int
) -> PreTrainedModel:
    torch.manual_seed(source.seed)
    config = _random_config(source, tokenizer, positions)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    # In a pretrained model a few neurons carry much of a block; drawn ones are all alike.
    for weights in input_weights(model):
        weights *= torch.exp(source.gain_spread * torch.randn(len(weights), 1))
    if source.pretraining:
        table = read_table(pairs, TRAINING)
        # those that are too long are cut, and no EOS belongs behind them
        sides = table.loc[~table["too_long"], "answers"].str
        texts = [*sides[0], *sides[1]]
        pretrain(model, texts, source.pretraining, config.eos_token_id, source.seed)
    backbone: PreTrainedModel = model.base_model
    return backbone


def input_weights(model: nn.Module) -> Iterator[Tensor]:
    """Yield a view [neurons, width] of what the neurons of each block of a `_random_model` read."""
    for name, module in model.named_modules():
        if name.endswith("mlp.gate_proj"):
            yield module.get_parameter("weight").detach()
        elif name.endswith("mlp.c_fc"):  # GPT-2's Conv1D keeps its weight as [in, out]
            yield module.get_parameter("weight").detach().T


def _random_config(source: RandomWeights, tokenizer: Path, positions: int) -> PretrainedConfig:
    vocabulary = stock_tokenizer(tokenizer)
    eos = vocabulary.eos_token_id
    if source.family == "gpt2":
        return GPT2Config(
            vocab_size=len(vocabulary),
            n_positions=positions,
            n_embd=source.width,
            n_layer=source.layers,
            n_head=source.heads,
            initializer_range=source.init_std,
            bos_token_id=eos,
            eos_token_id=eos,
        )
    return LlamaConfig(
        vocab_size=len(vocabulary),
        max_position_embeddings=positions,
        hidden_size=source.width,
        intermediate_size=4 * source.width,
        initializer_range=source.init_std,
        num_hidden_layers=source.layers,
        num_attention_heads=source.heads,
        tie_word_embeddings=True,  # as in SmolLM2
        bos_token_id=eos,
        eos_token_id=eos,
    )
