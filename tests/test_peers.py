"""TRL and transformers come from the same texts to our losses, gradients and rewards.

Nothing of ours reaches them but files: their tokenisation, collation and pooling are their own.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
    pipeline,
)
from trl import RewardConfig, RewardTrainer

from hub_tokenizers import EOS, write_tokenizer
from rm_tension.base.config import HubFiles
from rm_tension.model.device import make_accelerator
from rm_tension.model.reward_model import new_reward_model, save_reward_model
from rm_tension.model.settings import ScoringSettings
from rm_tension.model.tokenizer import read_tokenizer
from rm_tension.score.loading import open_checkpoint
from rm_tension.tokens.encode import encode_training_pairs
from rm_tension.tokens.make_tokenizer import make_tokenizer
from rm_tension.train.training import backward, bradley_terry
from small_hub import go_offline, snapshot

pytestmark = pytest.mark.slow

PINNED = HubFiles(kind="hub", repo="owner/name", revision="1" * 40)
BOOK = "\n\nHuman: Hi\n\nAssistant: Hello!\n\nHuman: Is 1984 a book?\n\nAssistant:"
SORRY = " I am sorry, I cannot say 3 words.\n\n1"
DIALOGUES = [
    ("\n\nHuman: How do I boil 12 eggs?\n\nAssistant:", " For 7 or 8 minutes, in 2 pots.", " No."),
    (BOOK, " Yes, of 1949.", " It is a year: 1984"),
    ("\n\nHuman: naïve 🙂?\n\nAssistant:", " Being naïve is fine.", SORRY),
    ("\n\nHuman: Why?\n\nAssistant:", " Because", ""),
]
SIDES = [[prompt + chosen, prompt + rejected] for prompt, chosen, rejected in DIALOGUES]
ITEMS_OF_PAIRS = pd.DataFrame(
    {"dataset": "hh-rlhf", "subset": "any", "item_id": range(4), "prompt": "", "answers": SIDES}
)
ITEMS = [
    ("How do I boil 12 eggs?", ["For 7 minutes.", "No. 1 egg, or 2, at 100 degrees.", "\n\n1"]),
    ("Why?", ["Because."]),
    ("naïve 🙂", ["1949 or 1984?", "ünïcode"]),
]
TEXTS = [f"Human:{prompt}\n\nAssistant:{answer}" for prompt, answers in ITEMS for answer in answers]


@pytest.fixture
def published(family, tmp_path, monkeypatch):
    """The folder of a backbone's tokenizer, as it stands in the hub's cache."""
    go_offline(tmp_path / "cache", monkeypatch)
    folder = snapshot(tmp_path / "cache", "model", PINNED)
    return write_tokenizer(family, folder, [text for pair in SIDES for text in pair])


@pytest.fixture
def tokenizer(published, tmp_path):
    """The tokenizer as the tokens stage saves it."""
    make_tokenizer(PINNED, []).save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


@pytest.fixture
def backbone(family, tokenizer, tmp_path):
    """A random backbone with that tokenizer's vocabulary, whose settings name no padding token."""
    torch.manual_seed(0)
    shape = {"vocab_size": read_tokenizer(tokenizer).get_vocab_size(), "initializer_range": 0.2}
    if family == "gpt2":
        config = GPT2Config(**shape, n_positions=128, n_embd=16, n_layer=2, n_head=2)
    else:
        shape |= {"max_position_embeddings": 128, "hidden_size": 16, "intermediate_size": 40}
        config = LlamaConfig(**shape, num_hidden_layers=2, num_attention_heads=2)
    AutoModel.from_config(config).save_pretrained(tmp_path / "backbone")
    return tmp_path / "backbone"


