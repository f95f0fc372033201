"""A reward model: a backbone with a linear map to a scalar for its head (METHOD.md section 1).

The checkpoints are transformers' own sequence-classification models with one label: whatever loads
those gives our rewards, because the last token of a text that is not padding, where transformers
reads them, is the text's own last.
"""

import shutil
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging

from rm_tension.base.errors import UserError
from rm_tension.model import attention
from rm_tension.model.fused import fuse
from rm_tension.model.rows import Rows
from rm_tension.model.settings import ScoringSettings, save_settings
from rm_tension.model.tokenizer import stock_tokenizer


def new_reward_model(backbone: Path, seed: int, head_std: float, dtype: str) -> PreTrainedModel:
    """Return a backbone with a new head: no bias, weights from N(0, head_std) by `seed` alone."""
    model = _load(backbone, dtype)
    weight = torch.empty(model.score.weight.shape)
    torch.nn.init.normal_(weight, std=head_std, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        model.score.weight.copy_(weight)
    return model


def load_reward_model(folder: Path, dtype: str = "float32") -> PreTrainedModel:
    """Return a trained reward model, for scoring; raise UserError if it is missing or damaged."""
    return _load(folder, dtype).eval().requires_grad_(False)


def _load(folder: Path, dtype: str) -> PreTrainedModel:
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder}: no model there; run the stage that makes it, or `dvc pull {folder}`"
        )
    quiet()
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=1,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,  # not None, which would ask
            attn_implementation=attention.NAME,
        )
    except MemoryError:
        raise
    except Exception as error:  # of transformers and safetensors, whose errors have no other base
        what = f"{type(error).__name__}: {error!s:.300}"
        raise UserError(
            f"{folder}: damaged, cannot be loaded ({what}); fetch it again, or run its stage again"
        ) from error
    for module in model.modules():  # the recipe trains without dropout (METHOD.md section 1)
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return fuse(model)


def quiet() -> None:
    """Keep transformers from reporting the missing head, and from a bar for every file."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def save_reward_model(
    model: PreTrainedModel, folder: Path, tokenizer: Path, settings: ScoringSettings
) -> None:
    """Write weights (safetensors), config, the files of `tokenizer`, and how it scores.

    transformers' pipelines take the folder as it is.
    """
    # they refuse batches without one
    model.config.pad_token_id = stock_tokenizer(tokenizer).pad_token_id
    model.config.problem_type = "regression"  # or they would return the sigmoid of a reward
    model.save_pretrained(folder)
    shutil.copytree(tokenizer, folder, dirs_exist_ok=True)
    save_settings(settings, folder)


def takes_rows(model: PreTrainedModel) -> bool:
    """Return whether texts reach the model as shared-prefix rows; else one by one."""
    return bool(model.config._attn_implementation == attention.NAME)


def hidden_states(model: PreTrainedModel, rows: Rows) -> Tensor:
    """Return the backbone's last hidden states: [tokens, width].

    A model that takes no rows attends in its own way, and to one text at a time.
    """
    if takes_rows(model):
        within = {"position_ids": rows.position_ids, **attention.within(rows.spans)}
    elif len(rows.last) == 1:
        within = {}
    else:
        raise ValueError(f"{len(rows.last)} texts in a row, for a model that takes them one by one")
    base = model.base_model
    hidden: Tensor = base(input_ids=rows.input_ids, use_cache=False, **within).last_hidden_state
    return hidden[0]


def rewards(model: PreTrainedModel, rows: Rows) -> Tensor:
    """Return the reward of each text, read at its last token: float32 [texts].

    The head is applied in float32 whatever the weights' type: bfloat16 has eight bits, and ties
    would decide accuracy (METHOD.md section 8, erratum 9).
    """
    last = hidden_states(model, rows)[rows.last]
    head: torch.nn.Linear = model.score  # weight [1, width]
    reward = (last.float() * head.weight.float()).sum(dim=-1)
    return reward if head.bias is None else reward + head.bias.float()
