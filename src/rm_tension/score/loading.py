"""A reward model as an object that scores texts: one of the grid, or any that others trained."""

import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pydantic import ValidationError
from tokenizers import Tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from rm_tension.activations.attribution import attribute
from rm_tension.activations.stats import collect
from rm_tension.activations.sums import Activations
from rm_tension.backbone.neurons import ablated, neuron_shape
from rm_tension.base.errors import UserError
from rm_tension.dissect.neurons import Neurons, NeuronSet
from rm_tension.evaluate.scoring import Scorer
from rm_tension.evaluate.selection import Mask
from rm_tension.model import reward_model, rows
from rm_tension.model.device import Compute, TokenBudget, find_device
from rm_tension.model.reward_model import takes_rows
from rm_tension.model.settings import FILE, ScoringSettings, load_settings
from rm_tension.model.tokenizer import read_tokenizer, stock_tokenizer
from rm_tension.score.checkpoints import HUB_SCHEME, find_checkpoint, find_on_hub
from rm_tension.score.foreign import DTYPES, Checkpoint, encoder_of, render
from rm_tension.score.items import Item, read_items
from rm_tension.score.probe import choose_attention
from rm_tension.tokens.encode import encode_test_items

TOKENS_PER_BATCH = 4096  # changes rewards by rounding only
TOKENS_OF_GRADIENTS = 1024  # per batch of a backward pass, for which all activations are kept
NO_TEMPLATE = "{prompt}{answer}"  # of texts that are rendered already
HH_TEMPLATE = "\n\nHuman: {prompt}\n\nAssistant: {answer}"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class RewardModel:
    """A reward model and its tokenizer; made by `load_reward_model`.

    `settings` are those that the checkpoint was trained beside, whatever params.yaml says today.
    `tokenizer` is for its user, who may set it up at will; texts are scored by `encoder`, which
    gives the same ids.
    """

    folder: Path
    settings: ScoringSettings
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    encoder: Tokenizer
    compute: Compute

    def __repr__(self) -> str:
        layers, neurons = neuron_shape(self.model)
        dtype = str(self.model.dtype).removeprefix("torch.")
        attention = "shared-prefix rows" if takes_rows(self.model) else "separate sequences"
        template = self.settings.template
        return (
            f"{self.settings.key}: {self.model.config.model_type}, {layers} x {neurons} neurons, "
            f"{dtype} on {self.compute.device}, {attention}, "
            f"{'chat template' if template is None else f'template {template!r}'}, "
            f"texts of up to {self.settings.max_length} tokens"
        )

    def score(self, prompt: str | None, answers: Iterable[object]) -> list[float]:
        """Return the reward of each answer, as the evaluate stage gives it to a benchmark's item.

        Without a prompt the answers are dialogues in HH-RLHF's form. Raise UserError for what
        cannot be scored.
        """
        return self.score_all([(prompt, answers)])[0]

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
        scorer = Scorer(self.encode(items), TokenBudget(TOKENS_PER_BATCH))
        rewards = scorer.score(self.model, self.compute, self.settings.key)
        if not np.isfinite(rewards).all():
            raise UserError(f"{self.folder}: rewards are not finite; the checkpoint is broken")
        ends = np.cumsum([len(item.answers) for item in items])
        return [part.tolist() for part in np.split(rewards, ends[:-1])]

    def neurons(
        self,
        *,
        backbone: str | os.PathLike[str] | None = None,
        attribution: bool = False,
        seed: int = 0,
        **text_sets: object,
    ) -> Neurons:
        """Return the scores of all neurons on each set of pairs, by one pass over its texts.

        Sets are what `score_all` takes, of rows with two answers: chosen and rejected. `backbone`
        is a model as `load_reward_model` takes it, for the scores of the change from it;
        `attribution` adds the score of that name, by a backward pass; `seed` is the random score's.
        Raise UserError for what cannot be scored.
        """
        base = self.backbone(backbone) if backbone is not None else None
        statistics = {
            name: self.statistics(name, read_items(data), base, attribution)
            for name, data in text_sets.items()
        }
        if not statistics:
            raise UserError("no set of pairs: name one, such as neurons(helpful=pairs)")
        return Neurons(statistics, base is not None, seed)

    def statistics(
        self,
        name: str,
        items: Sequence[Item],
        backbone: PreTrainedModel | None = None,
        attribution: bool = False,
    ) -> Activations:
        """Return the activation sums on pairs, in the model and in a backbone (None: in itself).

        With `attribution`, also that of the margin, by a backward pass over the same pairs. Raise
        UserError that names the set for items that are no pairs.
        """
        for number, item in enumerate(items, start=1):
            if len(item.answers) != 2:
                raise UserError(
                    f"{name}: item {number} has {len(item.answers)} answers, instead of a chosen "
                    "and a rejected one"
                )
        if not items:
            raise UserError(f"{name}: no pairs")
        pairs = self.encode(items, name)
        base = self.model if backbone is None else backbone
        known = base.get_input_embeddings().num_embeddings
        if (largest := max(int(text.max()) for pair in pairs for text in pair)) >= known:
            raise UserError(f"{name}: token {largest}, but the backbone knows {known} tokens only")
        budget = TokenBudget(TOKENS_PER_BATCH)
        sums = collect({"rm": self.model}, base, pairs, self.compute, budget, name)["rm"]
        if not attribution:
            return sums
        budget, title = TokenBudget(TOKENS_OF_GRADIENTS), f"{name} attribution"
        return replace(sums, attribution=attribute(self.model, pairs, self.compute, budget, title))

    def backbone(self, key: str | os.PathLike[str]) -> PreTrainedModel:
        """Return the backbone that the model was trained from, as `neurons` compares with it.

        Raise UserError if it has other neurons.
        """
        checkpoint = Checkpoint(find_model(key), str(key))
        # rounded as the model's weights are stored, so that rounding does not count as change
        stored = str(Checkpoint(self.folder, self.settings.key).config.dtype or self.model.dtype)
        backbone = checkpoint.load(stored.removeprefix("torch."), with_head=False)
        if neuron_shape(backbone) != neuron_shape(self.model):
            layers, neurons = neuron_shape(backbone)
            raise UserError(
                f"{key}: {layers} x {neurons} neurons, other than the model's: no backbone of it"
            )
        backbone.set_attn_implementation(self.model.config._attn_implementation)
        moved: PreTrainedModel = backbone.to(self.model.device, self.model.dtype)
        return moved

    def ablated(self, neurons: NeuronSet | Mask) -> AbstractContextManager[None]:
        """Set the activations of these neurons to zero within a `with` block.

        A mask is bool [layers, neurons].
        """
        return ablated(self.model, neurons.mask if isinstance(neurons, NeuronSet) else neurons)

    def encode(self, items: Sequence[Item], name: str = "") -> list[rows.Item]:
        """Return the token ids of each item's texts, and warn of texts that were cut.

        `name` is that of the set that messages count items in.
        """
        of_set = f"{name}: " if name else ""
        if self.settings.template is None:
            items = [self._rendered(of_set, *one) for one in enumerate(items, start=1)]
        table = pd.DataFrame(items).assign(dataset="", subset="", item_id=range(len(items)))
        template, max_length = self.settings.template or NO_TEMPLATE, self.settings.max_length
        encoded, counts = encode_test_items(self.encoder, table, template, max_length)
        texts: list[rows.Item] = encoded["answers"].tolist()
        if counts["texts_cut"]:
            empty = table.assign(answers=pd.Series([[""] for _ in items]))
            prompts, _ = encode_test_items(self.encoder, empty, template, max_length)
            bare = prompts["answers"].tolist()
            self._warn_of_cuts(of_set, counts["texts_cut"], items, texts, bare)
        if self.settings.profile:
            return texts
        pad = self.model.config.get_text_config().pad_token_id
        return [[_without_padding(text, pad) for text in item] for item in texts]

    def _rendered(self, of_set: str, number: int, item: Item) -> Item:
        """Return an item in the model's chat template, as dialogues."""
        try:
            return Item("", [render(self.tokenizer, item.prompt, text) for text in item.answers])
        except ValueError as error:
            raise UserError(f"{of_set}item {number}: {error}") from error

    def _warn_of_cuts(
        self,
        of_set: str,
        count: int,
        items: Sequence[Item],
        texts: Sequence[rows.Item],
        prompts: Sequence[rows.Item],
    ) -> None:
        """Log a warning, which is no exception under `python -W error`.

        `prompts` are each item's text with an empty answer, where a template joins the two.
        """
        limit = self.settings.max_length
        logger.warning(
            "%s%d texts are longer than %d tokens: cut, as in the evaluation", of_set, count, limit
        )
        alike = [
            str(number)
            for number, (item, ids, prompt) in enumerate(
                zip(items, texts, prompts, strict=True), start=1
            )
            if len({text.tobytes() for text in (*ids, *prompt)}) < len({*item.answers, ""})
        ]
        if alike:
            logger.warning(
                "%sup to there the answers of item %s are the same, or not seen",
                of_set,
                ", ".join(alike),
            )


