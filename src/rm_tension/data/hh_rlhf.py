"""Preference pairs of HH-RLHF (METHOD.md section 1)."""

from pathlib import Path

import pandas as pd

from rm_tension.data.raw import Columns, read_table
from rm_tension.paper.objectives import TRAIN_SOURCES

CAP_SEED = 0  # of the samples that `max_train_pairs`, `max_test_pairs` and `max_items_per_task` keep


def read_pairs(path: Path, source: str, split: str) -> pd.DataFrame:
    """Columns pair_id, source, chosen, rejected; the id ends in the row's number in the file, from 0."""
    table = read_table(path, Columns(texts=("chosen", "rejected")))
    table.insert(0, "pair_id", [f"{source}/{split}/{row}" for row in table.index])
    table.insert(1, "source", source)
    return table


def differing(pairs: pd.DataFrame) -> pd.DataFrame:
    """Without the pairs whose two sides are the same text: they hold no preference."""
    return pairs[pairs["chosen"] != pairs["rejected"]]


def cap_pairs(pairs: pd.DataFrame, split: str, cap: int | None) -> pd.DataFrame:
    """A sample in the old order: `cap` pairs each of the helpful and harmless pool (train) or of each source (test)."""
    if cap is None:
        return pairs
    single = (TRAIN_SOURCES["helpful"], TRAIN_SOURCES["harmless"])
    pools = single if split == "train" else [(source,) for source in TRAIN_SOURCES["mixed"]]
    members = [pairs[pairs["source"].isin(pool)] for pool in pools]
    kept = [pool.sample(min(cap, len(pool)), random_state=CAP_SEED) for pool in members]
    return pairs.loc[pd.concat(kept).index.sort_values()]
