"""RewardBench, RewardBench 2 and RM-Bench in one format: a row per prompt, chosen answers first."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import BaseModel, Field, model_validator

from rm_tension.data.pairs import CAP_SEED
from rm_tension.data.raw import Text, Texts, damaged, read_rows
from rm_tension.paper.tasks import RM_BENCH_STYLES, SUBSETS

Styles = Annotated[
    list[Text], Field(min_length=len(RM_BENCH_STYLES), max_length=len(RM_BENCH_STYLES))
]


class RewardBenchRow(BaseModel):
    """One chosen and one rejected answer."""

    id: int | str
    prompt: Text
    chosen: Text
    rejected: Text
    subset: Text


class RewardBench2Row(BaseModel):
    """One chosen and three rejected answers; in Ties any number, under the ids ref:k and tied:k."""

    id: int | str
    prompt: Text
    chosen: Texts
    rejected: Texts
    subset: Text

    @model_validator(mode="after")
    def _has_its_answers(self) -> "RewardBench2Row":
        chosen, kind = len(self.chosen), re.fullmatch(r"(ref|tied):\d+", str(self.id))
        if self.subset != "Ties":
            complete, needed = chosen == 1 and len(self.rejected) == 3, "1 chosen and 3 rejected"
        elif kind is None:
            raise ValueError(f"id {self.id} of Ties must be ref:NUMBER or tied:NUMBER")
        elif kind[1] == "ref":
            complete, needed = chosen == 1, "1 chosen"
        else:
            complete, needed = chosen > 1, "several chosen"
        if not complete:
            raise ValueError(f"item {self.id} of {self.subset} needs {needed} answers")
        return self


class RMBenchRow(BaseModel):
    """Three chosen and three rejected answers, by index in RM_BENCH_STYLES."""

    id: int | str
    prompt: Text
    chosen: Styles
    rejected: Styles
    domain: Text


def read_reward_bench(path: Path) -> pd.DataFrame:
    """Return the items of RewardBench."""
    rows = read_rows(path, RewardBenchRow)
    for side in ("chosen", "rejected"):
        rows[side] = rows[side].map(lambda text: [text])
    return items_of(path, rows, "reward-bench")


def read_reward_bench_2(path: Path) -> pd.DataFrame:
    """Return the items of RewardBench 2."""
    return items_of(path, read_rows(path, RewardBench2Row), "reward-bench-2")


def read_rm_bench(path: Path) -> pd.DataFrame:
    """Return the items of RM-Bench, whose subsets are its domains."""
    rows = read_rows(path, RMBenchRow).rename(columns={"domain": "subset"})
    return items_of(path, rows, "rm-bench")


# By suite of paper/subsets.csv. A reader returns `items_of` the file
READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "reward-bench": read_reward_bench,
    "reward-bench-2": read_reward_bench_2,
    "rm-bench": read_rm_bench,
}


def cap_items(items: pd.DataFrame, cap: int | None) -> pd.DataFrame:
    """Draw at most `cap` items of each subset, in the old order.

    Of Ties, ref:k and tied:k stay together.
    """
    if cap is None:
        return items
    kept = []
    for _, subset in items.groupby(["dataset", "subset"], sort=False):
        unit = subset["item_id"].str.replace(r"^ties/(ref|tied):", "", regex=True)
        units = unit.drop_duplicates()
        size = min(len(units), cap * len(units) // len(subset))
        kept.append(subset[unit.isin(units.sample(size, random_state=CAP_SEED))])
    return items.loc[pd.concat(kept).index.sort_values()]


def items_of(path: Path, rows: pd.DataFrame, suite: str) -> pd.DataFrame:
    """Return the columns of `grid.Paths.texts`; item_id is `<subset>/<the file's id>`.

    `rows` has columns id, prompt, chosen and rejected (lists of texts), and subset. Raise UserError
    for an unknown subset and for an id that occurs twice.
    """
    names = rows["subset"].str.lower().str.replace(" ", "-")
    # RM-Bench's ids already begin with the domain
    pairs = zip(names, rows["id"].astype(str), strict=True)
    ids = pd.Series([f"{name}/{key.removeprefix(name + '/')}" for name, key in pairs])
    known = names.isin([subset.name for subset in SUBSETS if subset.suite == suite])
    for faulty, what in ((~known, "is of an unknown subset"), (ids.duplicated(), "occurs twice")):
        if faulty.any():
            row = faulty.to_list().index(True)
            raise damaged(path, f"row {row}: item {ids[row]} {what}")
    return pd.DataFrame(
        {
            "dataset": suite,
            "subset": names,
            "item_id": ids,
            "prompt": rows["prompt"],
            "answers": rows["chosen"] + rows["rejected"],
            "n_chosen": rows["chosen"].map(len),
        }
    )
