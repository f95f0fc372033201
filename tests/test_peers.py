"""TRL and transformers do all of their own steps, from the same texts, and come to our losses, gradients and rewards.

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

PINNED = HubFiles(kind="hub", repo="owner/name", revision="1" * 40)
DIALOGUES = [
    ("\n\nHuman: How do I boil 12 eggs?\n\nAssistant:", " For 7 or 8 minutes, in 2 pots.", " No."),
    (
        "\n\nHuman: Hi\n\nAssistant: Hello!\n\nHuman: Is 1984 a book?\n\nAssistant:",
        " Yes, of 1949.",
        " It is a year: 1984",
    ),
    (
        "\n\nHuman: naïve 🙂?\n\nAssistant:",
        " Being naïve is fine.",
        " I am sorry, I cannot say 3 words.\n\n1",
    ),
    ("\n\nHuman: Why?\n\nAssistant:", " Because", ""),
]
PAIRS = pd.DataFrame(
    {
        "chosen": [prompt + chosen for prompt, chosen, _ in DIALOGUES],
        "rejected": [prompt + rejected for prompt, _, rejected in DIALOGUES],
    }
)
TEXTS_OF_PAIRS = pd.DataFrame(
    {
        "dataset": "hh-rlhf",
        "subset": "helpful-base",
        "item_id": [f"pair-{i}" for i in PAIRS.index],
        "prompt": "",
        "answers": PAIRS.to_numpy().tolist(),
    }
)


@pytest.fixture
def published(family, tmp_path, monkeypatch):
    """The folder of a backbone's tokenizer, as it stands in the hub's cache."""
    go_offline(tmp_path / "cache", monkeypatch)
    return write_tokenizer(
        family,
        snapshot(tmp_path / "cache", "model", PINNED),
        [*PAIRS["chosen"], *PAIRS["rejected"]],
    )


@pytest.fixture
def tokenizer(published, tmp_path):
    """The tokenizer as the tokens stage saves it."""
    make_tokenizer(PINNED, []).save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


@pytest.fixture
def backbone(family, tokenizer, tmp_path):
    """A random backbone with that tokenizer's vocabulary, whose settings name no padding token."""
    torch.manual_seed(0)
    size = read_tokenizer(tokenizer).get_vocab_size()
    if family == "gpt2":
        config = GPT2Config(
            vocab_size=size, n_positions=128, n_embd=16, n_layer=2, n_head=2, initializer_range=0.2
        )
    else:
        shape = {
            "hidden_size": 16,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
        }
        config = LlamaConfig(
            vocab_size=size, max_position_embeddings=128, initializer_range=0.2, **shape
        )
    AutoModel.from_config(config).save_pretrained(tmp_path / "backbone")
    return tmp_path / "backbone"


def test_loss_and_gradients_of_a_step_are_those_of_trl(published, tokenizer, backbone, tmp_path):
    table, left = encode_training_pairs(
        read_tokenizer(tokenizer), TEXTS_OF_PAIRS, "{prompt}{answer}", max_length=1024
    )
    assert left == {"texts_cut": 0, "too_long": 0}
    ours = new_reward_model(backbone, 0, 0.5, "float32")
    items = table["answers"].tolist()
    margins = backward(ours, items, make_accelerator("float32"), budget=60)

    theirs = AutoModelForSequenceClassification.from_pretrained(backbone, num_labels=1)
    with torch.no_grad():
        theirs.score.weight.copy_(ours.score.weight)
    arguments = RewardConfig(
        output_dir=str(tmp_path / "trl"),
        per_device_train_batch_size=len(PAIRS),
        bf16=False,
        use_cpu=True,
        report_to=[],
        disable_dropout=True,
    )
    # the file, its EOS and no padding token: TRL then pads with EOS, as the release does
    words = PreTrainedTokenizerFast(tokenizer_file=str(published / "tokenizer.json"), eos_token=EOS)
    texts = Dataset.from_pandas(PAIRS[["chosen", "rejected"]])
    trainer = RewardTrainer(
        model=theirs, args=arguments, train_dataset=texts, processing_class=words
    )
    (batch,) = trainer.get_train_dataloader()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()

    assert float(bradley_terry(margins).mean()) == pytest.approx(float(loss.detach()), rel=1e-5)
    found = {name: parameter.grad for name, parameter in ours.named_parameters()}
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-6, msg=name)
    assert sum(float(gradient.abs().sum()) for gradient in found.values()) > 1


@pytest.fixture
def checkpoint(tokenizer, backbone, tmp_path):
    """A reward model as the train stage saves it."""
    template = "Human:{prompt}\n\nAssistant:{answer}"
    settings = ScoringSettings(
        profile="p", key="k", template=template, max_length=128, precision="float32"
    )
    save_reward_model(
        new_reward_model(backbone, 0, 0.5, "float32"), tmp_path / "checkpoint", tokenizer, settings
    )
    return tmp_path / "checkpoint"


ITEMS = [
    (
        "How do I boil 12 eggs?",
        ["For 7 minutes.", "No. 1 egg is enough, or 2, at 100 degrees.", "\n\n1"],
    ),
    ("Why?", ["Because."]),
    ("naïve 🙂", ["1949 or 1984?", "ünïcode"]),
]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_rewards_are_those_of_transformers_pipeline(checkpoint, batch_size):
    loaded = open_checkpoint(checkpoint, torch.device("cpu"))
    found = np.concatenate(loaded.score_all(ITEMS))
    texts = texts_of(ITEMS)
    classify = pipeline(
        "text-classification", model=str(checkpoint), device="cpu", batch_size=batch_size
    )
    expected = [one["score"] for one in classify(texts)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert len(set(expected)) == len(texts)


def texts_of(items):
    return [
        f"Human:{prompt}\n\nAssistant:{answer}" for prompt, answers in items for answer in answers
    ]


def stock_rewards(checkpoint, texts, **settings):
    """Of transformers' own classes, with the tokenizer's padding; float [texts]."""
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    assert model.config.num_labels == 1
    batch = AutoTokenizer.from_pretrained(checkpoint)(texts, return_tensors="pt", **settings)
    with torch.inference_mode():
        return model(**batch).logits[:, 0].numpy()


def test_rewards_are_those_of_transformers_classes_padded_or_not(checkpoint):
    found = np.concatenate(open_checkpoint(checkpoint, torch.device("cpu")).score_all(ITEMS))
    texts = texts_of(ITEMS)
    alone = np.concatenate([stock_rewards(checkpoint, [text]) for text in texts])
    batch = stock_rewards(checkpoint, texts, padding=True)
    to_a_length = stock_rewards(checkpoint, texts, padding="max_length", max_length=128)
    for expected in (alone, batch, to_a_length):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_padding_on_the_left_moves_the_positions_of_gpt2_alone(checkpoint, family):
    """Known of transformers' GPT-2, which counts positions from the first padding token; docs/CACHE.md says so."""
    texts = texts_of(ITEMS)
    apart = np.abs(
        stock_rewards(checkpoint, texts, padding=True)
        - stock_rewards(checkpoint, texts, padding=True, padding_side="left")
    )
    assert (apart.max() > 1e-3) == (family == "gpt2")


def test_what_a_user_does_to_the_tokenizer_changes_no_reward(checkpoint):
    loaded = open_checkpoint(checkpoint, torch.device("cpu"))
    before = loaded.score_all(ITEMS)
    loaded.tokenizer(["some text", "a"], truncation=True, max_length=2, padding=True)
    loaded.tokenizer.backend_tokenizer.enable_truncation(2)
    assert loaded.score_all(ITEMS) == before
