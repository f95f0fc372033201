"""Tokenizers as the hub has the backbones': no pad token, an EOS, and a class that need not fit the file."""

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

EOS = "<|endoftext|>"


def write_tokenizer(family: str, folder: Path, texts: Iterable[str], vocabulary: int = 400) -> Path:
    """A byte-level BPE trained on `texts`; SmolLM2's splits digits, under the name of GPT-2's class."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = (
        byte_level if family == "gpt2" else pre_tokenizers.Sequence([digits, byte_level])
    )
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[EOS], initial_alphabet=alphabet, show_progress=False
    )
    words.train_from_iterator(texts, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    words.save(str(folder / "tokenizer.json"))
    names = dict.fromkeys(("bos_token", "eos_token", "unk_token"), EOS)
    settings = {
        "add_prefix_space": False,
        "model_max_length": 8192,
        "tokenizer_class": "GPT2Tokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | names))
    (folder / "special_tokens_map.json").write_text(json.dumps(names))
    bpe = json.loads(words.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(bpe["vocab"]))
    (folder / "merges.txt").write_text(
        "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in bpe["merges"])
    )
    (folder / "config.json").write_text(
        json.dumps({"model_type": {"gpt2": "gpt2"}.get(family, "llama")})
    )
    return folder
