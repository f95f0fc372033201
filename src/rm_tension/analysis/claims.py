"""The paper's eleven claims as predicates (METHOD.md section 7); ours and the published numbers go through the same."""

from collections.abc import Container
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from rm_tension.analysis.verdicts import Claim, Evidence, Part, decide
from rm_tension.conditions import Kind
from rm_tension.data.tasks import TASKS, Group, group_tasks

OWN: dict[Group, str] = {"harmlessness": "harmless", "helpfulness": "helpful"}
KEYS: dict[Group, list[str]] = {group: [task.key for task in group_tasks(group)] for group in OWN}
ANSWERING = ["safety-response", "xstest-should-respond"]
ADVERSARIAL = [task.key for task in TASKS if task.key.startswith("llmbar-adver-")]
REFUSALS = ["refusals-dangerous", "refusals-offensive"]
ALPACA = ["alpacaeval-easy", "alpacaeval-hard", "alpacaeval-length"]
FRAGILE = [*ADVERSARIAL, "focus", "factuality"]
# Which single-objective RM the paper says is better, on which tasks.
WINNERS: dict[str, tuple[str, list[str]]] = {
    "helpful RM on other helpfulness tasks": (
        "helpful",
        [key for key in KEYS["helpfulness"] if key not in {*ADVERSARIAL, "focus"}],
    ),
    "harmless RM on other harmlessness tasks": (
        "harmless",
        [key for key in KEYS["harmlessness"] if key not in ANSWERING],
    ),
    "helpful RM where answering is right": ("helpful", ANSWERING),
    "harmless RM on LLM Bar (Adver) and Focus": ("harmless", [*ADVERSARIAL, "focus"]),
}
OBJECTIVES = ("helpful", "harmless", "mixed")
SIZES = {"log_mean_abs": "mean |reward|", "log_std": "standard deviation"}
RMSD_BOUND = 0.05
HALF = (1 / 3, 2 / 3)


def c1(evidence: Evidence) -> list[Part]:
    """Mixed minus single-objective accuracy, in points."""
    return [
        Part(
            f"{group} tasks", _accuracy(evidence, "mixed", KEYS[group]) - _accuracy(evidence, own, KEYS[group]), high=0
        )
        for group, own in OWN.items()
    ]


def c2(evidence: Evidence) -> list[Part]:
    """Accuracy of the one single-objective RM minus the other's, in points."""
    return [Part(name, _lead(evidence, winner, tasks), low=0) for name, (winner, tasks) in WINNERS.items()]


def c2_note(evidence: Evidence) -> str:
    """How many tasks have the claimed sign."""
    lead = {task: _lead(evidence, winner, [task]).iloc[0] for winner, tasks in WINNERS.values() for task in tasks}
    found = {task: value for task, value in lead.items() if value == value}
    other = [task for task, value in found.items() if value <= 0]
    return f"{len(found) - len(other)} of {len(found)} tasks have the claimed sign; not: {', '.join(other) or 'none'}."


def c3(evidence: Evidence) -> list[Part]:
    """Difference of mean retention, a fraction."""
    high = {"AlpacaEval": ALPACA, "Refusals": REFUSALS}
    low = evidence.mean("retention", "mixed", "none", FRAGILE)
    return [
        Part(
            f"{name} over LLM Bar (Adver), Focus, Factuality",
            evidence.mean("retention", "mixed", "none", keys) - low,
            low=0,
        )
        for name, keys in high.items()
    ]


def c4(evidence: Evidence) -> list[Part]:
    """Size of the mixed RM's rewards relative to the single-objective RM's, a geometric mean over trios."""
    return [
        Part(f"{label}, mixed to {single}", np.exp(evidence.get(measure, single, "retained")), high=1)
        for single, (measure, label) in product(OWN.values(), SIZES.items())
    ]


def c5(evidence: Evidence) -> list[Part]:
    """RMSD over the mean |score| of the top neurons."""
    return [Part(f"{objective} RM", evidence.get("rmsd", objective), high=RMSD_BOUND) for objective in OBJECTIVES]


def c6(evidence: Evidence, score: Kind = "magnitude") -> list[Part]:
    """Difference of the drops in HH test accuracy, in points; `score` may stand in for the magnitude score."""

    def drop(kind: str, objective: str) -> pd.Series:
        return -evidence.get("hh_delta", objective, kind)

    return [
        Part(f"{more} over {less}, {objective} RM", drop(more, objective) - drop(less, objective), low=0)
        for objective, (more, less) in product(OBJECTIVES, ((score, "change"), ("change", "random")))
    ]


def c7(evidence: Evidence) -> list[Part]:
    """Excess of the late third's share of the top neurons, a fraction."""
    pooled = [Part(f"{o} RMs, pooled", evidence.get("late_excess", o, "", "pooled"), low=0) for o in OBJECTIVES]
    backbones = [name for name in evidence.parts("late_excess") if name != "pooled"]
    return pooled + [Part(name, evidence.get("late_excess", "", "", name), low=0) for name in backbones]


