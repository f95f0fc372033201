"""RewardBench, RewardBench 2 and RM-Bench in one format: a row per prompt, its chosen answers first."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from rm_tension.data.hh_rlhf import CAP_SEED
from rm_tension.data.raw import Columns, damaged, read_table
from rm_tension.data.sources import DataSet
from rm_tension.paper.tasks import RM_BENCH_STYLES, SUBSETS, Suite

KNOWN = {(subset.suite, subset.name) for subset in SUBSETS}


def read_reward_bench(path: Path) -> pd.DataFrame:
    """One chosen and one rejected answer a prompt."""
    table = read_table(
        path, Columns(texts=("prompt", "chosen", "rejected", "subset"), keys=("id",))
    )
    table["chosen"] = table["chosen"].map(lambda text: [text])
    table["rejected"] = table["rejected"].map(lambda text: [text])
    return _items(path, table, "reward-bench", table["subset"])


def read_reward_bench_2(path: Path) -> pd.DataFrame:
    """One chosen and three rejected answers a prompt; in Ties any number, with ids `ref:k` and `tied:k`."""
    table = read_table(
        path, Columns(("prompt", "subset"), lists=("chosen", "rejected"), keys=("id",))
    )
    items = _items(path, table, "reward-bench-2", table["subset"])
    chosen, rejected = table["chosen"].map(len), table["rejected"].map(len)
    ties, ref = items["subset"] == "ties", items["item_id"].str.fullmatch(r"ties/ref:\d+")
    tied = items["item_id"].str.fullmatch(r"ties/tied:\d+")
    _require(path, items, ~ties | ref | tied, "an id of Ties must be ref:NUMBER or tied:NUMBER")
    _require(
        path,
        items,
        ties | ((chosen == 1) & (rejected == 3)),
        "needs 1 chosen and 3 rejected answers",
    )
    _require(path, items, ~ref | (chosen == 1), "needs 1 chosen answer")
    _require(path, items, ~tied | (chosen > 1), "needs several chosen answers")
    return items


def read_rm_bench(path: Path) -> pd.DataFrame:
    """Three chosen and three rejected answers a prompt, by index in RM_BENCH_STYLES."""
    table = read_table(
        path, Columns(("prompt", "domain"), lists=("chosen", "rejected"), keys=("id",))
    )
    items = _items(path, table, "rm-bench", table["domain"])
    styles = len(RM_BENCH_STYLES)
    complete = (table["chosen"].map(len) == styles) & (table["rejected"].map(len) == styles)
    _require(path, items, complete, f"needs {styles} chosen and {styles} rejected answers")
    return items


READERS: dict[DataSet, Callable[[Path], pd.DataFrame]] = {
    "reward_bench": read_reward_bench,
    "reward_bench_2": read_reward_bench_2,
    "rm_bench": read_rm_bench,
}


def cap_items(items: pd.DataFrame, cap: int | None) -> pd.DataFrame:
    """A sample of at most `cap` items of each subset, in the old order; of Ties, ref:k and tied:k stay together."""
    if cap is None:
        return items
    kept = []
    for _, subset in items.groupby(["dataset", "subset"], sort=False):
        unit = subset["item_id"].str.replace(r"^ties/(ref|tied):", "", regex=True)
        units = unit.drop_duplicates()
        sampled = units.sample(
            min(len(units), cap * len(units) // len(subset)), random_state=CAP_SEED
        )
        kept.append(subset[unit.isin(sampled)])
    return items.loc[pd.concat(kept).index.sort_values()]


def _items(path: Path, table: pd.DataFrame, suite: Suite, subset: pd.Series) -> pd.DataFrame:
    """The columns of `grid.Paths.texts`; item_id is `<subset>/<the file's id>`."""
    names = subset.str.lower().str.replace(" ", "-")
    # RM-Bench's ids already begin with the domain.
    ids = [
        f"{name}/{str(key).removeprefix(name + '/')}"
        for name, key in zip(names, table["id"], strict=True)
    ]
    answers = table["chosen"] + table["rejected"]
    n_chosen = table["chosen"].map(len)
    items = pd.DataFrame(
        {
            "dataset": suite,
            "subset": names,
            "item_id": ids,
            "prompt": table["prompt"],
            "answers": answers,
        }
    ).assign(n_chosen=n_chosen)
    _require(
        path,
        items,
        pd.Series([(suite, name) in KNOWN for name in names]),
        "is of an unknown subset",
    )
    _require(path, items, ~items["item_id"].duplicated(), "occurs twice")
    return items


def _require(path: Path, items: pd.DataFrame, good: pd.Series, what: str) -> None:
    if not good.all():
        row = good.to_list().index(False)
        raise damaged(path, f"row {row}: item {items['item_id'].iloc[row]} {what}")
