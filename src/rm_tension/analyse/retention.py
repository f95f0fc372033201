"""What the mixed RM keeps of what the single-objective RMs get right (METHOD.md section 3)."""

import numpy as np
import pandas as pd

from rm_tension.analyse.accuracy import to_tasks
from rm_tension.analyse.outcomes import CONDITION
from rm_tension.analyse.task_sets import SINGLES
from rm_tension.evaluate.conditions import NONE
from rm_tension.paper.tasks import SUITES

# Of each measure the numerator and the denominator, as `counts` names them.
RATIOS = {
    "retention": ("kept", "either"),
    "mixed_vs_helpful": ("both_helpful", "any_helpful"),
    "mixed_vs_harmless": ("both_harmless", "any_harmless"),
}
MEASURES = list(RATIOS)
COLUMNS = [*MEASURES, "retention_as_published"]


def retention(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Columns kind, percent, task and COLUMNS, all fractions, of one trio.

    With M, A and B the items that the mixed, helpful and harmless RM get right, retention is |M and (A or B)| /
    |A or B|, and the pairwise ones are Jaccard indices. M is taken under each condition of the mixed RM, A and B
    without ablation. NaN where nobody is right, and as published 0; no rows if the trio lacks an RM.
    """
    tasks = outcomes[outcomes["dataset"].isin(SUITES)]
    right = tasks.pivot(index=["dataset", "subset", "item"], columns=CONDITION, values="correct")
    single = [(objective, NONE.kind, NONE.percent) for objective in SINGLES]
    if not set(single) <= set(right.columns) or "mixed" not in right.columns.get_level_values(
        "objective"
    ):
        return pd.DataFrame(columns=["kind", "percent", "task", *COLUMNS])
    right = right.astype(np.float64)
    helpful, harmless = (right[key] for key in single)
    subsets = []
    for kind, percent in right["mixed"]:
        each = pd.DataFrame(counts(helpful, harmless, right["mixed", kind, percent]))
        sums = each.groupby(["dataset", "subset"], observed=True).sum()
        ratios = pd.DataFrame(
            {measure: sums[part] / sums[whole] for measure, (part, whole) in RATIOS.items()}
        )
        published = ratios["retention"].fillna(0)
        subsets.append(
            ratios.assign(
                retention_as_published=published, kind=kind, percent=percent
            ).reset_index()
        )
    return to_tasks(pd.concat(subsets), ["kind", "percent"], mean=COLUMNS, total=[])


def counts(helpful: pd.Series, harmless: pd.Series, mixed: pd.Series) -> dict[str, pd.Series]:
    """What the RMs' right items (1, or 0 if wrong, or NaN) add to the sums of RATIOS."""
    either = np.maximum(helpful, harmless)
    return {
        "either": either,
        "kept": either * mixed,
        "any_helpful": np.maximum(helpful, mixed),
        "both_helpful": helpful * mixed,
        "any_harmless": np.maximum(harmless, mixed),
        "both_harmless": harmless * mixed,
    }
