"""Preference pairs of HH-RLHF (METHOD.md section 1)."""

from pathlib import Path

import pandas as pd

from rm_tension.base.config import HH
from rm_tension.data.raw import Columns, read_table

CAP_SEED = (
    0  # of the samples that `max_train_pairs`, `max_test_pairs` and `max_items_per_task` keep
)


def read_pairs(path: Path, source: str, split: str) -> pd.DataFrame:
    """The columns of `grid.Paths.texts`; the id ends in the row's number in the file, from 0."""
    table = read_table(path, Columns(texts=("chosen", "rejected")))
    ids = [f"{source}/{split}/{row}" for row in table.index]
    answers = table[["chosen", "rejected"]].to_numpy().tolist()
    columns = {
        "dataset": HH,
        "subset": source,
        "item_id": ids,
        "prompt": "",
        "answers": answers,
        "n_chosen": 1,
    }
    return pd.DataFrame(columns)


def identical(pairs: pd.DataFrame) -> int:
    """Count the pairs whose two sides are the same text. They stay: in training their gradient is zero
    (METHOD.md section 1), in the test sets they count as wrong (section 2)."""
    return sum(chosen == rejected for chosen, rejected in pairs["answers"])


def cap_pairs(pairs: pd.DataFrame, cap: int | None) -> pd.DataFrame:
    """Draw at most `cap` pairs in all, in the old order: of each source as large a share as it has of `pairs`.

    Shares are rounded by the largest remainder, so that they add up to the cap.
    """
    if cap is None or cap >= len(pairs):
        return pairs
    sizes = pairs["subset"].value_counts(sort=False)
    shares, remainders = sizes * cap // len(pairs), sizes * cap % len(pairs)
    rounded_up = remainders.sort_values(ascending=False, kind="stable").index[: cap - shares.sum()]
    shares[rounded_up] += 1
    kept = [
        part.sample(shares[source], random_state=CAP_SEED)
        for source, part in pairs.groupby("subset", sort=False)
    ]
    return pairs.loc[pd.concat(kept).index.sort_values()]
