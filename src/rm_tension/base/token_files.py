"""The files that the tokens stage writes and the model stages read."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from rm_tension.base.errors import UserError


class TokenFiles:
    """The files of one tokenizer below tokens/<profile>/."""

    def __init__(self, folder: Path, tokenizer: str) -> None:
        self.folder = folder / tokenizer
        self.tokenizer = self.folder / "tokenizer"
        self.benchmarks = self.folder / "benchmarks.parquet"

    def preferences(self, split: str) -> Path:
        return self.folder / f"{split}.parquet"

    def pairs(self, split: str, sources: Iterable[str]) -> pd.DataFrame:
        """Pairs of some sources: pair_id, source, chosen, rejected; raises UserError if there are none."""
        wanted = tuple(sources)
        table = pd.read_parquet(self.preferences(split))
        table = table[table["source"].isin(wanted)].reset_index(drop=True)
        if table.empty:
            raise UserError(f"{self.preferences(split)}: no pairs of {', '.join(wanted)}")
        return table
