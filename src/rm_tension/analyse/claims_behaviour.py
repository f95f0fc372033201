"""What the paper claims of accuracy, retention and rewards without ablation: C1 to C4, C12 to C14."""

from itertools import product

import numpy as np
import pandas as pd

from rm_tension.analyse.task_sets import (
    ADVERSARIAL,
    ALPACA,
    ANSWERING,
    EVERY,
    FRAGILE,
    KEYS,
    OWN,
    REFUSALS,
    WEAK,
    without,
)
from rm_tension.analyse.verdicts import Claim, Evidence, Part
from rm_tension.paper.tasks import Group

# Which single-objective RM the paper says is better, on which tasks.
WINNERS: dict[str, tuple[str, list[str]]] = {
    "helpful RM on other helpfulness tasks": ("helpful", without(KEYS["helpfulness"], ADVERSARIAL)),
    "harmless RM on other harmlessness tasks": (
        "harmless",
        without(KEYS["harmlessness"], ANSWERING),
    ),
    "helpful RM where answering is right": ("helpful", ANSWERING),
    "harmless RM on LLM Bar (Adver), Focus, Precise IF, Factuality": ("harmless", ADVERSARIAL),
}
SIZES = {
    "log_mean_abs": "mean |reward|",
    "log_std": "standard deviation",
    "log_margin": "mean margin",
}
# Our thresholds for words that the paper gives no number for.
WEAK_ACCURACY = 50  # percent; "weak"
LOW_RETENTION = 3 / 4  # "relatively low"


def accuracy(evidence: Evidence, objective: str, tasks: list[str]) -> pd.Series:
    """Mean accuracy over tasks, in percent."""
    return evidence.mean("accuracy", objective, "none", tasks)


def c1(evidence: Evidence) -> list[Part]:
    """Mixed minus single-objective accuracy, in points."""
    return [
        Part(
            f"{group} tasks",
            accuracy(evidence, "mixed", KEYS[group]) - accuracy(evidence, own, KEYS[group]),
            high=0,
        )
        for group, own in OWN.items()
    ]


def c2(evidence: Evidence) -> list[Part]:
    """Accuracy of the one single-objective RM minus the other's, in points."""
    return [
        Part(name, _lead(evidence, winner, tasks), low=0)
        for name, (winner, tasks) in WINNERS.items()
    ]


def c2_note(evidence: Evidence) -> str:
    """How many tasks have the claimed sign."""
    lead = {
        task: _lead(evidence, winner, [task]).iloc[0]
        for winner, tasks in WINNERS.values()
        for task in tasks
    }
    found = {task: value for task, value in lead.items() if value == value}
    other = [task for task, value in found.items() if value <= 0]
    return f"{len(found) - len(other)} of {len(found)} tasks have the claimed sign; not: {', '.join(other) or 'none'}."


def c3(evidence: Evidence) -> list[Part]:
    """Difference of mean retention, a fraction."""
    low = evidence.mean("retention", "mixed", "none", FRAGILE)
    return [
        Part(
            f"{name} over LLM Bar (Adver), Focus, Factuality",
            evidence.mean("retention", "mixed", "none", tasks) - low,
            low=0,
        )
        for name, tasks in {"AlpacaEval": ALPACA, "Refusals": REFUSALS}.items()
    ]


def c4(evidence: Evidence) -> list[Part]:
    """Size of the mixed RM's rewards relative to the single-objective RM's, a geometric mean over trios."""
    return [
        Part(
            f"{label}, mixed to {single}", np.exp(evidence.get(measure, single, "retained")), high=1
        )
        for single, (measure, label) in product(OWN.values(), SIZES.items())
    ]


def c12(evidence: Evidence) -> list[Part]:
    """How far the single-objective RMs are apart, in points, and their accuracies in percent."""
    apart = _apart(evidence, WEAK) - _apart(evidence, without(EVERY, WEAK))
    return [
        Part("difference of the two, these tasks over the others", apart, high=0),
        *(
            Part(f"{single} RM", accuracy(evidence, single, WEAK), high=WEAK_ACCURACY)
            for single in OWN.values()
        ),
    ]


