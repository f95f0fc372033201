"""Rewards of a reward model on data sets under ablation conditions (METHOD.md section 5)."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from transformers import PreTrainedModel

from rm_tension.activations.sums import Activations
from rm_tension.backbone.neurons import ablated
from rm_tension.base.config import Grid, Params
from rm_tension.evaluate.conditions import ALL, COLUMNS, NONE, SETS, Condition
from rm_tension.evaluate.controls import CONTROLS, control_neurons, control_of
from rm_tension.evaluate.mean_ablation import mean_activation, set_to
from rm_tension.evaluate.scores import neuron_scores
from rm_tension.evaluate.scoring import Scorer
from rm_tension.evaluate.selection import Mask, top, trio_sets
from rm_tension.model.device import Compute, TokenBudget
from rm_tension.model.rows import Item


class NeuronSets:
    """The neurons that each condition ablates in a reward model of a trio."""

    def __init__(self, activations: Mapping[str, Activations], params: Params, seed: int) -> None:
        self._activations = activations
        self._singles = [params.with_role(role) for role in ("helpful", "harmless")]
        self._seed = seed

    def mask(self, condition: Condition, objective: str) -> Mask:
        """Return which neurons are ablated: bool [layers, neurons]."""
        if condition in (NONE, ALL):
            return np.full(self._activations[objective].chosen.sum.shape, condition == ALL)
        if condition.kind in SETS:
            tops = [self._top("magnitude", condition.percent, name) for name in self._singles]
            return trio_sets(*tops)[condition.kind]
        if control_of(condition.kind)[0] in CONTROLS:
            activations = self._activations[objective]
            return control_neurons(condition.kind, activations, condition.percent, self._seed)
        return self._top(condition.kind, condition.percent, objective)

    @contextmanager
    def ablated(
        self, model: PreTrainedModel, condition: Condition, objective: str
    ) -> Iterator[None]:
        """Ablate the neurons of a condition within the `with` block."""
        mask = self.mask(condition, objective)
        control = CONTROLS.get(control_of(condition.kind)[0])
        if control and control.to_mean:
            ablation = set_to(model, mask, mean_activation(self._activations[objective]))
        else:
            ablation = ablated(model, mask)
        with ablation:
            yield

    def _top(self, score: str, percent: int, objective: str) -> Mask:
        return top(neuron_scores(score, self._activations[objective], self._seed), percent)


@dataclass
class Texts:
    """Tokenised items of one or several data sets, laid out for scoring; one table row per text."""

    rows: pd.DataFrame  # dataset, item_id, answer_index
    scorer: Scorer

    @staticmethod
    def lay_out(items: pd.DataFrame, budget: TokenBudget) -> "Texts":
        """Lay out a table with dataset, item_id and answers, lists of token-id arrays."""
        answers: list[Item] = items["answers"].tolist()
        counts = items["answers"].map(len)
        rows = items[["dataset", "item_id"]].loc[items.index.repeat(counts)].reset_index(drop=True)
        indices = [np.arange(count, dtype=np.int16) for count in counts]
        rows["answer_index"] = np.concatenate(indices)
        return Texts(rows, Scorer(answers, budget))


def benchmarks(items: pd.DataFrame, grid: Grid) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the items that are scored under every condition, and those without ablation only."""
    keep = map(grid.ablates, items["dataset"], items["subset"])
    ablated = pd.Series(keep, index=items.index, dtype=bool)
    return items[ablated], items[~ablated]


def evaluate(
    model: PreTrainedModel,
    objective: str,
    key: str,
    work: Iterable[tuple[Texts, Iterable[Condition]]],
    sets: NeuronSets,
    compute: Compute,
) -> Iterator[pd.DataFrame]:
    """Yield the rewards (COLUMNS) of a reward model, for each condition of each set of texts."""
    for texts, conditions in work:
        for condition in conditions:
            with sets.ablated(model, condition, objective):
                reward: NDArray[np.float32] = texts.scorer.score(
                    model, compute, f"{key} {condition}"
                )
            rows = texts.rows.assign(
                objective=objective, kind=condition.kind, percent=condition.percent, reward=reward
            )
            yield rows[COLUMNS]
