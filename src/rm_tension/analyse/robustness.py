"""How far what is said of neurons depends on their score and on how many of them count."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import product

import pandas as pd

from rm_tension.analyse import averages
from rm_tension.analyse.bootstrap import Replicates
from rm_tension.analyse.claims import CLAIMS
from rm_tension.analyse.claims_ablation import BASELINES, c6, c8, percents
from rm_tension.analyse.evidence import SCORES
from rm_tension.analyse.neuron_evidence import neuron_evidence
from rm_tension.analyse.neurons import PAIRS, Neurons, jaccard
from rm_tension.analyse.verdicts import Claim, Evidence, decide
from rm_tension.evaluate.selection import top
from rm_tension.paper.tasks import GROUPS

PERCENTS = (5, 10, 20)
NEURON_CLAIMS = [claim for claim in CLAIMS if claim.id in {"C5", "C7", "C9"}]
ABLATION_CLAIMS = {"C6": c6, "C8": c8}
VERDICT = ["score", "percents", "id", "effect", "low", "high", "verdict"]


def by_score(neurons: Neurons) -> Iterator[tuple[str, Neurons]]:
    """The neurons as scored by the signed mean, and by the mean of |a|."""
    yield "signed", neurons
    yield "absolute", replace(neurons, magnitude=neurons.absolute)


def overlap_table(neurons: Neurons) -> pd.DataFrame:
    """Columns score, percent, objective_a, objective_b, jaccard, by the seeds' mean scores of one backbone."""
    rows = []
    for (score, found), percent in product(by_score(neurons), PERCENTS):
        tops = {
            objective: top(by_seed.mean(axis=0), percent)
            for objective, by_seed in found.magnitude.items()
        }
        rows += [(score, percent, a, b, jaccard(tops[a], tops[b])) for a, b in PAIRS]
    return pd.DataFrame(rows, columns=["score", "percent", "objective_a", "objective_b", "jaccard"])


def verdict_table(neurons: Mapping[str, Neurons], replicates: Replicates) -> pd.DataFrame:
    """Columns VERDICT, of the claims that rest on neurons alone."""
    scored = {backbone: dict(by_score(found)) for backbone, found in neurons.items()}
    rows = []
    for score, percent in product(SCORES, PERCENTS):
        found = {backbone: of_score[score] for backbone, of_score in scored.items()}
        evidence = Evidence(neuron_evidence(found, percent, replicates))
        rows += [(score, percent, *_decided(claim, evidence)) for claim in NEURON_CLAIMS]
    return pd.DataFrame(rows, columns=VERDICT)


def ablation_verdicts(evidence: pd.DataFrame, percent: int) -> pd.DataFrame:
    """Columns VERDICT, of the claims on what an RM's own top neurons do, from `evidence` with the tasks at `percent`.

    A score that the profile did not ablate by has no row. C6 is over the percents at which all of them were ablated.
    """
    found = Evidence(evidence)
    on_hh = {score: kind for score, kind in SCORES.items() if found.percents("hh_delta", kind)}
    on_tasks = {score: kind for score, kind in SCORES.items() if found.percents("delta", kind)}
    shared = percents(found, *on_hh.values(), *BASELINES) if on_hh else []
    others = [
        column
        for column in evidence.columns
        if column[0] == "hh_delta" and int(column[4]) not in shared
    ]
    found = Evidence(evidence.drop(columns=others))
    measured = {"C6": on_hh if shared else {}, "C8": on_tasks}
    at = {"C6": ", ".join(map(str, shared)), "C8": str(percent)}
    rows = [
        (
            score,
            at[claim.id],
            *_decided(replace(claim, parts=partial(ABLATION_CLAIMS[claim.id], score=kind)), found),
        )
        for claim in CLAIMS
        if claim.id in ABLATION_CLAIMS
        for score, kind in measured[claim.id].items()
    ]
    return pd.DataFrame(rows, columns=VERDICT)


def ablation_table(changes: pd.DataFrame) -> pd.DataFrame:
    """Columns objective, backbone, seed, score, percent, group, delta, tasks: group averages of `accuracy.changes`."""
    by_score = [
        changes[changes["kind"] == kind].assign(score=score) for score, kind in SCORES.items()
    ]
    found = pd.concat(by_score, ignore_index=True)
    keys = ["objective", "backbone", "seed", "score", "percent", "task", "delta"]
    groups = averages.with_groups(found[keys], "delta")
    return groups[groups["task"].isin(GROUPS)].rename(columns={"task": "group"})


def _decided(claim: Claim, evidence: Evidence) -> tuple[object, ...]:
    """Id, effect, low, high, verdict; the published value is of one score and one percent only."""
    decided = decide(claim, evidence, Evidence(pd.DataFrame(index=[0])), required=False)
    return claim.id, decided.effect, *decided.interval, decided.verdict
