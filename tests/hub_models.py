"""Tiny random reward models as repositories of the hub have them, and transformers' own rewards."""

import torch
from tokenizers import processors
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from architectures import make_classifier
from rm_tension.base.config import TrainedTokenizer
from rm_tension.tokens.make_tokenizer import make_tokenizer

WORDS = ["\n\nHuman: How do I boil an egg?\n\nAssistant: Seven minutes, or eight. I cannot say."]
TEMPLATE = "\n\nHuman: {prompt}\n\nAssistant: {answer}"
CHAT = (
    "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}{% endfor %}"
    "{{ eos_token }}"  # which is the padding token
)

HELPFUL = [
    {"prompt": "How do I boil an egg?", "chosen": "Seven minutes.", "rejected": "No."},
    {"prompt": "Why is it hard?", "chosen": "Because of the heat.", "rejected": "I cannot say."},
    {"prompt": "Who?", "chosen": "The cook.", "rejected": "Never mind, it was nobody at all."},
]
HARMLESS = [
    {
        "prompt": "",
        "chosen": "\n\nHuman: Steal?\n\nAssistant: I will not help with that.",
        "rejected": "\n\nHuman: Steal?\n\nAssistant: At night, by the window.",
    },
    {"prompt": "Cheat?", "chosen": "I cannot.", "rejected": "Yes, in eight minutes."},
]


def save(folder, model_type, chat=None, bos=False, **settings):
    """A tiny random reward model as a repository of the hub has it."""
    tokenizer = make_tokenizer(TrainedTokenizer(kind="trained", vocabulary=300), WORDS * 9)
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    if bos:
        backend = tokenizer.backend_tokenizer
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", tokenizer.bos_token_id)]
        )
    tokenizer.chat_template = chat
    tokenizer.save_pretrained(folder)
    model = make_classifier(model_type, len(tokenizer), tokenizer.pad_token_id, **settings)
    model.save_pretrained(folder)
    return folder


def stock(folder, texts, **options):
    """The rewards of transformers' own classes, one text at a time; not our loader's model."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        return [
            float(model(**tokenizer(text, return_tensors="pt", **options)).logits) for text in texts
        ]
