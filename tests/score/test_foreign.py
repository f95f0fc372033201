"""Reward models that others trained give transformers' own rewards, whatever their architecture."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from architectures import CONFIGS
from hub_models import CHAT, TEMPLATE, save, stock
from rm_tension import load_reward_model
from rm_tension.backbone.neurons import on_activations
from rm_tension.base.errors import UserError
from rm_tension.model.reward_model import takes_rows
from rm_tension.score.items import read_items

ITEMS = [
    ("How do I boil an egg, and how long does it take?", ["Seven minutes.", "No.", "I cannot."]),
    ("Why?", ["Because."]),
    ("", ["\n\nHuman: Hi!\n\nAssistant: Hello.\n\nHuman: Why?\n\nAssistant: So."]),
]
OF_ROWS = {"gpt2", "llama", "qwen2", "qwen3", "gpt_neox", "olmo2", "phi3", "opt"}
OF_ROWS |= {"gpt_bigcode", "starcoder2"}


QUESTION = ("Why?", ["Because.", "No."])


@pytest.fixture
def folder(tmp_path):
    return save(tmp_path / "model", "llama")


def load(folder, template=TEMPLATE, dtype="float32"):
    return load_reward_model(folder, device="cpu", template=template, dtype=dtype)


def edit(path, **settings):
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def by_hooks(folder, pair):
    """Sum activations a of each text, and a x d(margin)/da of both, in transformers' own passes."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    sums, attribution = [], 0
    for sign, text in zip((1, -1), pair, strict=True):
        layers = []
        with on_activations(model, lambda _, a: layers.append(a)):  # noqa: B023
            reward = model(torch.from_numpy(text.astype(np.int64))[None]).logits[0, 0]
        gradients = torch.autograd.grad(sign * reward, layers)
        a, g = (
            torch.stack([one.detach().reshape(len(text), -1) for one in part])
            for part in (layers, gradients)
        )
        sums.append(a.sum(dim=1).numpy())
        attribution += (a * g).sum(dim=1).numpy()
    return sums, attribution


@pytest.mark.parametrize("model_type", CONFIGS)
def test_rewards_and_statistics_of_any_architecture(model_type, tmp_path):
    folder = save(tmp_path / "model", model_type, bos=model_type != "gpt2")
    rm = load(folder)
    assert takes_rows(rm.model) == ("shared-prefix rows" in str(rm)) == (model_type in OF_ROWS)
    texts = [
        TEMPLATE.replace("{prompt}", prompt).replace("{answer}", answer) if prompt else answer
        for prompt, answers in ITEMS
        for answer in answers
    ]
    rewards = [reward for item in rm.score_all(ITEMS) for reward in item]
    assert rewards == pytest.approx(stock(folder, texts), abs=2e-5)
    assert np.std(rewards) > 1e-2
    items = read_items([(ITEMS[0][0], ITEMS[0][1][:2])])
    (pair,), found = rm.encode(items), rm.statistics("pairs", items, attribution=True)
    sums, attribution = by_hooks(folder, pair)
    for side, text, expected in zip(found.sides, pair, sums, strict=True):
        np.testing.assert_allclose(side.sum, expected, rtol=1e-4, atol=2e-4)
        assert side.tokens == len(text)
    distance = np.linalg.norm(found.attribution.sum - attribution)
    assert distance < 1e-3 * np.linalg.norm(attribution)


def test_a_chat_template_holds_its_own_special_tokens(tmp_path):
    folder = save(tmp_path / "model", "llama", chat=CHAT, bos=True)
    rm = load(folder, template=None)
    assert "chat template" in str(rm)
    eos = "<|endoftext|>"
    texts = [f"<s>user: Why?<s>assistant: {answer}{eos}" for answer in QUESTION[1]]
    texts.append(f"<s>user: Hi!\n\nHo!<s>assistant: a b{eos}")
    dialogue = "\n\nHuman: Hi!\n\nHuman: Ho!\n\nAssistant: a b"
    rewards = [*rm.score(*QUESTION), *rm.score(None, [dialogue])]
    assert rewards == pytest.approx(stock(folder, texts, add_special_tokens=False), abs=2e-5)
    (folder / "chat_template.jinja").write_text("{{ raise_exception('no') }}")
    with pytest.raises(UserError, match=r"item 1: the model's chat template refuses 'So\.' \(no\)"):
        load(folder, template=None).score("Why?", ["So."])