def c8(evidence: Evidence, score: Kind = "magnitude") -> list[Part]:
    """Change of accuracy when an RM's own top neurons by `score` are ablated, in points."""
    parts = []
    for (group, own), single in product(OWN.items(), OWN.values()):
        change = evidence.mean("delta", single, score, KEYS[group])
        name = f"{single} RM on {group} tasks"
        parts.append(Part(name, change, high=0) if single == own else Part(name, change, low=0))
    return parts


def c9(evidence: Evidence) -> list[Part]:
    """Jaccard index and neuron retention, fractions."""
    return [
        Part("Jaccard index of helpful and harmless", evidence.get("jaccard", "helpful-harmless"), *HALF),
        Part("neuron retention of mixed", evidence.get("neuron_retention", "mixed"), *HALF),
    ]


def c10(evidence: Evidence) -> list[Part]:
    """Change by ablating the shared set minus the change by another set, in points."""

    def change(kind: str, group: Group) -> pd.Series:
        return evidence.mean("delta", "mixed", kind, KEYS[group])

    return [
        Part(f"shared below {kind} on {group} tasks", change("shared", group) - change(kind, group), high=0)
        for group, kind in product(OWN, ("harmless-only", "helpful-only"))
    ]


def c11(evidence: Evidence) -> list[Part]:
    """Standard deviation of the rewards after ablation relative to before, a geometric mean over trios."""
    return [
        Part(f"{single} RM", np.exp(evidence.get("log_std", single, "ablation")), high=1) for single in OWN.values()
    ]


def _accuracy(evidence: Evidence, objective: str, tasks: list[str]) -> pd.Series:
    return evidence.mean("accuracy", objective, "none", tasks)


def _lead(evidence: Evidence, winner: str, tasks: list[str]) -> pd.Series:
    loser = "harmless" if winner == "helpful" else "helpful"
    return _accuracy(evidence, winner, tasks) - _accuracy(evidence, loser, tasks)


CLAIMS = (
    Claim(
        "C1",
        "Mixed RMs do worse than single-objective ones on the latter's own tasks.",
        "Mean accuracy of the mixed RM minus that of the group's own RM is below 0, for both groups of tasks.",
        "points",
        c1,
    ),
    Claim(
        "C2",
        "A single-objective RM is better than the other on its own tasks, except where answering is right (helpful is "
        "better) and in adversarial instruction following (harmless is better).",
        "Mean accuracy of the named single-objective RM minus the other's is above 0, for each of four sets of tasks.",
        "points",
        c2,
        c2_note,
    ),
    Claim(
        "C3",
        "Retention is high for AlpacaEval and refusals, low for LLM Bar (Adver), Focus and Factuality.",
        "Mean retention of each of the first minus that of the last is above 0.",
        "fraction",
        c3,
    ),
    Claim(
        "C4",
        "Where behaviour is retained, the mixed RM's rewards lie closer to zero.",
        "Over the items that both get right, mean |reward| and standard deviation of the mixed RM's rewards relative "
        "to the single-objective RM's (geometric means over trios) are below 1, for both.",
        "ratio",
        c4,
    ),
    Claim(
        "C5",
        "Chosen and rejected texts use the same neurons.",
        "RMSD relative to the mean |score| of the top neurons is below 0.05, for each objective.",
        "ratio",
        c5,
    ),
    Claim(
        "C6",
        "The magnitude score finds the neurons that matter.",
        "The drop in HH test accuracy is larger by magnitude than by change, and by change than by random scores, for "
        "each objective.",
        "points",
        c6,
    ),
    Claim(
        "C7",
        "These neurons lie in the late layers.",
        "The late third's share of the top neurons minus its share of all neurons (1/3 where the blocks divide by "
        "three) is above 0, pooled over backbones for each objective, and for each backbone.",
        "fraction",
        c7,
    ),
    Claim(
        "C8",
        "Ablating an objective's neurons hurts its own tasks and helps the other's.",
        "The change of mean accuracy is below 0 on the RM's own group of tasks and above 0 on the other, for both RMs.",
        "points",
        c8,
    ),
    Claim(
        "C9",
        "About half of the neurons are shared.",
        "Jaccard index of the helpful and harmless RMs' top neurons, and neuron retention, between 1/3 and 2/3.",
        "fraction",
        c9,
    ),
    Claim(
        "C10",
        "Shared neurons matter most in the mixed RM.",
        "The change of mean accuracy by ablating the shared set minus that by each of the other two sets is below 0, "
        "for both groups of tasks.",
        "points",
        c10,
    ),
    Claim(
        "C11",
        "Ablation pulls rewards towards zero.",
        "Standard deviation of the rewards after ablation relative to before (geometric mean over trios) is below 1, "
        "for the helpful and the harmless RM.",
        "ratio",
        c11,
    ),
)


def decide_all(ours: pd.DataFrame, published: pd.DataFrame, required: Container[str]) -> list[dict[str, Any]]:
    """Every claim as it stands in claims.json, from frames of `evidence`; `required` holds ids."""
    evidence, theirs = Evidence(ours), Evidence(published)
    return [decide(claim, evidence, theirs, claim.id in required) for claim in CLAIMS]
