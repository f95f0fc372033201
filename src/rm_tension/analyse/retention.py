"""What the mixed RM keeps of what the single-objective RMs get right (METHOD.md section 3)."""

import pandas as pd

from rm_tension.analyse.accuracy import to_tasks
from rm_tension.analyse.outcomes import CONDITION
from rm_tension.evaluate.conditions import NONE
from rm_tension.paper.tasks import SUITES

MEASURES = ["retention", "mixed_vs_helpful", "mixed_vs_harmless"]
COLUMNS = [*MEASURES, "retention_as_published"]


def retention(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Columns kind, percent, task and COLUMNS, all fractions, of one trio.

    With M, A and B the items that the mixed, helpful and harmless RM get right, retention is |M and (A or B)| /
    |A or B|, and the pairwise ones are Jaccard indices. M is taken under each condition of the mixed RM, A and B
    without ablation. NaN where nobody is right, and as published 0; no rows if the trio lacks an RM.
    """
    tasks = outcomes[outcomes["dataset"].isin(SUITES)]
    right = tasks.pivot(index=["dataset", "subset", "item"], columns=CONDITION, values="correct")
    single = [(objective, NONE.kind, NONE.percent) for objective in ("helpful", "harmless")]
    if not set(single) <= set(right.columns) or "mixed" not in right.columns.get_level_values("objective"):
        return pd.DataFrame(columns=["kind", "percent", "task", *COLUMNS])
    helpful, harmless = (right[key].astype(bool) for key in single)
    either = helpful | harmless
    subsets = []
    for kind, percent in right["mixed"]:
        mixed = right["mixed", kind, percent].astype(bool)
        counts = {
            "kept": mixed & either,
            "either": either,
            "both_helpful": mixed & helpful,
            "any_helpful": mixed | helpful,
            "both_harmless": mixed & harmless,
            "any_harmless": mixed | harmless,
        }
        sums = pd.DataFrame(counts).groupby(["dataset", "subset"], observed=True).sum()
        ratios = {
            "retention": sums["kept"] / sums["either"],
            "mixed_vs_helpful": sums["both_helpful"] / sums["any_helpful"],
            "mixed_vs_harmless": sums["both_harmless"] / sums["any_harmless"],
        }
        ratios["retention_as_published"] = ratios["retention"].fillna(0)
        subsets.append(pd.DataFrame(ratios).assign(kind=kind, percent=percent).reset_index())
    return to_tasks(pd.concat(subsets), ["kind", "percent"], mean=COLUMNS, total=[])
