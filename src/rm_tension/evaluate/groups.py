"""What groups of neurons do to the margin: is a score causal? (METHOD.md section 10).

Peers find that attribution does not predict effect (reward-lens, arXiv 2604.26130). So every score
is held against a measurement: neurons are grouped by it, and each group is ablated.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from transformers import PreTrainedModel

from rm_tension.activations.sums import Activations
from rm_tension.backbone.neurons import ablated
from rm_tension.evaluate.conditions import WHOLE
from rm_tension.evaluate.evaluation import Texts
from rm_tension.evaluate.scores import SCORES, Scores, neuron_scores
from rm_tension.model.device import Compute


def groups_by_block(scores: Scores, number: int) -> NDArray[np.int64]:
    """Return each neuron's group, 1 to `number` by rising score within its block.

    The groups of all blocks are alike in size, so that a group holds each depth alike.
    """
    ranks = scores.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    groups: NDArray[np.int64] = 1 + ranks * number // scores.shape[1]
    return groups


def group_margins(
    model: PreTrainedModel,
    activations: Activations,
    seed: int,
    pairs: Texts,
    number: int,
    compute: Compute,
    progress: str,
) -> pd.DataFrame:
    """Return MARGINS but for the objective: the margin of each pair, a group of neurons ablated.

    By each of SCORES, and once without ablation (WHOLE). The same group of all blocks is ablated at
    once: group by group and block by block would take some thirty times as long.
    """
    groups: Mapping[str, NDArray[np.int64]] = {
        name: groups_by_block(neuron_scores(name, activations, seed), number) for name in SCORES
    }
    ablations = [WHOLE, *((name, group) for name in groups for group in range(1, 1 + number))]
    items = pairs.rows[["dataset", "item_id"]].iloc[::2].reset_index(drop=True)
    tables = []
    for name, group in ablations:
        whole = np.zeros(activations.chosen.sum.shape, dtype=bool)
        mask = groups[name] == group if name in groups else whole
        with ablated(model, mask):
            reward = pairs.scorer.score(model, compute, f"{progress} {name} {group}")
        margin = reward[0::2] - reward[1::2]
        tables.append(items.assign(score=name, group=group, margin=margin))
    return pd.concat(tables, ignore_index=True)
