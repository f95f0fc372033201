"""Read a reward model that others trained: a sequence classifier of one label."""

import math
import re
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer, processors
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from rm_tension.backbone.neurons import neuron_sites
from rm_tension.base.errors import UserError
from rm_tension.model.fused import fuse
from rm_tension.model.reward_model import quiet
from rm_tension.model.tokenizer import PROBE, read_tokenizer
from rm_tension.score.items import SPEAKERS

HEAD = "score"  # what transformers calls the head of all decoders
LONGEST = 1024  # tokens of a text, where the model knows as many positions
ROOM = 1.25  # memory by that of the weights
ROLES = {speaker: role for role, speaker in SPEAKERS.items()}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Checkpoint:
    """The folder of a model of transformers; `name` is what errors and records call it."""

    folder: Path
    name: str

    @cached_property
    def config(self) -> PretrainedConfig:
        """Return its settings; raise UserError if there are none or its weights are quantised."""
        if not (self.folder / "config.json").is_file():
            raise UserError(f"{self.name}: no config.json, so no model that transformers can read")
        try:
            config = AutoConfig.from_pretrained(self.folder, trust_remote_code=False)
        except Exception as error:  # of transformers, whose errors have no other base
            raise UserError(f"{self.name}: cannot be read ({error!s:.300})") from error
        if getattr(config, "quantization_config", None):
            raise UserError(
                f"{self.name}: quantised weights, which cannot be ablated exactly; name the "
                "repository that they were made from"
            )
        return config

    @cached_property
    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of its weights by name; raise UserError if none are in safetensors."""
        shapes: dict[str, tuple[int, ...]] = {}
        try:
            for path in sorted(self.folder.glob("*.safetensors")):
                with safe_open(path, framework="pt") as file:
                    for name in file.keys():  # noqa: SIM118  # no dict
                        shapes[name] = tuple(file.get_slice(name).get_shape())
        except (OSError, SafetensorError) as error:
            raise UserError(f"{self.name}: damaged weights ({error!s:.300})") from error
        if not shapes:
            raise UserError(f"{self.name}: has no weights in safetensors, which alone are read")
        return shapes

    @property
    def max_length(self) -> int:
        """Return the most tokens that a text may have: the model's positions, up to LONGEST."""
        known = getattr(self.config.get_text_config(), "max_position_embeddings", None)
        return min(known or LONGEST, LONGEST)

    def choose_dtype(self, device: torch.device) -> str:
        """Return float32, or bfloat16 where the memory does not suffice for that, and say so."""
        count = sum(map(math.prod, self.parameters.values()))
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
        else:
            free = psutil.virtual_memory().available
        dtype = "float32" if 4 * count * ROOM <= free else "bfloat16"
        print(
            f"{self.name}: {count / 1e6:,.1f} million weights in {dtype}, for {free / 1e9:.1f} GB "
            f"of free memory on {device}",
            file=sys.stderr,
        )
        return dtype

    def load(self, dtype: str, with_head: bool = True) -> PreTrainedModel:
        """Return the model, with its own attention; without a head, that of any model of its type.

        Raise UserError if weights are missing, or if its neurons are not found.
        """
        quiet()
        try:
            model, info = AutoModelForSequenceClassification.from_pretrained(
                self.folder,
                num_labels=1,
                dtype=DTYPES[dtype],
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except MemoryError:
            raise
        except Exception as error:  # of transformers and safetensors, as above
            what = f"{type(error).__name__}: {error!s:.300}"
            raise UserError(f"{self.name}: cannot be loaded ({what})") from error
        missing = sorted(key for key in info["missing_keys"] if with_head or HEAD not in key)
        if missing:
            raise UserError(
                f"{self.name}: no weights for {', '.join(missing[:3])}; not a reward model of "
                f"type {self.config.model_type!r}"
            )
        if not isinstance(getattr(model, HEAD, None), torch.nn.Linear):
            raise UserError(
                f"{self.name}: model type {self.config.model_type!r} has no linear head {HEAD!r}"
            )
        if with_head and f"{HEAD}.bias" in info["unexpected_keys"]:
            self._restore_bias(model)
        fuse(model.eval().requires_grad_(False))
        neuron_sites(model)  # after fuse, which replaces activation modules
        return model

    def refuse_other_heads(self) -> None:
        """Raise UserError if the model does not give one number a text."""
        architectures = " ".join(self.config.architectures or [])
        if "LMHead" in architectures or "CausalLM" in architectures:
            raise UserError(
                f"{self.name}: a causal language model ({architectures}), which gives no rewards; "
                "name a sequence classifier that was trained from one"
            )
        head = self.parameters.get(f"{HEAD}.weight")
        if head is None:
            last = ", ".join(list(self.parameters)[-2:])
            raise UserError(
                f"{self.name}: no scalar head: there is no {HEAD}.weight among its weights "
                f"(..., {last})"
            )
        if head[0] != 1:
            raise UserError(f"{self.name}: {head[0]} labels, but a reward is one number")

    def _restore_bias(self, model: PreTrainedModel) -> None:
        """Give the head the bias that the file has and transformers' class leaves out."""
        head = getattr(model, HEAD)
        for path in self.folder.glob("*.safetensors"):
            with safe_open(path, framework="pt") as file:
                if f"{HEAD}.bias" in file.keys():  # noqa: SIM118  # no dict
                    bias = file.get_tensor(f"{HEAD}.bias").to(head.weight.dtype)
                    head.bias = torch.nn.Parameter(bias, requires_grad=False)

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Return transformers' tokenizer, with the ids of tokenizer.json (METHOD.md section 1).

        Raise UserError if there is no such file, or if it has ids that the model does not know.
        """
        encoder = read_tokenizer(self.folder)
        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(self.folder, trust_remote_code=False)
            ids = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
            if ids != encoder.encode(PROBE, add_special_tokens=False).ids:
                tokenizer = PreTrainedTokenizerFast.from_pretrained(self.folder)
                print(
                    f"{self.name}: transformers' class gives other ids than the file",
                    file=sys.stderr,
                )
        except Exception as error:  # of transformers and tokenizers, as above
            raise UserError(
                f"{self.name}: its tokenizer cannot be read ({error!s:.300})"
            ) from error
        known = self.config.get_text_config().vocab_size
        most = max(encoder.get_vocab().values())
        if most >= known:
            raise UserError(
                f"{self.name}: its tokenizer has ids up to {most}, but the model knows {known}: "
                "it is another model's"
            )
        return tokenizer


def encoder_of(tokenizer: PreTrainedTokenizerFast, adds_tokens: bool) -> Tokenizer:
    """Return a copy that gives the ids of `tokenizer(text)`.

    Without the tokens that a post-processor adds, such as BOS, it is for the texts of a chat
    template, which hold them.
    """
    encoder = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    encoder.no_truncation()
    encoder.no_padding()
    if not adds_tokens:
        encoder.post_processor = processors.TemplateProcessing(
            single="$A", pair="$A $B", special_tokens=[]
        )
    return encoder


def render(tokenizer: PreTrainedTokenizerFast, prompt: str, answer: str) -> str:
    """Return an exchange, or without a prompt a dialogue in HH-RLHF's form, in the chat template.

    Turns of one speaker in a row are joined, which templates refuse. Raise ValueError if the
    template refuses the messages.
    """
    turns = [("Human", prompt), ("Assistant", answer)]
    if not prompt:
        _, *parts = re.split(r"\n\n(Human|Assistant):", f"\n\n{answer.lstrip()}")
        turns = list(zip(parts[::2], parts[1::2], strict=True))
    messages: list[dict[str, str]] = []
    for speaker, text in turns:
        role = ROLES[speaker]
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += f"\n\n{text.strip()}"
        else:
            messages.append({"role": role, "content": text.strip()})
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False))
    except Exception as error:  # of jinja2, or what the template raises
        raise ValueError(f"the model's chat template refuses {answer!r:.60} ({error})") from error
