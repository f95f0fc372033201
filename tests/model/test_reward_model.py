"""The head, its seed, and checkpoints that others can load."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from rm_tension.base.config import TrainedTokenizer
from rm_tension.base.errors import UserError
from rm_tension.model.reward_model import (
    load_reward_model,
    new_reward_model,
    rewards,
    save_reward_model,
)
from rm_tension.model.rows import collate
from rm_tension.model.settings import ScoringSettings
from rm_tension.tokens.make_tokenizer import make_tokenizer
from samples import random_items

SETTINGS = ScoringSettings(
    profile="p", key="k", template="{prompt}{answer}", max_length=9, precision="float32"
)


def test_the_head_depends_on_the_seed_alone(backbone):
    heads = [new_reward_model(backbone, seed, 0.02, "float32").score.weight for seed in (0, 0, 247)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert heads[0].shape == (1, 16)
    assert 0.01 < float(heads[0].detach().std()) < 0.03


def test_weights_have_the_asked_type_and_no_dropout(backbone):
    model = new_reward_model(backbone, 0, 0.02, "bfloat16")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert all(module.p == 0 for module in model.modules() if isinstance(module, torch.nn.Dropout))
    rows = collate(random_items(0, 2))
    assert rewards(model, rows).dtype == torch.float32


def save_tokenizer(folder):
    make_tokenizer(
        TrainedTokenizer(kind="trained", vocabulary=300), ["some words"]
    ).save_pretrained(folder)
    return folder


def test_a_saved_model_gives_the_same_rewards_and_loads_in_transformers(model, tmp_path):
    rows = collate(random_items(0, 4))
    save_reward_model(model, tmp_path / "saved", save_tokenizer(tmp_path / "tokenizer"), SETTINGS)
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json"}
    with torch.no_grad():
        assert torch.equal(
            rewards(load_reward_model(tmp_path / "saved"), rows), rewards(model, rows)
        )
        text = torch.tensor([[5, 6, 7]])
        theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
        expected = rewards(model, collate([[text[0].numpy()]]))
        torch.testing.assert_close(theirs(text).logits[0], expected)


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere: no model there; run the stage"):
        load_reward_model(tmp_path / "nowhere")
