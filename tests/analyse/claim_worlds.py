"""Evidence made by hand: a world in which every claim holds, and for each part of each claim one in which it fails."""

from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from rm_tension.analyse.bootstrap import DRAWN, ESTIMATE
from rm_tension.analyse.files import REFERENCE, read_tables
from rm_tension.analyse.published_evidence import published_evidence
from rm_tension.analyse.task_sets import (
    ADVERSARIAL,
    ALPACA,
    ANSWERING,
    EVERY,
    KEYS,
    LLMBAR_ADVER,
    OWN,
    REFUSALS,
    WEAK,
    without,
)

PAPER = read_tables(Path(__file__).parents[2] / "reference", REFERENCE)
PUBLISHED = published_evidence(PAPER)
OBJECTIVES = ("helpful", "harmless", "mixed")
SINGLES = ("harmless", "helpful")
ACTIVE = ("gpt2-small", "smollm2-135m")  # the backbones beside gpt2-large
PERCENTS = (10, 30)
RETAINED = {
    "mean |reward|": "log_mean_abs",
    "standard deviation": "log_std",
    "mean margin": "log_margin",
}
ABLATED = {
    "mean |reward| of chosen": "log_mean_abs_chosen",
    "mean |reward| of rejected": "log_mean_abs_rejected",
    "standard deviation": "log_std",
    "|mean margin|": "log_margin",
}
DROPS = {"magnitude": 8, "change": 3, "random": 0}
# What the paper claims, where reference/ has no numbers.
CLAIMED = (
    {(measure, o, "retained", "", 0): -0.2 for measure, o in product(RETAINED.values(), SINGLES)}
    | {(measure, o, "ablation", "", 0): -0.3 for measure, o in product(ABLATED.values(), SINGLES)}
    | {("rmsd", o, "", "", 0): 0.01 for o in OBJECTIVES}
    | {
        ("hh_delta", o, kind, part, percent): -drop
        for (kind, drop), percent in product(DROPS.items(), PERCENTS)
        for o, part in (*((o, "") for o in OBJECTIVES), *(("", backbone) for backbone in ACTIVE))
    }
    | {
        ("hh_delta", "", kind, "gpt2-large", percent): -DROPS[kind] / 8
        for kind, percent in product(DROPS, PERCENTS)
    }
    | {("late_excess", o, "", "pooled", 0): 0.2 for o in OBJECTIVES}
    | {("late_excess", "", "", backbone, 0): -0.1 for backbone in ACTIVE}
    | {("backbone_overlap", o, "", "", 0): 0.7 for o in OBJECTIVES}
)


@cache
def world(noise=0.001, rows=101):
    """What the paper says as if it were ours, with a little noise in every resample."""
    values = {**PUBLISHED.iloc[0], **CLAIMED}
    resamples = np.random.default_rng(0).normal(0, noise, (rows, len(values)))
    resamples[0] = 0
    index = pd.MultiIndex.from_tuples(
        [(ESTIMATE, "", 0), *((DRAWN, "", number) for number in range(1, rows))]
    )
    return pd.DataFrame(
        resamples + list(values.values()), index=index, columns=pd.MultiIndex.from_tuples(values)
    )


class Shift(NamedTuple):
    """Columns of evidence, None for any, and what is added to them; or with `to`, what their estimate becomes."""

    measure: str
    objective: str | None = None
    kinds: tuple[str, ...] | None = None
    parts: tuple[str, ...] | None = None
    percent: int | None = None
    by: float = 0
    to: float | None = None

    def __call__(self, frame):
        asked = [
            None if one is None else one if isinstance(one, tuple) else (one,) for one in self[:5]
        ]
        frame = frame.copy()
        for column in frame.columns:
            if all(
                wanted is None or value in wanted
                for wanted, value in zip(asked, column, strict=True)
            ):
                frame[column] += self.by if self.to is None else self.to - frame[column].iloc[0]
        return frame


def _hh(objective, kind, to, part=""):
    """A drop at every percent."""
    return Shift("hh_delta", objective, (kind,), (part,), to=to)


def _delta(objective, kind, tasks, **change):
    return Shift("delta", objective, (kind,), tuple(tasks), **change)


def _accuracy(objective, tasks, **change):
    return Shift("accuracy", objective, ("none",), tuple(tasks), **change)


def _kept(measure, tasks, to):
    return Shift(measure, "mixed", ("none",), tuple(tasks), to=to)


