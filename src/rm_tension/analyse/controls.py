"""What the controls say of the paper's neurons (METHOD.md section 10), as tables of results/<P>/.

The conditions are `evaluate.conditions`; the same statistics, replicates and verdicts as of the
paper's claims decide here.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import count

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from rm_tension.analyse import claims
from rm_tension.analyse.averages import Tables
from rm_tension.analyse.bootstrap import Replicates, Weights
from rm_tension.analyse.outcomes import STYLES
from rm_tension.analyse.task_sets import KEYS, OWN
from rm_tension.analyse.verdicts import EQUAL, Evidence, Part, Verdict
from rm_tension.base.config import ROLES
from rm_tension.base.grid import Trio
from rm_tension.evaluate.conditions import ALL, SETS, WHOLE
from rm_tension.evaluate.controls import CONTROLS, DRAW
from rm_tension.evaluate.scores import SCORES
from rm_tension.paper.pairs import PAIR_DATASETS

Numbers = NDArray[np.float64]
HH_TEST = "hh"  # beside the groups of tasks
EFFECT = ["objective", "kind", "measure", "effect", "low", "high", "draws", "spread"]
CORRELATION = ["objective", "score", "correlation", "low", "high"]
VERDICT = ["id", "control", "part", "effect", "low", "high", "verdict"]
NULLS = ("depth-matched", "backbone")  # controls that the top neurons are to exceed
TO_MEAN = "mean-ablation"
AS_MUCH = 1 / 2  # C19: a control does not do "about as much" below this share of the top's effect
# What a verdict on a predicate says of a claim that stands beside a control
WORDS: dict[Verdict, str] = {
    "reproduced": "holds",
    "not reproduced": "does not hold",
    "undecided": "open",
    "not applicable": "open",
}


def control_tables(
    evidence: pd.DataFrame,
    correlations: Mapping[Trio, pd.DataFrame],
    replicates: Replicates,
    objectives: Collection[str],
    percent: int,
) -> Tables:
    """Return the tables by file name, from `grid_evidence` and those of `group_effects`."""
    ours = Evidence(evidence)
    means = replicates.mean_of_trios(correlations)
    parts = {model: Part("", means[model], within=(-1, 1)) for model in means.columns.tolist()}
    of_scores = [(*model, *_numbers(part)) for model, part in parts.items()]
    verdicts = [_verdict(*of_part) for of_part in claim_parts(ours, percent)]
    return {
        "control_effects": pd.DataFrame(effects(ours, objectives, percent), columns=EFFECT),
        "control_verdicts": pd.DataFrame(verdicts, columns=VERDICT),
        "score_effects": pd.DataFrame(of_scores, columns=CORRELATION),
    }


def effects(
    evidence: Evidence, objectives: Iterable[str], percent: int
) -> Iterator[tuple[object, ...]]:
    """Yield EFFECT: changes of accuracy (points), on HH-RLHF's test files and groups of tasks.

    Of a control that is drawn, the mean of the draws, how many there are, and the standard
    deviation of their effects.
    """
    for objective in objectives:
        for kind in (ALL.kind, *SCORES, *SETS, *CONTROLS):
            at = ALL.percent if kind == ALL.kind else percent
            for measure in (HH_TEST, *KEYS):
                values = _change(evidence, measure, objective, kind, at)
                if np.isnan(values.iloc[0]):
                    continue
                draws = list(_draws(evidence, measure, objective, kind, at))
                spread = np.std(draws) if len(draws) > 1 else np.nan
                numbers = _numbers(Part("", values))
                yield objective, kind, measure, *numbers, max(len(draws), 1), spread


def _change(evidence: Evidence, measure: str, objective: str, kind: str, percent: int) -> pd.Series:
    """Return the change of accuracy on HH-RLHF's test files, or the mean over a group of tasks."""
    if measure == HH_TEST:
        return evidence.get("hh_delta", objective, kind, "", percent).round(EQUAL)
    return claims.change(evidence, objective, kind, KEYS[measure])  # type: ignore[index]