def test_ids_are_those_of_the_file_where_transformers_builds_another_tokenizer(folder):
    own = json.loads((folder / "tokenizer.json").read_text())["pre_tokenizer"]
    steps = [{"type": "Digits", "individual_digits": True}, own]
    edit(folder / "tokenizer.json", pre_tokenizer={"type": "Sequence", "pretokenizers": steps})
    edit(folder / "tokenizer_config.json", tokenizer_class="GPT2Tokenizer")
    encoded = load(folder).encode(read_items([("In 1984?", ["3/4"])]))[0][0]
    expected = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    text = TEMPLATE.replace("{prompt}", "In 1984?").replace("{answer}", "3/4")
    assert encoded.tolist() == expected(text)["input_ids"]


def test_a_heads_bias_counts_though_transformers_leaves_it_out(folder):
    expected = load(folder).score(*QUESTION)
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "score.bias": torch.tensor([2.5])}, folder / "model.safetensors")
    shifted = load(folder).score(*QUESTION)
    assert shifted == pytest.approx([reward + 2.5 for reward in expected], abs=1e-5)


def without(name):
    def change(folder):
        weights = load_file(folder / "model.safetensors")
        save_file({k: v for k, v in weights.items() if name not in k}, folder / "model.safetensors")

    return change


def configured(**settings):
    return lambda folder: edit(folder / "config.json", **settings)


def with_more_ids(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("score"), r"no scalar head: there is no score\.weight among its weights \(\.\.\."),
        (without("layers.1.mlp"), r"no weights for model\.layers\.1\.mlp\.down_proj"),
        (lambda folder: save(folder, "llama", num_labels=2), "2 labels, but a reward is one"),
        (configured(architectures=["LlamaForCausalLM"]), r"language model \(LlamaForCausalLM\)"),
        (configured(quantization_config={"quant_method": "awq"}), "quantised weights"),
        (with_more_ids, "its tokenizer has ids up to 301, but the model knows 301"),
        (lambda folder: (folder / "config.json").unlink(), r"no config\.json, so no model"),
        (lambda folder: (folder / "config.json").write_text("{}"), "cannot be read"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights in safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x"), "damaged weights"),
        (lambda folder: (folder / "tokenizer.json").unlink(), r"tokenizer\.json: not a tokenizer"),
    ],
)
def test_what_is_no_reward_model_is_refused_by_name(change, message, folder):
    change(folder)
    with pytest.raises(UserError, match=rf"{folder}.*{message}"):
        load(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"template": None}, r"no chat template, .* HH-RLHF's is '\\n\\nHuman: \{prompt\}"),
        ({"template": "{prompt}"}, r"template '\{prompt\}': .*answer"),
        ({"dtype": "int8"}, "dtype 'int8': must be one of float32, bfloat16"),
    ],
)
def test_what_nobody_can_know_is_asked_for(options, message, folder):
    with pytest.raises(UserError, match=message):
        load(folder, **options)


def test_blocks_without_one_mlp_and_rewards_of_another_token_are_refused(folder, monkeypatch):
    with pytest.raises(UserError, match="'mixtral': 0 pairs of an activation module"):
        load(save(folder.parent / "mixture", "mixtral"))
    own = type(AutoModelForSequenceClassification.from_pretrained(folder))
    forward = own.forward

    def at_the_first_token(self, input_ids, **options):
        return forward(self, input_ids=input_ids[:, :1], **options)

    monkeypatch.setattr(own, "forward", at_the_first_token)
    with pytest.raises(UserError, match="not a linear map of a text's last token"):
        load(folder)


def test_where_memory_is_short_the_weights_are_bfloat16(folder, monkeypatch, capsys):
    available = type("Memory", (), {"available": 100_000})
    monkeypatch.setattr("rm_tension.score.foreign.psutil.virtual_memory", lambda: available)
    rm = load(folder, dtype=None)
    assert rm.model.dtype == torch.bfloat16
    assert "weights in bfloat16, for 0.0 GB of free memory on cpu" in capsys.readouterr().err
    assert takes_rows(rm.model)
    assert rm.score(*QUESTION) == pytest.approx(load(folder).score(*QUESTION), rel=0.1)
