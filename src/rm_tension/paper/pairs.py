"""The files of preference pairs, from pairs.csv: their official rows, and sha256 if known.

Sources are the names that objectives in params.yaml use, each of a train and a test file. HH-RLHF's
numbers are those of METHOD.md section 1; the rows of its train files add up to the 160,800 that the
hub shows for the whole split.
"""

from dataclasses import dataclass
from typing import Literal

from rm_tension.paper.tasks import read_rows

PairSplit = Literal["train", "test"]


@dataclass(frozen=True)
class PairFile:
    """A file of a data set."""

    dataset: str  # a key of `data.source.repositories` and of READERS in data/pairs.py
    source: str
    split: PairSplit
    file: str  # its path in the repository
    rows: int
    sha256: str | None


PAIR_FILES = tuple(
    PairFile(**row | {"rows": int(row["rows"]), "sha256": row["sha256"] or None})
    for row in read_rows("pairs.csv")
)
SOURCES = tuple(dict.fromkeys(file.source for file in PAIR_FILES))
PAIR_DATASETS = tuple(dict.fromkeys(file.dataset for file in PAIR_FILES))