def _draws(
    evidence: Evidence, measure: str, objective: str, kind: str, percent: int
) -> Iterator[float]:
    """Yield the estimate of each draw of a control, numbered from 1."""
    for draw in count(1):
        values = _change(evidence, measure, objective, f"{kind}{DRAW}{draw}", percent)
        if np.isnan(values.iloc[0]):
            return
        yield float(values.iloc[0])


def claim_parts(evidence: Evidence, percent: int) -> Iterator[tuple[str, str, Part]]:
    """Yield claim, control and a predicate that must hold if the claim is to stand beside it.

    The top neurons must do more than a control does, in the direction of the claim; set to their
    mean, they must still do it.
    """

    def change(measure: str, objective: str, kind: str) -> pd.Series:
        return _change(evidence, measure, objective, kind, percent)

    def beyond(control: str, measure: str, objective: str, kind: str = "magnitude") -> pd.Series:
        if control == TO_MEAN:
            return change(measure, objective, control)
        return change(measure, objective, kind) - change(measure, objective, control)

    for control in (*NULLS, TO_MEAN):
        for objective in ROLES:
            name = f"{objective} RM, HH-RLHF test"
            yield "C6", control, Part(name, -beyond(control, HH_TEST, objective), low=0)
        for group, own in OWN.items():
            for single in OWN.values():
                value, name = beyond(control, group, single), f"{single} RM, {group} tasks"
                hurts = single == own
                part = Part(name, value, high=0) if hurts else Part(name, value, low=0)
                yield "C8", control, part
    for control in NULLS:
        for group in OWN:
            value = beyond(control, group, "mixed", "shared")
            yield "C10", control, Part(f"shared set, {group} tasks", value, high=0)
            top = change(group, "mixed", "magnitude")
            share = claims.share_of_damage(change(group, "mixed", control), top)
            name = f"control to top neurons, {group} tasks"
            yield "C19", control, Part(name, share, high=AS_MUCH)


def _verdict(claim: str, control: str, part: Part) -> tuple[object, ...]:
    """Return VERDICT."""
    word = "not measured" if np.isnan(part.effect) else WORDS[part.verdict]
    return claim, control, part.name, *_numbers(part), word


def _numbers(part: Part) -> tuple[float, float, float]:
    effect, low, high = (round(value, 6) + 0.0 for value in (part.effect, *part.interval))
    return effect, low, high


def group_effects(
    margins: pd.DataFrame, layout: pd.DataFrame, weights: Weights
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what the groups of neurons of one trio do to its margins, and how they rank.

    First the drop of the mean margin when a group is ablated: columns objective, score, group,
    drop. Then the rank correlation of group and drop, [1 + resamples, (objective, score)].
    `margins` has the columns MARGINS, `weights` is of `bootstrap.draw_items`.
    """
    pairs = (
        layout[layout["dataset"].isin(PAIR_DATASETS)]
        .drop_duplicates("item_id")
        .set_index("item_id")["item"]
    )
    drops, correlations = [], {}
    for objective, rows in margins.groupby("objective", sort=False):
        table = rows.pivot(index="item_id", columns=["score", "group"], values="margin")
        own = weights[:, pairs[table.index].to_numpy() // STYLES]
        own = own / own.sum(axis=1, keepdims=True)
        for score in dict.fromkeys(rows["score"]):
            if score == WHOLE[0]:
                continue
            groups = table[score].sort_index(axis=1)
            lost = own @ (table[WHOLE].to_numpy()[:, None] - groups.to_numpy())
            correlations[objective, score] = _rank_correlation(lost, groups.columns.to_numpy())
            drops += [
                (objective, score, group, drop)
                for group, drop in zip(groups.columns, lost[0], strict=True)
            ]
    columns = ["objective", "score", "group", "drop"]
    return pd.DataFrame(drops, columns=columns), pd.DataFrame(correlations)


def _rank_correlation(values: Numbers, groups: Numbers) -> Numbers:
    """Return Spearman's correlation of each row of `values` [rows, groups] with the groups."""
    ranks, order = rankdata(values, axis=1), rankdata(groups)
    ranks = ranks - ranks.mean(axis=1, keepdims=True)
    order = order - order.mean()
    with np.errstate(invalid="ignore"):  # all drops alike
        found: Numbers = (ranks @ order) / np.sqrt((ranks**2).sum(axis=1) * (order**2).sum())
    return found
