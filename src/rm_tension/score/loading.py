"""A trained reward model as an object that scores texts, with the numbers of the evaluate stage."""

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

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
from rm_tension.score.checkpoints import HUB_SCHEME, find_checkpoint, find_on_hub
from rm_tension.score.items import Item, read_item, read_items
from rm_tension.tokens.encode import encode, encode_test_items

TOKENS_PER_BATCH = 4096  # changes rewards by rounding only

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RewardModel:
    """A reward model and its tokenizer; made by `load_reward_model`.

    `settings` are those that the checkpoint was trained beside, whatever params.yaml says today.
    `tokenizer` is for its user, who may set it up at will; texts are scored by `encoder`, which is
    the same tokenizer's file.
    """

    folder: Path
    settings: ScoringSettings
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    encoder: Tokenizer
    place: Place

    def score(self, prompt: str | None, answers: Iterable[object]) -> list[float]:
        """Return the reward of each answer, as the evaluate stage gives it to a benchmark's item.

        Without a prompt the answers are dialogues in HH-RLHF's form. Raise UserError for what
        cannot be scored.
        """
        try:
            return self.score_items([read_item((prompt, answers))])[0]
        except ValueError as error:
            raise UserError(f"{error} (prompt: {prompt!r:.60})") from error

    def score_all(self, data: object) -> list[list[float]]:
        """Return the rewards of each row's answers, in their order.

        `data` is a pandas or datasets table, records, pairs of a prompt and its answers, dialogues,
        or a dict of prompts to answers (`items.read_item`). One call is faster than one a row; time
        and memory grow with the tokens. Raise UserError that names the row that cannot be scored.
        """
        return self.score_items(read_items(data))

    def score_items(self, items: Sequence[Item]) -> list[list[float]]:
        """Return the rewards of each item's answers."""
        if not items:
            return []
        table = pd.DataFrame(items).assign(dataset="", subset="", item_id=range(len(items)))
        template, max_length = self.settings.template, self.settings.max_length
        encoded, counts = encode_test_items(self.encoder, table, template, max_length)
        if counts["texts_cut"]:
            self._warn_of_cuts(counts["texts_cut"], items)
        scorer = Scorer(encoded["answers"].tolist(), Budget(TOKENS_PER_BATCH))
        rewards = scorer.score(self.model, self.place, self.settings.key)
        if not np.isfinite(rewards).all():
            raise UserError(f"{self.folder}: rewards are not finite; the checkpoint is broken")
        ends = np.cumsum([len(item.answers) for item in items])
        return [part.tolist() for part in np.split(rewards, ends[:-1])]

    def _warn_of_cuts(self, count: int, items: Sequence[Item]) -> None:
        """Log a warning, which is no exception under `python -W error`."""
        limit, before = self.settings.max_length, self.settings.template.partition("{answer}")[0]
        logger.warning(
            "%d texts are longer than %d tokens: cut, as in the evaluation", count, limit
        )
        prompts = [before.replace("{prompt}", item.prompt) if item.prompt else "" for item in items]
        lengths = map(len, encode(self.encoder, prompts))
        if full := [str(number) for number, length in enumerate(lengths, 1) if length >= limit]:
            logger.warning(
                "the prompt of item %s alone fills %d tokens: no answer was seen",
                ", ".join(full),
                limit,
            )


def load_reward_model(
    key: str | os.PathLike[str],
    *,
    profile: str = "paper",
    repo: str | os.PathLike[str] | None = None,
    rev: str | None = None,
    device: str | None = None,
) -> RewardModel:
    """Return the reward model `key`, such as "gpt2-small-helpful-0", fetched if it is not here.

    `key` may also be a checkpoint's folder, as a Path or a text with a `/` in it, or a repository
    of the Hugging Face hub at a revision, hf://ORG/NAME@REV; neither needs a repository like this
    one. `repo` and `rev` are those of `find_checkpoint`, `device` is a torch device (None: the best
    there is). Template, limit and precision are the checkpoint's own (`settings`): the evaluate
    stage reads params.yaml, whose rewards differ once that has changed since the training.
    Raise UserError, which says what to do.
    """
    torch_device = find_device(device)
    if isinstance(key, str) and key.startswith(HUB_SCHEME):
        key = find_on_hub(key)
    elif isinstance(key, str) and "/" not in key:
        key = find_checkpoint(key, profile, repo, rev)
    return open_checkpoint(Path(key), torch_device)


def open_checkpoint(folder: Path, device: torch.device) -> RewardModel:
    """Read a checkpoint that is on this disk; raise UserError that names what is damaged."""
    settings = load_settings(folder)
    model = reward_model.load_reward_model(folder).to(device)
    try:
        tokenizer, encoder = stock_tokenizer(folder), read_tokenizer(folder)
    except (UserError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # of tokenizers, whose panics are no Exception
        raise UserError(
            f"{folder}: damaged, cannot be loaded ({type(error).__name__}: {error!s:.300}); fetch "
            "the checkpoint again"
        ) from error
    place = Place(device, settings.precision)
    return RewardModel(folder, settings, model, tokenizer, encoder, place)
