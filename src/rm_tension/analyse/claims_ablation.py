"""What the paper claims of silencing neurons: C6, C8, C10, C11, C15 to C19 and C21."""

from collections.abc import Iterable
from itertools import product

import numpy as np
import pandas as pd

from rm_tension.analyse.task_sets import ANSWERING, EVERY, KEYS, LLMBAR_ADVER, OWN, SINGLES
from rm_tension.analyse.verdicts import Claim, Evidence, Part
from rm_tension.base.config import OBJECTIVES
from rm_tension.paper.tasks import Group

BASELINES = ("change", "random")  # that the magnitude score is held against
INERT = "gpt2-large"
SIZES = {
    "log_mean_abs_chosen": "mean |reward| of chosen",
    "log_mean_abs_rejected": "mean |reward| of rejected",
    "log_std": "standard deviation",
    "log_margin": "|mean margin|",
}
# Of footnote 2: effects at the one are to be those at the other.
CHOSEN_PERCENT, LAST_PERCENT = 10, 30
# Our thresholds for words that the paper gives no number for.
MOST = 1 / 2  # "most"
HARDLY = 1 / 2  # "hardly", of the others' drop
AS_MUCH = (1 / 2, 2)  # "about as much"
# "stagnate": with more than two thirds of the drop at 10%, the slope from 10 to 30% is under a quarter of that before.
STAGNATED = 2 / 3


def percents(evidence: Evidence, *kinds: str) -> list[int]:
    """Those at which all of these kinds were ablated on the HH-RLHF test set."""
    return sorted(set.intersection(*(evidence.percents("hh_delta", kind) for kind in kinds)))


def drop(
    evidence: Evidence,
    objective: str,
    kind: str,
    at: list[int],
    backbones: str | Iterable[str] = "",
) -> pd.Series:
    """Mean drop of HH test accuracy over percents and backbones, in points; of all objectives if that is ""."""
    return -evidence.mean("hh_delta", objective, kind, backbones, at)


def change(evidence: Evidence, objective: str, kind: str, tasks: Iterable[str]) -> pd.Series:
    """Mean change of accuracy over tasks, in points."""
    return evidence.mean("delta", objective, kind, tasks)


def c6(evidence: Evidence, score: str = "magnitude") -> list[Part]:
    """Difference of the drops in HH test accuracy, in points; `score` may stand in for the magnitude score."""
    at = percents(evidence, score, *BASELINES)
    return [
        Part(
            f"{score} over {less}, {objective} RM",
            drop(evidence, objective, score, at) - drop(evidence, objective, less, at),
            low=0,
        )
        for objective, less in product(OBJECTIVES, BASELINES)
    ]


def c8(evidence: Evidence, score: str = "magnitude") -> list[Part]:
    """Change of accuracy when an RM's own top neurons by `score` are ablated, in points."""
    parts = []
    for (group, own), single in product(OWN.items(), OWN.values()):
        value, name = change(evidence, single, score, KEYS[group]), f"{single} RM on {group} tasks"
        parts.append(Part(name, value, high=0) if single == own else Part(name, value, low=0))
    return parts


def c10(evidence: Evidence) -> list[Part]:
    """Change by ablating the shared set, and that minus the change by another set, in points."""

    def by(kind: str, group: Group) -> pd.Series:
        return change(evidence, "mixed", kind, KEYS[group])

    others: tuple[str, ...] = ("harmless-only", "helpful-only")
    return [
        *(Part(f"shared on {group} tasks", by("shared", group), high=0) for group in OWN),
        *(
            Part(
                f"shared below {kind} on {group} tasks",
                by("shared", group) - by(kind, group),
                high=0,
            )
            for group, kind in product(OWN, others)
        ),
    ]


def c11(evidence: Evidence) -> list[Part]:
    """Size of the rewards after ablation relative to before, a geometric mean over trios."""
    return [
        Part(f"{label}, {single} RM", np.exp(evidence.get(measure, single, "ablation")), high=1)
        for single, (measure, label) in product(OWN.values(), SIZES.items())
    ]


def c15(evidence: Evidence) -> list[Part]:
    """C6's differences of each backbone, and gpt2-large's drop less half of the others', in points."""
    at = percents(evidence, "magnitude", *BASELINES)

    def of(kind: str, backbones: str | Iterable[str]) -> pd.Series:
        return drop(evidence, "", kind, at, backbones)

    others = [backbone for backbone in evidence.parts("hh_delta") if backbone not in {"", INERT}]
    scores: tuple[str, ...] = ("magnitude", "change")
    return [
        *(
            Part(
                f"magnitude over {less}, {backbone}",
                of("magnitude", backbone) - of(less, backbone),
                low=0,
            )
            for backbone, less in product(others, BASELINES)
        ),
        *(
            Part(
                f"{INERT} over half of the others, {kind}",
                of(kind, INERT) - HARDLY * of(kind, others),
                high=0,
            )
            for kind in scores
        ),
    ]


def c16(evidence: Evidence) -> list[Part]:
    """Share of tasks that the two single-objective ablations change in opposite directions."""
    helpful, harmless = (
        pd.concat(
            [change(evidence, single, "magnitude", [task]) for task in EVERY], axis=1, keys=EVERY
        )
        for single in SINGLES
    )
    products = helpful * harmless
    return [
        Part(
            "tasks with opposite signs",
            (products < 0).sum(axis=1) / products.notna().sum(axis=1),
            low=MOST,
        )
    ]


