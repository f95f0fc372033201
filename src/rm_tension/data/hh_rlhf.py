"""Preference pairs of HH-RLHF (METHOD.md section 1)."""

from collections.abc import Collection, Iterable
from pathlib import Path

import pandas as pd

from rm_tension.base.config import HH
from rm_tension.data.raw import Columns, read_table

CAP_SEED = 0  # of the samples that `max_train_pairs`, `max_test_pairs` and `max_items_per_task` keep


def read_pairs(path: Path, source: str, split: str) -> pd.DataFrame:
    """The columns of `grid.Paths.texts`; the id ends in the row's number in the file, from 0."""
    table = read_table(path, Columns(texts=("chosen", "rejected")))
    ids = [f"{source}/{split}/{row}" for row in table.index]
    answers = table[["chosen", "rejected"]].to_numpy().tolist()
    columns = {"dataset": HH, "subset": source, "item_id": ids, "prompt": "", "answers": answers, "n_chosen": 1}
    return pd.DataFrame(columns)


def differing(pairs: pd.DataFrame) -> pd.DataFrame:
    """Without the pairs whose two sides are the same text: they hold no preference."""
    return pairs[pairs["answers"].map(lambda sides: sides[0] != sides[1])]


def cap_pairs(pairs: pd.DataFrame, pools: Iterable[Collection[str]], cap: int | None) -> pd.DataFrame:
    """A sample in the old order: at most `cap` pairs of each pool of sources."""
    if cap is None:
        return pairs
    members = [pairs[pairs["subset"].isin(pool)] for pool in pools]
    kept = [pool.sample(min(cap, len(pool)), random_state=CAP_SEED) for pool in members]
    return pairs.loc[pd.concat(kept).index.sort_values()]
