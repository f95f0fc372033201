"""The numbers that the predicates of claims.yaml ask for; ours and the paper's go through the same.

The function `c1` yields the parts of C1, all of which must hold, in the unit of claims.yaml. A
number is a series of bootstrap replicates, or the one published value.
"""

import math
from collections.abc import Container, Iterable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from rm_tension.analyse.neurons import POOLED
from rm_tension.analyse.task_sets import (
    ADVERSARIAL,
    ALPACA,
    ANSWERING,
    EVERY,
    FRAGILE,
    KEYS,
    LLMBAR_ADVER,
    OWN,
    REFUSALS,
    SINGLES,
    WEAK,
    without,
)
from rm_tension.analyse.verdicts import (
    EQUAL,
    UNIT,
    Claim,
    DecidedClaim,
    Evidence,
    Part,
    decide,
)
from rm_tension.base.config import ROLES

# C2: which single-objective RM the paper says is better, on which tasks.
WINNERS: dict[str, tuple[str, list[str]]] = {
    "helpful RM on other helpfulness tasks": ("helpful", without(KEYS["helpfulness"], ADVERSARIAL)),
    "harmless RM on other harmlessness tasks": (
        "harmless",
        without(KEYS["harmlessness"], ANSWERING),
    ),
    "helpful RM where answering is right": ("helpful", ANSWERING),
    "harmless RM on LLM Bar (Adver), Focus, Precise IF, Factuality": ("harmless", ADVERSARIAL),
}
BASELINES = ("change", "random")  # C6, C15: the scores that the magnitude score is held against
INERT = "gpt2-large"  # C15
# C21, footnote 2: effects at the one percent are to be those at the other.
CHOSEN_PERCENT, LAST_PERCENT = 10, 30
# Our thresholds for words that the paper gives no number for.
RMSD_BOUND = 0.05  # C5: "the same"
HALF = (1 / 3, 2 / 3)  # C9: "about half"
WEAK_ACCURACY = 50  # C12: percent; "weak"
LOW_RETENTION = 3 / 4  # C13: "relatively low"
HARDLY = 1 / 2  # C15: "hardly", of the others' drop
MOST = 1 / 2  # C16: "most"
AS_MUCH = (1 / 2, 2)  # C19: "about as much"
REFINED = 1 / 2  # C20: "largely"
# C21: "stagnate": with more than two thirds of the drop at 10%, the slope from 10 to 30% is under a
# quarter of that before.
STAGNATED = 2 / 3
# C4 and C11: the measures of a comparison, by what they are called.
SIZES = {
    "retained": {
        "mean |reward|": "log_mean_abs",
        "standard deviation": "log_std",
        "mean margin": "log_margin",
    },
    "ablation": {
        "mean |reward| of chosen": "log_mean_abs_chosen",
        "mean |reward| of rejected": "log_mean_abs_rejected",
        "standard deviation": "log_std",
        "|mean margin|": "log_margin",
    },
}


def accuracy(evidence: Evidence, objective: str, tasks: Iterable[str]) -> pd.Series:
    """Return the mean accuracy over tasks, in percent."""
    return evidence.mean("accuracy", objective, "none", tasks)


def lead(evidence: Evidence, winner: str, tasks: Iterable[str]) -> pd.Series:
    """Return the accuracy of one single-objective RM minus the other's, in points."""
    loser = "harmless" if winner == "helpful" else "helpful"
    return (accuracy(evidence, winner, tasks) - accuracy(evidence, loser, tasks)).round(EQUAL)


def kept(evidence: Evidence, tasks: Iterable[str], measure: str = "retention") -> pd.Series:
    """Return the mean retention over tasks, a fraction."""
    return evidence.mean(measure, "mixed", "none", tasks)


def change(evidence: Evidence, objective: str, kind: str, tasks: Iterable[str]) -> pd.Series:
    """Return the mean change of accuracy over tasks, in points."""
    return evidence.mean("delta", objective, kind, tasks).round(EQUAL)