def c17(evidence: Evidence) -> list[Part]:
    """Change of accuracy by ablating the RM that the task does not and does belong to, in points."""
    sets = {
        "Safety Response, XSTest Should Respond": ("harmless", "helpful", ANSWERING),
        "LLM Bar (Adver)": ("helpful", "harmless", LLMBAR_ADVER),
    }
    return [
        part
        for name, (gains, loses, tasks) in sets.items()
        for part in (
            Part(f"{name}: {gains} RM", change(evidence, gains, "magnitude", tasks), low=0),
            Part(f"{name}: {loses} RM", change(evidence, loses, "magnitude", tasks), high=0),
        )
    ]


def c18(evidence: Evidence) -> list[Part]:
    """Change of the mixed RM's accuracy by ablating its own top neurons, in points."""
    exceptions = {
        "LLM Bar (Adver), Focus, Precise IF": [*LLMBAR_ADVER, "focus", "precise-if"],
        "Do Not Answer": ["donotanswer"],
    }
    return [
        *(
            Part(f"{group} tasks", change(evidence, "mixed", "magnitude", KEYS[group]), high=0)
            for group in OWN
        ),
        *(
            Part(name, change(evidence, "mixed", "magnitude", tasks), low=0)
            for name, tasks in exceptions.items()
        ),
    ]


def c19(evidence: Evidence) -> list[Part]:
    """Change by the shared set relative to that by the mixed RM's top neurons."""
    return [
        Part(
            f"shared to top neurons, {group} tasks",
            change(evidence, "mixed", "shared", KEYS[group])
            / change(evidence, "mixed", "magnitude", KEYS[group]),
            *AS_MUCH,
        )
        for group in OWN
    ]


def c21(evidence: Evidence) -> list[Part]:
    """Drop of HH test accuracy at 10% relative to that at 30%."""
    first, last = (
        drop(evidence, "", "magnitude", [percent]) for percent in (CHOSEN_PERCENT, LAST_PERCENT)
    )
    return [
        Part(f"drop at {CHOSEN_PERCENT}% to that at {LAST_PERCENT}%", first / last, low=STAGNATED)
    ]


ABLATION = (
    Claim(
        "C6",
        "The magnitude score finds the neurons that matter, in all three RMs, across shares.",
        "The drop in HH test accuracy, averaged over the ablated shares, is larger by magnitude than by change and "
        "than by random scores, for each objective.",
        "points",
        c6,
    ),
    Claim(
        "C8",
        "Ablating an objective's neurons hurts its own tasks and helps the other's.",
        "The change of mean accuracy is below 0 on the RM's own group of tasks and above 0 on the other, for both RMs.",
        "points",
        c8,
    ),
    Claim(
        "C10",
        "Ablating the shared neurons hurts the mixed RM, and more than the only-sets do.",
        "The change of mean accuracy by ablating the shared set, and that minus the change by each of the other two "
        "sets, is below 0, for both groups of tasks.",
        "points",
        c10,
    ),
    Claim(
        "C11",
        "Ablation pulls chosen and rejected rewards towards zero and reduces separability.",
        "Over all items, mean |reward| of chosen and of rejected answers, standard deviation and |mean margin| after "
        "ablation relative to before (geometric means over trios) are below 1, for the helpful and the harmless RM.",
        "ratio",
        c11,
    ),
    Claim(
        "C15",
        "The magnitude score finds them in every backbone, except that GPT2-large hardly reacts, to change-based "
        "scores either.",
        "C6's two differences, means of the objectives, are above 0 for each other backbone, and GPT2-large's drop by "
        "magnitude and by change minus half of the other backbones' mean is below 0.",
        "points",
        c15,
    ),
    Claim(
        "C16",
        "On most tasks the two single-objective ablations change accuracy in opposite directions.",
        "The share of tasks whose two mean changes have opposite signs is above 1/2.",
        "fraction",
        c16,
    ),
    Claim(
        "C17",
        "Some tasks gain by losing the features of their own objective.",
        "On Safety Response and XSTest Should Respond, the mean change is above 0 by ablating the harmless RM and "
        "below 0 by ablating the helpful RM; on LLM Bar (Adver), above 0 by the helpful and below 0 by the harmless.",
        "points",
        c17,
    ),
    Claim(
        "C18",
        "Ablating the mixed RM's own neurons hurts both groups of tasks, except LLM Bar (Adver), Focus, Precise IF, "
        "and Do Not Answer.",
        "The change of mean accuracy is below 0 on both groups of tasks; it is above 0 on LLM Bar (Adver), Focus and "
        "Precise IF together, and on Do Not Answer.",
        "points",
        c18,
    ),
    Claim(
        "C19",
        "The shared neurons alone do about as much damage as the mixed RM's whole top 10%, though they are fewer.",
        "The change of mean accuracy by ablating the shared set relative to that by the mixed RM's top neurons lies "
        "between 1/2 and 2, for both groups of tasks. That the shared neurons are fewer holds by construction.",
        "ratio",
        c19,
    ),
    Claim(
        "C21",
        "The effects stagnate by the time that 10% of the neurons are ablated.",
        "The drop in HH test accuracy by magnitude at 10% relative to that at 30%, means of the objectives, is above "
        "2/3.",
        "ratio",
        c21,
    ),
)
