"""What the paper claims of the neurons that matter, without ablation: C5, C7, C9 and C20."""

import math

from rm_tension.analyse.neuron_evidence import POOLED
from rm_tension.analyse.verdicts import Claim, Evidence, Part
from rm_tension.base.config import OBJECTIVES

# Our thresholds for words that the paper gives no number for.
RMSD_BOUND = 0.05  # "the same"
HALF = (1 / 3, 2 / 3)  # "about half"
REFINED = 1 / 2  # "largely"


def c5(evidence: Evidence) -> list[Part]:
    """RMSD over the mean |score| of the top neurons."""
    return [
        Part(f"{objective} RM", evidence.get("rmsd", objective), high=RMSD_BOUND, of_sets=True)
        for objective in OBJECTIVES
    ]


def c7(evidence: Evidence) -> list[Part]:
    """Excess of the late third's share of the top neurons, a fraction."""
    return [
        Part(f"{o} RMs, pooled", evidence.get("late_excess", o, "", POOLED), low=0)
        for o in OBJECTIVES
    ]


def c7_note(evidence: Evidence) -> str:
    """The same of each backbone, which the paper does not claim."""
    names = [name for name in evidence.parts("late_excess") if name != POOLED]
    parts = [Part(name, evidence.get("late_excess", "", "", name)) for name in names]
    shown = ", ".join(_estimate(part) for part in parts if math.isfinite(part.effect))
    return f"By backbone, which decides nothing: {shown}." if shown else ""


def _estimate(part: Part) -> str:
    """Name, effect and interval; a single trio has no interval."""
    low, high = part.interval
    interval = f"[{low:+.3f}, {high:+.3f}]" if math.isfinite(low + high) else "(no interval)"
    return f"{part.name} {part.effect:+.3f} {interval}"


def c9(evidence: Evidence) -> list[Part]:
    """Jaccard index and neuron retention, fractions."""
    return [
        Part(
            "Jaccard index of helpful and harmless",
            evidence.get("jaccard", "helpful-harmless"),
            *HALF,
            of_sets=True,
        ),
        Part(
            "neuron retention of mixed",
            evidence.get("neuron_retention", "mixed"),
            *HALF,
            of_sets=True,
        ),
    ]


def c20(evidence: Evidence) -> list[Part]:
    """Jaccard index of an RM's top neurons and its backbone's."""
    return [
        Part(
            f"{o} RM and its backbone",
            evidence.get("backbone_overlap", o),
            low=REFINED,
            of_sets=True,
        )
        for o in OBJECTIVES
    ]


NEURONS = (
    Claim(
        "C5",
        "Chosen and rejected texts use the same neurons.",
        "RMSD relative to the mean |score| of the top neurons is below 0.05, for each objective.",
        "ratio",
        c5,
    ),
    Claim(
        "C7",
        "The neurons that matter lie in the late layers, for all three types of RM.",
        "The late third's share of the top neurons minus its share of all neurons (1/3 where the blocks divide by "
        "three) is above 0, pooled over backbones, for each objective.",
        "fraction",
        c7,
        c7_note,
    ),
    Claim(
        "C9",
        "About half of the neurons are shared, or retained by the mixed RM.",
        "Jaccard index of the helpful and harmless RMs' top neurons, and neuron retention, between 1/3 and 2/3.",
        "fraction",
        c9,
    ),
    Claim(
        "C20",
        "Alignment training largely refines what is there already.",
        "Jaccard index of an RM's top neurons and its backbone's on the same texts is above 1/2, for each objective.",
        "fraction",
        c20,
    ),
)