def share_of_damage(part: pd.Series, whole: pd.Series) -> pd.Series:
    """Return the ratio of two changes; NaN where the whole does no damage to have a share of."""
    return part / whole if whole.iloc[0] < 0 else whole * math.nan


def common_percents(evidence: Evidence, *kinds: str) -> list[int]:
    """Return those at which all of these kinds were ablated on the HH-RLHF test set."""
    return sorted(set.intersection(*(evidence.percents("hh_delta", kind) for kind in kinds)))


def drop(
    evidence: Evidence,
    objective: str,
    kind: str,
    at: list[int],
    backbones: str | Iterable[str] = "",
) -> pd.Series:
    """Return the mean drop of HH test accuracy over percents and backbones, in points.

    The objective "" is the mean of all objectives, the backbone "" that of all backbones.
    """
    return -evidence.mean("hh_delta", objective, kind, backbones, at)


def c1(evidence: Evidence) -> Iterator[Part]:
    """Yield mixed minus single-objective accuracy."""
    for group, own in OWN.items():
        single, mixed = (accuracy(evidence, rm, KEYS[group]) for rm in (own, "mixed"))
        yield Part(f"{group} tasks", mixed - single, high=0)


def c2(evidence: Evidence) -> Iterator[Part]:
    """Yield the accuracy of the one single-objective RM minus the other's."""
    for name, (winner, tasks) in WINNERS.items():
        yield Part(name, lead(evidence, winner, tasks), low=0)


def c2_note(evidence: Evidence) -> str:
    """Say how many tasks have the claimed sign."""
    leads: dict[str, float] = {}
    for winner, tasks in WINNERS.values():
        leads |= {task: lead(evidence, winner, [task]).iloc[0] for task in tasks}
    known = {task: value for task, value in leads.items() if not math.isnan(value)}
    other = [task for task, value in known.items() if value <= 0]
    right = f"{len(known) - len(other)} of {len(known)} tasks have the claimed sign"
    return f"{right}; not: {', '.join(other) or 'none'}."


def c3(evidence: Evidence) -> Iterator[Part]:
    """Yield differences of mean retention."""
    low = kept(evidence, FRAGILE)
    for name, tasks in (("AlpacaEval", ALPACA), ("Refusals", REFUSALS)):
        more = kept(evidence, tasks) - low
        yield Part(f"{name} over LLM Bar (Adver), Focus, Factuality", more, low=0)


def c4(evidence: Evidence) -> Iterator[Part]:
    """Yield the size of the mixed RM's rewards relative to the single-objective RM's."""
    for single, (label, measure) in product(OWN.values(), SIZES["retained"].items()):
        values = evidence.get(measure, single, "retained")
        yield Part(f"{label}, mixed to {single}", values, high=1, scale=np.exp)


def c5(evidence: Evidence) -> Iterator[Part]:
    """Yield RMSD over the mean |score| of the top neurons."""
    for objective in ROLES:
        ratio = evidence.get("rmsd", objective)
        yield Part(f"{objective} RM", ratio, high=RMSD_BOUND, of_sets=True)


def c6(evidence: Evidence, score: str = "magnitude", at: list[int] | None = None) -> Iterator[Part]:
    """Yield differences of drops in HH test accuracy.

    Another score may stand in for magnitude; `at` are the percents, by default all in common.
    """
    at = at or common_percents(evidence, score, *BASELINES)
    for objective, less in product(ROLES, BASELINES):
        over = drop(evidence, objective, score, at) - drop(evidence, objective, less, at)
        yield Part(f"{score} over {less}, {objective} RM", over, low=0)


def c7(evidence: Evidence) -> Iterator[Part]:
    """Yield the excess of the late third's share of the top neurons."""
    for objective in ROLES:
        excess = evidence.get("late_excess", objective, "", POOLED)
        yield Part(f"{objective} RMs, pooled", excess, low=0)