def test_loss_and_gradients_of_a_step_are_those_of_trl(published, tokenizer, backbone, tmp_path):
    tokens = read_tokenizer(tokenizer)
    table, counts = encode_training_pairs(tokens, ITEMS_OF_PAIRS, "{prompt}{answer}", 1024)
    assert counts == {"texts_cut": 0, "too_long": 0}
    ours = new_reward_model(backbone, 0, 0.5, "float32")
    margins = backward(ours, table["answers"].tolist(), make_accelerator("float32"), budget=60)

    trl = AutoModelForSequenceClassification.from_pretrained(backbone, num_labels=1)
    with torch.no_grad():
        trl.score.weight.copy_(ours.score.weight)
    settings = {"per_device_train_batch_size": len(SIDES), "disable_dropout": True, "bf16": False}
    arguments = RewardConfig(
        output_dir=str(tmp_path / "trl"), use_cpu=True, report_to=[], **settings
    )
    # the file, its EOS and no padding token: TRL then pads with EOS, as the release does
    file = str(published / "tokenizer.json")
    stock = PreTrainedTokenizerFast(tokenizer_file=file, eos_token=EOS)
    texts = Dataset.from_pandas(pd.DataFrame(SIDES, columns=["chosen", "rejected"]))
    trainer = RewardTrainer(trl, arguments, train_dataset=texts, processing_class=stock)
    (batch,) = trainer.get_train_dataloader()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()

    assert float(bradley_terry(margins).mean()) == pytest.approx(float(loss.detach()), rel=1e-5)
    gradients = {name: parameter.grad for name, parameter in ours.named_parameters()}
    for name, parameter in trl.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6, msg=name)
    assert sum(float(gradient.abs().sum()) for gradient in gradients.values()) > 1


@pytest.fixture
def checkpoint(tokenizer, backbone, tmp_path):
    """A reward model as the train stage saves it."""
    template = "Human:{prompt}\n\nAssistant:{answer}"
    settings = ScoringSettings(
        profile="p", key="k", template=template, max_length=128, precision="float32"
    )
    model = new_reward_model(backbone, 0, 0.5, "float32")
    save_reward_model(model, tmp_path / "checkpoint", tokenizer, settings)
    return tmp_path / "checkpoint"


@pytest.fixture
def loaded(checkpoint):
    return open_checkpoint(checkpoint, torch.device("cpu"))


def stock_rewards(checkpoint, texts, **settings):
    """Of transformers' own classes, with the tokenizer's padding; float [texts]."""
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    assert model.config.num_labels == 1
    batch = AutoTokenizer.from_pretrained(checkpoint)(texts, return_tensors="pt", **settings)
    with torch.inference_mode():
        return model(**batch).logits[:, 0].numpy()


@pytest.mark.parametrize("batch_size", [1, 4])
def test_rewards_are_those_of_transformers_pipeline(checkpoint, loaded, batch_size):
    task, settings = "text-classification", {"device": "cpu", "batch_size": batch_size}
    classify = pipeline(task, model=str(checkpoint), **settings)
    expected = [result["score"] for result in classify(TEXTS)]
    ours = np.concatenate(loaded.score_all(ITEMS))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)
    assert len({*expected}) == len(TEXTS)


def test_rewards_are_those_of_transformers_classes_padded_or_not(checkpoint, loaded):
    ours = np.concatenate(loaded.score_all(ITEMS))
    alone = np.concatenate([stock_rewards(checkpoint, [text]) for text in TEXTS])
    batch = stock_rewards(checkpoint, TEXTS, padding=True)
    to_a_length = stock_rewards(checkpoint, TEXTS, padding="max_length", max_length=128)
    for expected in (alone, batch, to_a_length):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)


def test_padding_on_the_left_moves_the_positions_of_gpt2_alone(checkpoint, family):
    """transformers' GPT-2 counts positions from the first padding token: docs/USE.md."""
    right = stock_rewards(checkpoint, TEXTS, padding=True)
    left = stock_rewards(checkpoint, TEXTS, padding=True, padding_side="left")
    assert (np.abs(right - left).max() > 1e-3) == (family == "gpt2")


def test_what_a_user_does_to_the_tokenizer_changes_no_reward(loaded):
    before = loaded.score_all(ITEMS)
    loaded.tokenizer(["some text", "a"], truncation=True, max_length=2, padding=True)
    loaded.tokenizer.backend_tokenizer.enable_truncation(2)
    assert loaded.score_all(ITEMS) == before
