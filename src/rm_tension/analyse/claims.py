"""The paper's claims as predicates (METHOD.md section 7); ours and the published numbers go through the same."""

from collections.abc import Container

import pandas as pd

from rm_tension.analyse.claims_ablation import ABLATION
from rm_tension.analyse.claims_behaviour import BEHAVIOUR
from rm_tension.analyse.claims_neurons import NEURONS
from rm_tension.analyse.verdicts import DecidedClaim, Evidence, decide

CLAIMS = tuple(
    sorted((*BEHAVIOUR, *NEURONS, *ABLATION), key=lambda claim: int(claim.id.removeprefix("C")))
)


def decide_all(
    ours: pd.DataFrame, published: pd.DataFrame, required: Container[str]
) -> list[DecidedClaim]:
    """Every claim as it stands in claims.json, from frames of `evidence`; `required` holds ids."""
    evidence, theirs = Evidence(ours), Evidence(published)
    return [decide(claim, evidence, theirs, claim.id in required) for claim in CLAIMS]
