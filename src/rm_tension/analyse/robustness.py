"""How far verdicts depend on the score of neurons and on how many of them count."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import product

import pandas as pd

from rm_tension.analyse.bootstrap import Replicates
from rm_tension.analyse.claims import BASELINES, CLAIMS, c6, c8, common_percents
from rm_tension.analyse.neurons import PERCENTS, Neurons, neuron_evidence
from rm_tension.analyse.verdicts import Claim, Evidence, decide
from rm_tension.evaluate.scores import SCORES

VERDICT = ["score", "percents", "id", "effect", "low", "high", "verdict"]


def neuron_verdicts(neurons: Mapping[str, Neurons], replicates: Replicates) -> pd.DataFrame:
    """Return columns VERDICT, of the claims that rest on neurons alone, by every score."""
    scored = {backbone: dict(own.by_score()) for backbone, own in neurons.items()}
    scores = next(iter(scored.values()))
    rows = []
    for score, percent in product(scores, PERCENTS):
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
        [
            name
            for name, score in SCORES.items()
            if score.measured and name not in BASELINES and ours.percents(measure, name)
        ]
        for measure in ("hh_delta", "delta")
    )
    shared = common_percents(ours, *on_hh, *BASELINES) if on_hh else []
    rows = []
    for score in on_hh if shared else ():
        claim = replace(CLAIMS["C6"], parts=partial(c6, score=score, at=shared))
        rows.append((score, ", ".join(map(str, shared)), *_decided(claim, ours)))
    for score in on_tasks:
        claim = replace(CLAIMS["C8"], parts=partial(c8, score=score))
        rows.append((score, str(percent), *_decided(claim, ours)))
    return pd.DataFrame(rows, columns=VERDICT)


def _decided(claim: Claim, evidence: Evidence) -> tuple[object, ...]:
    """Return id, effect, low, high, verdict.

    The published value is of one score and one percent only, and has no place here.
    """
    decided = decide(claim, evidence, Evidence(pd.DataFrame(index=[0])), required=False)
    return claim.id, decided.effect, *decided.interval, decided.verdict
