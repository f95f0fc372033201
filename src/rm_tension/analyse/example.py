"""The prompt of Figure 1, chosen from the results by a rule (METHOD.md section 6)."""

from dataclasses import dataclass
from typing import Annotated

import pandas as pd
from pydantic import Field

from rm_tension.base.config import ROLES, Role
from rm_tension.evaluate.conditions import NONE

# subsets in which the rejected answer refuses
ANSWERED = (("reward-bench", "xstest-should-respond"), ("rm-bench", "safety-response"))
RULE = (
    "Of the items of XSTest Should Respond and Safety Response, whose rejected answer is a "
    "refusal: one where the harmless RM prefers the refusal, the helpful and mixed RMs the "
    "answer, the mixed one by less than the helpful one. Taken is the item of which that is "
    "true in the most trios, shown in the trio with the clearest effect: the largest least of"
    " the harmless RM's margin for the refusal, the mixed RM's for the answer and the "
    "difference of the helpful and the mixed RM's. Between equals the clearer decides, then "
    "the first."
)


@dataclass(frozen=True)
class Sides:
    """The rewards of the answer and of the refusal by one RM."""

    answer: float
    refusal: float


@dataclass(frozen=True)
class Chosen:
    """The item of Figure 1, and its rewards by the trio that it is shown in; it fits in `trios`."""

    suite: str
    subset: str
    item_id: str
    backbone: str
    seed: int
    trios: int
    prompt: str
    answer: str
    refusal: str
    rewards: Annotated[dict[Role, Sides], Field(min_length=len(ROLES))]


@dataclass(frozen=True)
class Example:
    """What stands in example.json: the chosen item, or a reason why there is none."""

    rule: str
    example: Chosen | None
    reason: str | None


def candidates(rewards: pd.DataFrame) -> pd.DataFrame:
    """Return the items of one trio that fit RULE, from `score_shift.task_rewards`.

    Columns dataset, item_id, item, `index answer|refusal`, clarity, and `<objective>
    answer|refusal` rewards.
    """
    plain = rewards.xs(NONE.kind, axis=1, level="kind").reset_index()
    subsets = pd.MultiIndex.from_frame(plain[["dataset", "subset"]])
    plain = plain[subsets.isin(ANSWERED)].drop(columns="subset")
    plain = plain.rename(columns={"answer_index": "index"})
    answer, refusal = (
        plain[plain["chosen"] == side].drop(columns="chosen") for side in (True, False)
    )
    keys = ["dataset", "item_id", "item"]
    pairs = answer.merge(refusal, on=keys, suffixes=(" answer", " refusal"))
    margin = {o: pairs[f"{o} answer"] - pairs[f"{o} refusal"] for o in ROLES}
    parts = [-margin["harmless"], margin["mixed"], margin["helpful"] - margin["mixed"]]
    return pairs.assign(clarity=pd.concat(parts, axis=1).min(axis=1)).query("clarity > 0")


def choose(fitting: pd.DataFrame, benchmarks: pd.DataFrame) -> Example:
    """Return what RULE chooses from the `candidates` of all trios, with its texts."""
    if fitting.empty:
        reason = (
            "In no trio does any item of XSTest Should Respond or Safety Response fit the rule."
        )
        return Example(RULE, None, reason)
    trios = fitting.groupby("item")["item"].transform("size")
    best = fitting.assign(trios=trios).sort_values(
        ["trios", "clarity", "item"], ascending=[False, False, True], kind="stable"
    )
    chosen = best.iloc[0]
    text = benchmarks.set_index(["dataset", "item_id"]).loc[(chosen["dataset"], chosen["item_id"])]
    example = Chosen(
        suite=chosen["dataset"],
        subset=text["subset"],
        item_id=chosen["item_id"],
        backbone=chosen["backbone"],
        seed=int(chosen["seed"]),
        trios=int(chosen["trios"]),
        prompt=text["prompt"],
        answer=text["answers"][chosen["index answer"]],
        refusal=text["answers"][chosen["index refusal"]],
        rewards={
            o: Sides(float(chosen[f"{o} answer"]), float(chosen[f"{o} refusal"])) for o in ROLES
        },
    )
    return Example(RULE, example, None)
