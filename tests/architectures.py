"""Tiny random models of many types, as transformers builds them, with windows where they have any."""

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

WINDOW = 8  # tokens of the sliding windows
_LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
_GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}
_WITHOUT_GROUPS = {name: value for name, value in _LLAMA.items() if name != "num_key_value_heads"}
_WINDOWED = {**_LLAMA, "sliding_window": WINDOW}
CONFIGS = {
    "gpt2": _GPT2,
    "llama": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": {**_LLAMA, "head_dim": 8},
    "mistral": _WINDOWED,
    "gpt_neox": _WITHOUT_GROUPS,
    "olmo2": _LLAMA,
    "gemma2": {**_WINDOWED, "head_dim": 8},
    "gemma3_text": {**_WINDOWED, "head_dim": 8},
    "phi3": _LLAMA,
    "opt": {**_WITHOUT_GROUPS, "ffn_dim": 80, "word_embed_proj_dim": 32},
    "gptj": {**_GPT2, "rotary_dim": 4},
    "falcon": _WITHOUT_GROUPS,
    "bloom": {"hidden_size": 32, "n_layer": 3, "n_head": 4},
    "gpt_bigcode": _GPT2,
    "starcoder2": _LLAMA,
    "stablelm": _LLAMA,
}
MIXTURE = {**_LLAMA, "num_local_experts": 4}  # of a Mixtral, whose blocks have many MLPs


def make_classifier(model_type, vocabulary=97, pad=0, **settings):
    """A random sequence classifier with one label, larger than by default: tests see its neurons."""
    torch.manual_seed(0)
    shape = CONFIGS.get(model_type, MIXTURE) | {"vocab_size": vocabulary, "pad_token_id": pad}
    shape |= {"bos_token_id": None, "eos_token_id": None, "num_labels": 1, **settings}
    config = AutoConfig.for_model(model_type, **shape)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    return model
