"""A trained reward model as an object that scores texts, with the numbers of the evaluate stage."""

import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from rm_tension.base.errors import UserError
from rm_tension.evaluate.scoring import Scorer
from rm_tension.model import reward_model
from rm_tension.model.device import Budget, Place, find_device
from rm_tension.model.settings import ScoringSettings, load_settings
from rm_tension.model.tokenizer import read_tokenizer, stock_tokenizer
from rm_tension.score.checkpoints import find_checkpoint
from rm_tension.score.hub_checkpoints import SCHEME, find_on_hub
from rm_tension.tokens.encode import encode, encode_test_items

TOKENS_PER_BATCH = (
    4096  # of the rows that go through the model together; changes rewards by rounding only
)


@dataclass(frozen=True)
class RewardModel:
    """A reward model and its tokenizer; made by `load_reward_model`.

    `settings` are those that the checkpoint was trained beside, whatever params.yaml says today. `tokenizer` is for
    its user, who may set it up as he likes; texts are scored by `words`, the same tokenizer's file.
    """

    folder: Path
    settings: ScoringSettings
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    words: Tokenizer
    place: Place

    def score(self, prompt: str, answers: Iterable[str]) -> list[float]:
        """The reward of each answer to the prompt, as the evaluate stage gives it to a benchmark's item."""
        return self.score_all([(prompt, answers)])[0]

    def score_all(self, items: Iterable[tuple[str, Iterable[str]]]) -> list[list[float]]:
        """The rewards of several prompts' answers: faster than one by one, with a progress bar on a terminal.

        Time and memory grow with the tokens, also of a thousand answers to one prompt.
        """
        rows = [
            (prompt, answers if isinstance(answers, str) else list(answers))
            for prompt, answers in items
        ]
        for prompt, answers in rows:
            if fault := fault_of(prompt, answers):
                raise UserError(f"{fault}: {prompt!r:.60}")
        if not rows:
            return []
        table = pd.DataFrame(rows, columns=["prompt", "answers"])
        table = table.assign(dataset="", subset="", item_id=range(len(table)))
        template, max_length = self.settings.template, self.settings.max_length
        encoded, counts = encode_test_items(self.words, table, template, max_length)
        if counts["texts_cut"]:
            self._warn_of_cuts(counts["texts_cut"], [prompt for prompt, _ in rows])
        scorer = Scorer(encoded["answers"].tolist(), Budget(TOKENS_PER_BATCH))
        found = scorer.score(self.model, self.place, self.settings.key)
        if not np.isfinite(found).all():
            raise UserError(f"{self.folder}: rewards are not finite; the checkpoint is broken")
        ends = np.cumsum([len(answers) for _, answers in rows])
        return [part.tolist() for part in np.split(found, ends[:-1])]

    def _warn_of_cuts(self, count: int, prompts: Sequence[str]) -> None:
        limit, before = self.settings.max_length, self.settings.template.partition("{answer}")[0]
        warnings.warn(
            f"{count} texts are longer than {limit} tokens: cut, as in the evaluation", stacklevel=3
        )
        alone = encode(self.words, [before.replace("{prompt}", prompt) for prompt in prompts])
        if full := [str(number) for number, ids in enumerate(alone, start=1) if len(ids) >= limit]:
            what = f"the prompt of item {', '.join(full)} alone fills {limit} tokens"
            warnings.warn(f"{what}: no answer was seen, and all have one reward", stacklevel=3)


def load_reward_model(
    key: str | os.PathLike[str],
    *,
    profile: str = "paper",
    repo: str | os.PathLike[str] | None = None,
    rev: str | None = None,
    device: str | None = None,
) -> RewardModel:
    """The reward model `key`, e.g. "gpt2-small-helpful-0"; downloads its checkpoint if it is not on this disk.

    `key` may also be a checkpoint's folder, as a Path or a text with a `/` in it, or a repository of the Hugging Face
    hub at a revision, hf://ORG/NAME@REV; neither needs a repository like this one. `repo` is a path or git URL of one
    (None: the one around the working directory), `rev` any git revision of it, `device` a torch device (None: the best
    there is). Template, limit and precision are the checkpoint's own (`settings`): the evaluate stage reads
    params.yaml, whose rewards differ once that has changed since the training.
    Raises UserError, which says what to do.
    """
    chosen = find_device(device)
    if isinstance(key, str) and key.startswith(SCHEME):
        key = find_on_hub(key)
    elif isinstance(key, str) and "/" not in key:
        key = find_checkpoint(key, profile, repo, rev)
    return open_checkpoint(Path(key), chosen)


def open_checkpoint(folder: Path, device: torch.device) -> RewardModel:
    """Read a checkpoint that is on this disk."""
    settings = load_settings(folder)
    model = reward_model.load_reward_model(folder).to(device)
    try:
        tokenizer, words = stock_tokenizer(folder), read_tokenizer(folder)
    except (UserError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # of tokenizers, whose panics are no Exception
        what = f"{type(error).__name__}: {error!s:.300}"
        raise UserError(
            f"{folder}: damaged, cannot be loaded ({what}); fetch the checkpoint again"
        ) from error
    return RewardModel(folder, settings, model, tokenizer, words, Place(device, settings.precision))


def fault_of(prompt: object, answers: object) -> str | None:
    """Why this is not a prompt and its answers, if it is not; as strict as the data stage."""
    if not _is_text(prompt):
        return "the prompt must be a text that is not blank"
    if isinstance(answers, str) or not isinstance(answers, Sequence) or not answers:
        return "answers must be a list of at least one text"
    if not all(map(_is_text, answers)):
        return "every answer must be a text that is not blank"
    try:
        "".join([prompt, *answers]).encode()
    except UnicodeEncodeError as error:
        return f"half a surrogate pair, which is no letter ({error.reason})"
    return None


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())
