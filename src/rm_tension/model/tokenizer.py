"""Tokenizers, whose ids are those of their file tokenizer.json (METHOD.md section 1).

transformers builds the class that tokenizer_config.json names, with that class's own pre-tokenizer in the place of the
file's: SmolLM2's loses its digits step. Ids therefore come from the file alone; transformers' object serves those who
work with transformers, and is refused where it gives other ids.
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
    """The tokenizer of the folder's tokenizer.json as the file has it, but for truncation and padding, which never act.

    Raises UserError if the file is missing or not a tokenizer.
    """
    try:
        words = Tokenizer.from_file(str(folder / FILE))
    except Exception as error:  # of the library, whose errors have no other base
        raise UserError(f"{folder / FILE}: not a tokenizer that can be read ({error})") from error
    words.no_truncation()
    words.no_padding()
    return words


def stock_tokenizer(folder: Path, texts: Iterable[str] = (PROBE,)) -> PreTrainedTokenizerFast:
    """What transformers makes of the folder; UserError, with both, if its ids of a text are not those of the file."""
    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(
        folder, trust_remote_code=False
    )
    words = read_tokenizer(folder)
    for text in texts:
        theirs, ours = (
            tokenizer(text)["input_ids"],
            words.encode(text, add_special_tokens=False).ids,
        )
        if theirs != ours:
            place = next(i for i, (a, b) in enumerate(zip_longest(theirs, ours)) if a != b)
            other, right = theirs[place : place + SHOWN], ours[place : place + SHOWN]
            raise UserError(
                f"{folder}: transformers' {type(tokenizer).__name__} gives other ids than {FILE}, from token {place} "
                f"of {text!r:.60}...: {other} instead of {right}"
            )
    return tokenizer