def c7_note(evidence: Evidence) -> str:
    """Say the same of each backbone, which the paper does not claim."""
    shown = []
    for name in evidence.parts("late_excess"):
        part = Part(name, evidence.get("late_excess", "", "", name))
        if name != POOLED and math.isfinite(part.effect):
            low, high = part.interval
            known = math.isfinite(low + high)  # a single trio has no interval
            interval = f"[{low:+.3f}, {high:+.3f}]" if known else "(no interval)"
            shown.append(f"{name} {part.effect:+.3f} {interval}")
    return f"By backbone, which decides nothing: {', '.join(shown)}." if len(shown) > 1 else ""


def c8(evidence: Evidence, score: str = "magnitude") -> Iterator[Part]:
    """Yield the change of accuracy when an RM's own top neurons by `score` are ablated."""
    for (group, own), single in product(OWN.items(), OWN.values()):
        value = change(evidence, single, score, KEYS[group])
        name = f"{single} RM on {group} tasks"
        yield Part(name, value, high=0) if single == own else Part(name, value, low=0)


def c9(evidence: Evidence) -> Iterator[Part]:
    """Yield the Jaccard index and neuron retention."""
    shared = evidence.get("jaccard", "harmless-helpful")
    yield Part("Jaccard index of helpful and harmless", shared, *HALF, within=UNIT, of_sets=True)
    retained = evidence.get("neuron_retention", "mixed")
    yield Part("neuron retention of mixed", retained, *HALF, within=UNIT, of_sets=True)


def c10(evidence: Evidence) -> Iterator[Part]:
    """Yield the change by ablating the shared set, and that minus the change by another set."""
    shared = {group: change(evidence, "mixed", "shared", KEYS[group]) for group in OWN}
    for group in OWN:
        yield Part(f"shared on {group} tasks", shared[group], high=0)
    for group, kind in product(OWN, ("harmless-only", "helpful-only")):
        more = shared[group] - change(evidence, "mixed", kind, KEYS[group])
        yield Part(f"shared below {kind} on {group} tasks", more, high=0)


def c11(evidence: Evidence) -> Iterator[Part]:
    """Yield the size of the rewards after ablation relative to before."""
    for single, (label, measure) in product(OWN.values(), SIZES["ablation"].items()):
        values = evidence.get(measure, single, "ablation")
        yield Part(f"{label}, {single} RM", values, high=1, scale=np.exp)


def c12(evidence: Evidence) -> Iterator[Part]:
    """Yield how far the single-objective RMs are apart, and their accuracies."""
    apart = pd.concat({task: lead(evidence, "helpful", [task]).abs() for task in EVERY}, axis=1)
    less = apart[WEAK].mean(axis=1) - apart[without(EVERY, WEAK)].mean(axis=1)
    yield Part("difference of the two, these tasks over the others", less, high=0)
    for single in OWN.values():
        yield Part(f"{single} RM", accuracy(evidence, single, WEAK), high=WEAK_ACCURACY)


def c13(evidence: Evidence) -> Iterator[Part]:
    """Yield mean retention."""
    for group in OWN:
        yield Part(f"{group} tasks", kept(evidence, KEYS[group]), high=LOW_RETENTION, within=UNIT)


def c14(evidence: Evidence) -> Iterator[Part]:
    """Yield differences of mean pairwise retention."""
    named = {"harmlessness": ("refusals", REFUSALS), "helpfulness": ("AlpacaEval", ALPACA)}
    for group, single in OWN.items():
        name, tasks = named[group]
        measure, others = f"mixed_vs_{single}", without(KEYS[group], tasks)
        more = kept(evidence, tasks, measure) - kept(evidence, others, measure)
        yield Part(f"{single} RM, {name} over other {group} tasks", more, low=0)


def c15(evidence: Evidence) -> Iterator[Part]:
    """Yield C6's differences by backbone, and gpt2-large's drop less half of the others'."""
    at = common_percents(evidence, "magnitude", *BASELINES)
    others = [backbone for backbone in evidence.parts("hh_delta") if backbone not in {"", INERT}]
    for backbone, less in product(others, BASELINES):
        over, under = (drop(evidence, "", kind, at, backbone) for kind in ("magnitude", less))
        yield Part(f"magnitude over {less}, {backbone}", over - under, low=0)
    for kind in ("magnitude", "change"):
        half = HARDLY * drop(evidence, "", kind, at, others)
        over = drop(evidence, "", kind, at, INERT) - half
        yield Part(f"{INERT} over half of the others, {kind}", over, high=0)


