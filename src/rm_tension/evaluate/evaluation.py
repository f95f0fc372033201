"""All rewards of one trio: every reward model, data set and ablation condition (METHOD.md section 5)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from accelerate import Accelerator
from numpy.typing import NDArray
from transformers import PreTrainedModel

from rm_tension.activations.sums import Activations
from rm_tension.backbone.neurons import ablated
from rm_tension.evaluate.conditions import SETS, Condition
from rm_tension.evaluate.scoring import Scorer
from rm_tension.evaluate.selection import (
    Mask,
    absolute_score,
    change_score,
    magnitude_score,
    random_score,
    top,
    trio_sets,
)
from rm_tension.model.rows import Item

COLUMNS = ["objective", "condition", "dataset", "item_id", "answer_index", "reward"]


class NeuronSets:
    """The neurons that each condition silences in a reward model of a trio."""

    def __init__(self, activations: Mapping[str, Activations], seed: int) -> None:
        self._magnitude = {objective: magnitude_score(found) for objective, found in activations.items()}
        self._absolute = {objective: absolute_score(found) for objective, found in activations.items()}
        self._change = {objective: change_score(found) for objective, found in activations.items()}
        self._seed = seed

    def mask(self, condition: Condition, objective: str) -> Mask:
        """Which neurons are set to zero: bool [layers, neurons]."""
        magnitude = self._magnitude[objective]
        if condition.percent is None:
            return np.full(magnitude.shape, condition.kind == "all")
        if condition.kind in SETS:
            tops = (top(self._magnitude[single], condition.percent) for single in ("helpful", "harmless"))
            return trio_sets(*tops)[condition.kind]
        scores = {
            "magnitude": magnitude,
            "absolute": self._absolute[objective],
            "change": self._change[objective],
            "random": random_score(magnitude.shape, self._seed),
        }
        return top(scores[condition.kind], condition.percent)


@dataclass
class Texts:
    """Tokenised items of one or several data sets, laid out for scoring; one table row per text."""

    rows: pd.DataFrame  # dataset, item_id, answer_index
    scorer: Scorer

    @staticmethod
    def lay_out(items: pd.DataFrame, budget: int) -> "Texts":
        """From columns dataset, item_id, answers (a list of token-id arrays)."""
        answers: list[Item] = items["answers"].tolist()
        counts = items["answers"].map(len)
        rows = items[["dataset", "item_id"]].loc[items.index.repeat(counts)].reset_index(drop=True)
        rows["answer_index"] = np.concatenate([np.arange(count, dtype=np.int16) for count in counts])
        return Texts(rows, Scorer(answers, budget))


def evaluate(
    model: PreTrainedModel,
    objective: str,
    key: str,
    work: Iterable[tuple[Texts, Iterable[Condition]]],
    sets: NeuronSets,
    accelerator: Accelerator,
) -> Iterator[pd.DataFrame]:
    """The rewards (COLUMNS) of one reward model, under every condition of every set of texts."""
    for texts, conditions in work:
        for condition in conditions:
            with ablated(model, sets.mask(condition, objective)):
                reward: NDArray[np.float32] = texts.scorer.score(model, accelerator, f"{key} {condition}")
            yield texts.rows.assign(objective=objective, condition=str(condition), reward=reward)[COLUMNS]
