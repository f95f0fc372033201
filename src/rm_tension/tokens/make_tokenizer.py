"""The tokenizers of a profile: the hub's, or one trained on its texts (METHOD.md section 1)."""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from rm_tension.base.config import HubFiles, TrainedTokenizer
from rm_tension.base.errors import UserError
from rm_tension.base.hub import model_folder
from rm_tension.model.tokenizer import read_tokenizer

EOS = "<|endoftext|>"
# config.json, because only there GPT-2's files say of which kind the tokenizer is
TOKENIZER_FILES = (
    *("config.json", "tokenizer*.json", "special_tokens_map.json"),
    *("vocab.json", "merges.txt"),
)


def make_tokenizer(
    source: HubFiles | TrainedTokenizer, texts: Iterable[str]
) -> PreTrainedTokenizerFast:
    """Return the tokenizer of the hub's tokenizer.json, or a byte-level BPE trained on `texts`.

    It pads with its EOS. Raise UserError if the hub has none, or one without EOS.
    """
    if isinstance(source, TrainedTokenizer):
        tokenizer, eos = _train(source.vocabulary, texts), EOS
    else:
        tokenizer, eos = _fetch(source)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=eos, pad_token=eos)


def _fetch(source: HubFiles) -> tuple[Tokenizer, str]:
    """Return the hub's tokenizer and its EOS."""
    name = f"tokenizer {source.repo} at {source.revision}"
    folder = model_folder(source, *TOKENIZER_FILES)
    try:
        tokenizer = read_tokenizer(folder)
        # its class may have other ids, but the name of its EOS is right
        eos = AutoTokenizer.from_pretrained(folder, trust_remote_code=False).eos_token
    except (OSError, ValueError, UserError) as error:
        raise UserError(f"{name}: {error}") from error
    if eos is None or tokenizer.token_to_id(eos) is None:
        raise UserError(f"{name}: must have an EOS token, found {eos!r}")
    return tokenizer, eos


def _train(vocabulary: int, texts: Iterable[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[EOS], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