def load_reward_model(
    key: str | os.PathLike[str],
    *,
    profile: str | None = None,
    repo: str | os.PathLike[str] | None = None,
    rev: str | None = None,
    device: str | None = None,
    template: str | None = None,
    dtype: str | None = None,
) -> RewardModel:
    """Return the reward model `key`, such as "gpt2-small-helpful-0", fetched if it is not here.

    `key` may also be a model's folder, as a Path or a text with a `/` in it. Or it is a repository
    of the Hugging Face hub at a revision, hf://ORG/NAME@REV. Neither needs this project's clone.
    `profile`, `repo` and `rev` are those of `find_checkpoint`, `device` is a torch device (None:
    the best there is).

    Template, limit and precision of a checkpoint of this project are its own (`settings`): the
    evaluate stage reads params.yaml, whose rewards differ once that has changed since the training.
    A model that others trained is any sequence classifier of transformers with one label.
    `template` holds {prompt} and {answer} (None: the tokenizer's chat template), `dtype` is that of
    the weights (None: float32 where memory suffices, else bfloat16). Raise UserError, which says
    what to do.
    """
    torch_device = find_device(device)
    folder = find_model(key, profile, repo, rev)
    if not (folder / FILE).is_file():
        return open_foreign(Checkpoint(folder, str(key)), torch_device, template, dtype)
    if template is not None or dtype is not None:
        raise UserError(
            f"{folder / FILE}: says template and dtype of this checkpoint; name neither"
        )
    return open_checkpoint(folder, torch_device)