def _of_behaviour():
    for group in OWN:
        yield "C1", f"{group} tasks", [_accuracy("mixed", KEYS[group], by=20)]
        yield "C13", f"{group} tasks", [_kept("retention", KEYS[group], 0.9)]
    for name, winner, tasks in (
        (
            "helpful RM on other helpfulness tasks",
            "helpful",
            without(KEYS["helpfulness"], ADVERSARIAL),
        ),
        (
            "harmless RM on other harmlessness tasks",
            "harmless",
            without(KEYS["harmlessness"], ANSWERING),
        ),
        ("helpful RM where answering is right", "helpful", ANSWERING),
        ("harmless RM on LLM Bar (Adver), Focus, Precise IF, Factuality", "harmless", ADVERSARIAL),
    ):
        yield "C2", name, [_accuracy(winner, tasks, by=-90)]
    for name, tasks in {"AlpacaEval": ALPACA, "Refusals": REFUSALS}.items():
        yield (
            "C3",
            f"{name} over LLM Bar (Adver), Focus, Factuality",
            [_kept("retention", tasks, 0.1)],
        )
    for single, (label, measure) in product(SINGLES, RETAINED.items()):
        yield "C4", f"{label}, mixed to {single}", [Shift(measure, single, ("retained",), by=0.4)]
    alike = [_accuracy(single, without(EVERY, WEAK), to=60) for single in SINGLES]
    yield "C12", "difference of the two, these tasks over the others", alike
    for single in SINGLES:
        yield "C12", f"{single} RM", [_accuracy(single, WEAK, by=20)]
    refusals, alpaca = _kept("mixed_vs_harmless", REFUSALS, 0), _kept("mixed_vs_helpful", ALPACA, 0)
    yield "C14", "harmless RM, refusals over other harmlessness tasks", [refusals]
    yield "C14", "helpful RM, AlpacaEval over other helpfulness tasks", [alpaca]


def _of_neurons():
    for objective in OBJECTIVES:
        yield "C5", f"{objective} RM", [Shift("rmsd", objective, to=0.1)]
        yield (
            "C7",
            f"{objective} RMs, pooled",
            [Shift("late_excess", objective, parts=("pooled",), to=-0.1)],
        )
        yield (
            "C20",
            f"{objective} RM and its backbone",
            [Shift("backbone_overlap", objective, to=0.4)],
        )
    for value in (0.2, 0.8):
        yield "C9", "Jaccard index of helpful and harmless", [Shift("jaccard", to=value)]
        yield "C9", "neuron retention of mixed", [Shift("neuron_retention", to=value)]


def _of_hh():
    for objective, less in product(OBJECTIVES, ("change", "random")):
        yield "C6", f"magnitude over {less}, {objective} RM", [_hh(objective, less, -10)]
    for backbone, less in product(ACTIVE, ("change", "random")):
        yield "C15", f"magnitude over {less}, {backbone}", [_hh("", less, -10, backbone)]
    for kind in ("magnitude", "change"):
        yield (
            "C15",
            f"gpt2-large over half of the others, {kind}",
            [_hh("", kind, -7, "gpt2-large")],
        )
    yield (
        "C21",
        "drop at 10% to that at 30%",
        [Shift("hh_delta", "", ("magnitude",), ("",), 30, to=-30)],
    )


def _of_ablation():
    for (group, own), single in product(OWN.items(), SINGLES):
        sign = 1 if single == own else -1
        yield (
            "C8",
            f"{single} RM on {group} tasks",
            [_delta(single, "magnitude", KEYS[group], by=20 * sign)],
        )
    for group in OWN:
        sets = ("shared", "harmless-only", "helpful-only")
        yield (
            "C10",
            f"shared on {group} tasks",
            [_delta("mixed", kind, KEYS[group], by=20) for kind in sets],
        )
        for kind in sets[1:]:
            yield (
                "C10",
                f"shared below {kind} on {group} tasks",
                [_delta("mixed", kind, KEYS[group], by=-20)],
            )
        yield "C18", f"{group} tasks", [_delta("mixed", "magnitude", KEYS[group], by=20)]
        for value in (-1, -40):
            yield (
                "C19",
                f"shared to top neurons, {group} tasks",
                [_delta("mixed", "shared", KEYS[group], to=value)],
            )
    for single, (label, measure) in product(SINGLES, ABLATED.items()):
        yield "C11", f"{label}, {single} RM", [Shift(measure, single, ("ablation",), by=0.6)]
    yield (
        "C16",
        "tasks with opposite signs",
        [_delta(single, "magnitude", EVERY, to=1) for single in SINGLES],
    )
    for tasks, name, gains, loses in (
        (ANSWERING, "Safety Response, XSTest Should Respond", "harmless", "helpful"),
        (LLMBAR_ADVER, "LLM Bar (Adver)", "helpful", "harmless"),
    ):
        yield "C17", f"{name}: {gains} RM", [_delta(gains, "magnitude", tasks, to=-5)]
        yield "C17", f"{name}: {loses} RM", [_delta(loses, "magnitude", tasks, to=5)]
    exceptions = [*LLMBAR_ADVER, "focus", "precise-if"]
    yield (
        "C18",
        "LLM Bar (Adver), Focus, Precise IF",
        [_delta("mixed", "magnitude", exceptions, to=-5)],
    )
    yield "C18", "Do Not Answer", [_delta("mixed", "magnitude", ["donotanswer"], to=-5)]


# (claim, part, shifts): the world in which just that part of the claim fails.
FAILURES = [*_of_behaviour(), *_of_neurons(), *_of_hh(), *_of_ablation()]
# What a profile lacks to which the claim is not applicable.
NEEDS = {
    "accuracy": ("C1", "C2", "C12"),
    "retention": ("C3", "C13"),
    "mixed_vs_helpful": ("C14",),
    "log_margin": ("C4", "C11"),
    "rmsd": ("C5",),
    "hh_delta": ("C6", "C15", "C21"),
    "late_excess": ("C7",),
    "delta": ("C8", "C10", "C16", "C17", "C18", "C19"),
    "jaccard": ("C9",),
    "backbone_overlap": ("C20",),
}
