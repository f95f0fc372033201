"""How far what is said of neurons depends on their score and on how many of them count."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product

import pandas as pd

from rm_tension.analysis.bootstrap import Draws
from rm_tension.analysis.claims import CLAIMS
from rm_tension.analysis.evidence import neuron_evidence
from rm_tension.analysis.neurons import PAIRS, Neurons, jaccard
from rm_tension.analysis.verdicts import Evidence, decide
from rm_tension.selection import top

PERCENTS = (5, 10, 20)
NEURON_CLAIMS = [claim for claim in CLAIMS if claim.id in {"C5", "C7", "C9"}]


def by_score(neurons: Neurons) -> Iterator[tuple[str, Neurons]]:
    """The neurons as scored by the signed mean, and by the mean of |a|."""
    yield "signed", neurons
    yield "absolute", replace(neurons, magnitude=neurons.absolute)


def overlap_table(neurons: Neurons) -> pd.DataFrame:
    """Columns score, percent, objective_a, objective_b, jaccard, by the seeds' mean scores of one backbone."""
    rows = []
    for (score, found), percent in product(by_score(neurons), PERCENTS):
        tops = {objective: top(by_seed.mean(axis=0), percent) for objective, by_seed in found.magnitude.items()}
        rows += [(score, percent, a, b, jaccard(tops[a], tops[b])) for a, b in PAIRS]
    return pd.DataFrame(rows, columns=["score", "percent", "objective_a", "objective_b", "jaccard"])


def verdict_table(neurons: Mapping[str, Neurons], draws: Draws) -> pd.DataFrame:
    """Columns score, percent, id, effect, low, high, verdict of the claims that rest on neurons alone."""
    scored = {backbone: dict(by_score(found)) for backbone, found in neurons.items()}
    nothing = Evidence(pd.DataFrame(index=[0]))
    rows = []
    for score, percent in product(("signed", "absolute"), PERCENTS):
        found = {backbone: of_score[score] for backbone, of_score in scored.items()}
        evidence = Evidence(neuron_evidence(found, percent, draws))
        for claim in NEURON_CLAIMS:
            decided = decide(claim, evidence, nothing, required=False)
            rows.append((score, percent, claim.id, decided["effect"], *decided["interval"], decided["verdict"]))
    return pd.DataFrame(rows, columns=["score", "percent", "id", "effect", "low", "high", "verdict"])