def c16(evidence: Evidence) -> Iterator[Part]:
    """Yield the share of tasks that the two single-objective ablations change in opposite ways."""
    products = {}
    for task in EVERY:
        helpful, harmless = (change(evidence, own, "magnitude", [task]) for own in SINGLES)
        products[task] = helpful * harmless
    table = pd.concat(products, axis=1)
    share = (table < 0).sum(axis=1) / table.notna().sum(axis=1)
    yield Part("tasks with opposite signs", share, low=MOST, within=UNIT)


def c17(evidence: Evidence) -> Iterator[Part]:
    """Yield the change by ablating the RM that the task does not and does belong to."""
    for name, gains, loses, tasks in (
        ("Safety Response, XSTest Should Respond", "harmless", "helpful", ANSWERING),
        ("LLM Bar (Adver)", "helpful", "harmless", LLMBAR_ADVER),
    ):
        yield Part(f"{name}: {gains} RM", change(evidence, gains, "magnitude", tasks), low=0)
        yield Part(f"{name}: {loses} RM", change(evidence, loses, "magnitude", tasks), high=0)


def c18(evidence: Evidence) -> Iterator[Part]:
    """Yield the change of the mixed RM's accuracy by ablating its own top neurons."""
    for group in OWN:
        value = change(evidence, "mixed", "magnitude", KEYS[group])
        yield Part(f"{group} tasks", value, high=0)
    for name, tasks in (
        ("LLM Bar (Adver), Focus, Precise IF", [*LLMBAR_ADVER, "focus", "precise-if"]),
        ("Do Not Answer", ["donotanswer"]),
    ):
        yield Part(name, change(evidence, "mixed", "magnitude", tasks), low=0)


def c19(evidence: Evidence) -> Iterator[Part]:
    """Yield the change by the shared set relative to that by the mixed RM's top neurons."""
    for group, tasks in KEYS.items():
        shared, every = (change(evidence, "mixed", kind, tasks) for kind in ("shared", "magnitude"))
        share = share_of_damage(shared, every)
        yield Part(f"shared to top neurons, {group} tasks", share, *AS_MUCH)


def c20(evidence: Evidence) -> Iterator[Part]:
    """Yield the Jaccard index of an RM's top neurons and its backbone's."""
    for objective in ROLES:
        overlap = evidence.get("backbone_overlap", objective)
        yield Part(
            f"{objective} RM and its backbone", overlap, low=REFINED, within=UNIT, of_sets=True
        )


def c21(evidence: Evidence) -> Iterator[Part]:
    """Yield the drop of HH test accuracy at 10% relative to that at 30%."""
    first, last = (drop(evidence, "", "magnitude", [at]) for at in (CHOSEN_PERCENT, LAST_PERCENT))
    name = f"drop at {CHOSEN_PERCENT}% to that at {LAST_PERCENT}%"
    yield Part(name, share_of_damage(-first, -last), low=STAGNATED)


def _read_claims() -> dict[str, Claim]:
    """Return the claims of claims.yaml by id, each with the functions of its name."""
    entries = yaml.safe_load(Path(__file__).with_name("claims.yaml").read_text(encoding="utf-8"))
    functions = globals()
    return {
        entry["id"]: Claim(
            **entry,
            parts=functions[entry["id"].lower()],
            note=functions.get(f"{entry['id'].lower()}_note", lambda _: ""),
        )
        for entry in entries
    }


CLAIMS = _read_claims()


def decide_all(
    ours: pd.DataFrame, published: pd.DataFrame, required: Container[str]
) -> list[DecidedClaim]:
    """Return every claim as it stands in claims.json, from frames of `evidence`.

    `required` holds ids.
    """
    evidence, paper = Evidence(ours), Evidence(published)
    return [decide(claim, evidence, paper, claim.id in required) for claim in CLAIMS.values()]
