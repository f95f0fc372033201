"""How far verdicts depend on the score of neurons and on how many of them count."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import product

import pandas as pd

from rm_tension.analyse.bootstrap import Replicates
from rm_tension.analyse.claims import BASELINES, CLAIMS, c6, c8, common_percents
from rm_tension.analyse.evidence import KIND_OF_SCORE
from rm_tension.analyse.neurons import PERCENTS, Neurons, neuron_evidence
from rm_tension.analyse.verdicts import Claim, Evidence, decide

VERDICT = ["score", "percents", "id", "effect", "low", "high", "verdict"]


def neuron_verdicts(neurons: Mapping[str, Neurons], replicates: Replicates) -> pd.DataFrame:
    """Return columns VERDICT, of the claims that rest on neurons alone, by either score."""
    scored = {backbone: dict(own.by_score()) for backbone, own in neurons.items()}
    rows = []
    for score, percent in product(KIND_OF_SCORE, PERCENTS):
        by_score = {backbone: of_score[score] for backbone, of_score in scored.items()}
        evidence = Evidence(neuron_evidence(by_score, percent, replicates))
        decided = [_decided(CLAIMS[id_], evidence) for id_ in ("C5", "C7", "C9")]
        rows += [(score, percent, *verdict) for verdict in decided]
    return pd.DataFrame(rows, columns=VERDICT)


def ablation_verdicts(evidence: pd.DataFrame, percent: int) -> pd.DataFrame:
    """Return columns VERDICT, of the claims on what an RM's own top neurons do.

    From `evidence` with the tasks ablated at `percent`. A score that the profile did not ablate by
    has no row. C6 is over the percents at which all of them were ablated.
    """
    ours = Evidence(evidence)
    on_hh, on_tasks = (
        {score: kind for score, kind in KIND_OF_SCORE.items() if ours.percents(measure, kind)}
        for measure in ("hh_delta", "delta")
    )
    shared = common_percents(ours, *on_hh.values(), *BASELINES) if on_hh else []
    other_percents = [
        column
        for column in evidence.columns
        if column[0] == "hh_delta" and int(column[4]) not in shared
    ]
    ours = Evidence(evidence.drop(columns=other_percents))
    at = ", ".join(map(str, shared))
    rows = []
    for score, kind in on_hh.items() if shared else ():
        claim = replace(CLAIMS["C6"], parts=partial(c6, score=kind))
        rows.append((score, at, *_decided(claim, ours)))
    for score, kind in on_tasks.items():
        claim = replace(CLAIMS["C8"], parts=partial(c8, score=kind))
        rows.append((score, str(percent), *_decided(claim, ours)))
    return pd.DataFrame(rows, columns=VERDICT)


def _decided(claim: Claim, evidence: Evidence) -> tuple[object, ...]:
    """Return id, effect, low, high, verdict.

    The published value is of one score and one percent only, and has no place here.
    """
    decided = decide(claim, evidence, Evidence(pd.DataFrame(index=[0])), required=False)
    return claim.id, decided.effect, *decided.interval, decided.verdict
