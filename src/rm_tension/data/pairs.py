"""Preference pairs of all data sets in one format."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from rm_tension.data.hh_rlhf import read_hh_rlhf

CAP_SEED = 0  # of the samples of `max_train_pairs`, `max_test_pairs` and `max_items_per_task`
# By data set of paper/pairs.csv. A reader returns columns chosen and rejected: whole dialogues, in
# the form "\n\nHuman: ...\n\nAssistant: ...", in the order of the file
READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "hh-rlhf": read_hh_rlhf,
}


def read_pairs(path: Path, dataset: str, source: str, split: str) -> pd.DataFrame:
    """Return the columns of `grid.Paths.texts`; the id ends in the row's number in the file."""
    rows = READERS[dataset](path)
    return pd.DataFrame(
        {
            "dataset": dataset,
            "subset": source,
            "item_id": [f"{source}/{split}/{row}" for row in rows.index],
            "prompt": "",
            "answers": rows[["chosen", "rejected"]].to_numpy().tolist(),
            "n_chosen": 1,
        }
    )


def identical(pairs: pd.DataFrame) -> int:
    """Count the pairs whose two sides are the same text.

    They stay: in training their gradient is zero (METHOD.md section 1), in the test sets they count
    as wrong (section 2).
    """
    return sum(chosen == rejected for chosen, rejected in pairs["answers"])


def cap_pairs(pairs: pd.DataFrame, cap: int | None) -> pd.DataFrame:
    """Draw at most `cap` pairs in all, in the old order: each source keeps its share of `pairs`.

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