def find_model(
    key: str | os.PathLike[str],
    profile: str | None = None,
    repo: str | os.PathLike[str] | None = None,
    rev: str | None = None,
) -> Path:
    """Return the folder of a model by key, folder or address, as in `load_reward_model`."""
    if isinstance(key, str) and key.startswith(HUB_SCHEME):
        return find_on_hub(key)
    if isinstance(key, str) and "/" not in key:
        return find_checkpoint(key, profile, repo, rev)
    return Path(key)


def open_checkpoint(folder: Path, device: torch.device) -> RewardModel:
    """Read a checkpoint of this project that is on this disk; raise UserError if it is damaged."""
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
    compute = Compute(device, settings.precision)
    return RewardModel(folder, settings, model, tokenizer, encoder, compute)


def open_foreign(
    checkpoint: Checkpoint, device: torch.device, template: str | None, dtype: str | None
) -> RewardModel:
    """Read a model that others trained, and find out how texts may reach it."""
    if dtype not in {None, *DTYPES}:
        raise UserError(f"dtype {dtype!r}: must be one of {', '.join(DTYPES)}")
    checkpoint.refuse_other_heads()
    tokenizer, max_length = checkpoint.tokenizer(), checkpoint.max_length
    if template is None and not tokenizer.chat_template:
        raise UserError(
            f"{checkpoint.name}: its tokenizer has no chat template, so that somebody must know "
            f"one with {{prompt}} and {{answer}}; HH-RLHF's is {HH_TEMPLATE!r}"
        )
    try:
        settings = ScoringSettings(
            profile="",
            key=checkpoint.name,
            template=template,
            max_length=max_length,
            precision="float32",  # of products; weights of fewer bits are multiplied as they are
        )
    except ValidationError as error:
        raise UserError(f"template {template!r}: {error.errors()[0]['msg']}") from error
    model = checkpoint.load(dtype or checkpoint.choose_dtype(device)).to(device)
    compute = Compute(device, settings.precision)
    choose_attention(model, compute, max_length)
    encoder = encoder_of(tokenizer, adds_tokens=template is not None)
    return RewardModel(checkpoint.folder, settings, model, tokenizer, encoder, compute)


def _without_padding(text: rows.Tokens, pad: int | None) -> rows.Tokens:
    """Cut the padding tokens at a text's end, where transformers does not look for its reward."""
    real = np.flatnonzero(text != (-1 if pad is None else pad))
    return text[: real[-1] + 1] if len(real) else text[:1]