def c13(evidence: Evidence) -> list[Part]:
    """Mean retention, a fraction."""
    return [
        Part(
            f"{group} tasks",
            evidence.mean("retention", "mixed", "none", KEYS[group]),
            high=LOW_RETENTION,
        )
        for group in OWN
    ]


def c14(evidence: Evidence) -> list[Part]:
    """Difference of mean pairwise retention, a fraction."""

    def over(measure: str, tasks: list[str], group: Group) -> pd.Series:
        others = without(KEYS[group], tasks)
        return evidence.mean(measure, "mixed", "none", tasks) - evidence.mean(
            measure, "mixed", "none", others
        )

    refusals = over("mixed_vs_harmless", REFUSALS, "harmlessness")
    alpaca = over("mixed_vs_helpful", ALPACA, "helpfulness")
    return [
        Part("harmless RM, refusals over other harmlessness tasks", refusals, low=0),
        Part("helpful RM, AlpacaEval over other helpfulness tasks", alpaca, low=0),
    ]


def _lead(evidence: Evidence, winner: str, tasks: list[str]) -> pd.Series:
    loser = "harmless" if winner == "helpful" else "helpful"
    return accuracy(evidence, winner, tasks) - accuracy(evidence, loser, tasks)


def _apart(evidence: Evidence, tasks: list[str]) -> pd.Series:
    """Mean over tasks of the absolute difference of the single-objective RMs' accuracies, in points."""
    return pd.concat([_lead(evidence, "helpful", [task]).abs() for task in tasks], axis=1).mean(
        axis=1
    )


BEHAVIOUR = (
    Claim(
        "C1",
        "Mixed RMs do worse than single-objective ones on the latter's own tasks.",
        "Mean accuracy of the mixed RM minus that of the group's own RM is below 0, for both groups of tasks.",
        "points",
        c1,
    ),
    Claim(
        "C2",
        "A single-objective RM is best on its own tasks, except where answering is right (Safety Response, XSTest "
        "Should Respond) and where the harmless RM can win (LLM Bar (Adver), Focus, Precise IF, Factuality).",
        "Mean accuracy of the named single-objective RM minus the other's is above 0, for each of four sets of tasks.",
        "points",
        c2,
        c2_note,
    ),
    Claim(
        "C3",
        "Retention is high for AlpacaEval and refusals, low for LLM Bar (Adver), Focus and Factuality.",
        "Mean retention of each of the first (Refusals Dangerous and Offensive, XSTest Should Refuse, Safety Refuse) "
        "minus that of the last is above 0.",
        "fraction",
        c3,
    ),
    Claim(
        "C4",
        "Where behaviour is retained, the mixed RM's rewards lie closer to zero, with smaller margins.",
        "Over the items that both get right, mean |reward|, standard deviation and mean margin (lowest chosen minus "
        "highest rejected) of the mixed RM relative to the single-objective RM (geometric means over trios) are below "
        "1, for both.",
        "ratio",
        c4,
    ),
    Claim(
        "C12",
        "On Math, Chat and Factuality, both single-objective RMs are alike, and weak.",
        "The mean absolute difference of their accuracies on these tasks minus that on the others is below 0, and the "
        "mean accuracy of each on them is below 50%.",
        "points",
        c12,
    ),
    Claim(
        "C13",
        "Overall retention is relatively low.",
        "Mean retention is below 3/4, for both groups of tasks.",
        "fraction",
        c13,
    ),
    Claim(
        "C14",
        "Towards the harmless RM refusals are retained more than other tasks, towards the helpful RM Alpaca tasks.",
        "Mean pairwise retention of the four refusal tasks minus that of the other harmlessness tasks (mixed and "
        "harmless RM), and of AlpacaEval minus that of the other helpfulness tasks (mixed and helpful RM), is above "
        "0. Published for gpt2-large only.",
        "fraction",
        c14,
    ),
)
