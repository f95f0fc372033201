"""Tokenizers, whose ids are those of their file tokenizer.json (METHOD.md section 1).

transformers builds the class that tokenizer_config.json names, with that class's own pre-tokenizer
in the place of the file's: SmolLM2's loses its digits step. Ids therefore come from the file alone;
transformers' object serves those who work with transformers, and is refused where it gives other
ids.
"""

from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from rm_tension.base.errors import UserError

FILE = "tokenizer.json"
PROBE = "\n\nHuman: Was 3/4 of $12,345.67 naïve in 1984?\n\nAssistant:  I can't   say… 🙂\n\n1"
SHOWN = 8  # ids in an error, from the first that differ


def read_tokenizer(folder: Path) -> Tokenizer:
    """Return the tokenizer of the folder's tokenizer.json, whose truncation and padding never act.

    Raise UserError if the file is missing or not a tokenizer.
    """
    try:
        tokenizer = Tokenizer.from_file(str(folder / FILE))
    except Exception as error:  # of the library, whose errors have no other base
        raise UserError(f"{folder / FILE}: not a tokenizer that can be read ({error})") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def stock_tokenizer(folder: Path, texts: Iterable[str] = (PROBE,)) -> PreTrainedTokenizerFast:
    """Return what transformers makes of the folder.

    Raise UserError if its ids of a text are not those of the file, with what the file's
    post-processor adds (a BOS in Llama's), or if that adds something behind the text.
    """
    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(
        folder, trust_remote_code=False
    )
    encoder = read_tokenizer(folder)
    for text in texts:
        ids, expected = tokenizer(text)["input_ids"], encoder.encode(text).ids
        if ids != expected:
            start = next(i for i, (a, b) in enumerate(zip_longest(ids, expected)) if a != b)
            end = start + SHOWN
            raise UserError(
                f"{folder}: transformers' {type(tokenizer).__name__} gives other ids than {FILE}, "
                f"from token {start} of {text!r:.60}...: {ids[start:end]} instead of "
                f"{expected[start:end]}"
            )
        plain = encoder.encode(text, add_special_tokens=False).ids
        if expected[len(expected) - len(plain) :] != plain:
            raise UserError(
                f"{folder / FILE}: its post-processor adds tokens behind a text "
                f"({expected[-2:]} for {plain[-1:]}), where the reward is read (METHOD.md section "
                "1): remove them from it"
            )
    return tokenizer
