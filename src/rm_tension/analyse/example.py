"""The prompt of Figure 1, chosen from the results by a rule (METHOD.md section 6)."""

from dataclasses import dataclass
from typing import Annotated

import pandas as pd
from pydantic import Field

from rm_tension.base.config import OBJECTIVES, Objective
from rm_tension.base.grid import Trio
from rm_tension.evaluate.conditions import NONE

ANSWERED = (
    ("reward-bench", "xstest-should-respond"),
    ("rm-bench", "safety-response"),
)  # the rejected answer refuses
RULE = (
    "Of the items of XSTest Should Respond and Safety Response, whose rejected answer is a refusal: one where the "
    "harmless RM prefers the refusal, the helpful and mixed RMs the answer, the mixed one by less than the helpful "
    "one. Taken is the item of which that is true in the most trios, shown in the trio with the clearest effect: the "
    "largest least of the harmless RM's margin for the refusal, the mixed RM's for the answer and the difference of "
    "the helpful and the mixed RM's. Between equals the clearer decides, then the first."
)


@dataclass(frozen=True)
class Sides:
    """Of the answer and the refusal, the rewards by one RM."""

    answer: float
    refusal: float


@dataclass(frozen=True)
class Chosen:
    """The item of Figure 1, and its rewards by the RMs of the trio that it is shown in; true of `trios` trios."""

    suite: str
    subset: str
    item_id: str
    backbone: str
    seed: int
    trios: int
    prompt: str
    answer: str
    refusal: str
    rewards: Annotated[dict[Objective, Sides], Field(min_length=len(OBJECTIVES))]


@dataclass(frozen=True)
class Example:
    """What stands in example.json: the chosen item, or a reason why there is none."""

    rule: str
    example: Chosen | None
    reason: str | None


def candidates(rewards: pd.DataFrame) -> pd.DataFrame:
    """Columns dataset, item_id, item, answer, refusal (indices), clarity, and `<objective> answer|refusal` rewards.

    One row per item of a trio that fits the rule; `rewards` is that of `score_shift.task_rewards`.
    """
    plain = rewards.xs(NONE.kind, axis=1, level="kind").reset_index()
    subsets = pd.MultiIndex.from_frame(plain[["dataset", "subset"]])
    plain = (
        plain[subsets.isin(ANSWERED)]
        .drop(columns="subset")
        .rename(columns={"answer_index": "index"})
    )
    answer, refusal = (
        plain[plain["chosen"] == side].drop(columns="chosen") for side in (True, False)
    )
    pairs = answer.merge(
        refusal, on=["dataset", "item_id", "item"], suffixes=(" answer", " refusal")
    )
    margin = {o: pairs[f"{o} answer"] - pairs[f"{o} refusal"] for o in OBJECTIVES}
    parts = [-margin["harmless"], margin["mixed"], margin["helpful"] - margin["mixed"]]
    return pairs.assign(clarity=pd.concat(parts, axis=1).min(axis=1)).query("clarity > 0")


def choose(by_trio: dict[Trio, pd.DataFrame], benchmarks: pd.DataFrame) -> Example:
    """The one that RULE chooses from the `candidates` of each trio, with its texts."""
    found = pd.concat(
        [table.assign(backbone=trio.backbone, seed=trio.seed) for trio, table in by_trio.items()],
        ignore_index=True,
    )
    if found.empty:
        reason = (
            "In no trio does any item of XSTest Should Respond or Safety Response fit the rule."
        )
        return Example(RULE, None, reason)
    trios = found.groupby("item")["item"].transform("size")
    best = found.assign(trios=trios).sort_values(
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
            objective: Sides(
                *(float(chosen[f"{objective} {side}"]) for side in ("answer", "refusal"))
            )
            for objective in OBJECTIVES
        },
    )
    return Example(RULE, example, None)
