"""Preference pairs of HH-RLHF (METHOD.md section 1)."""

from pathlib import Path

import pandas as pd
from pydantic import BaseModel

from rm_tension.data.raw import Text, read_rows


class PairRow(BaseModel):
    """Two whole dialogues."""

    chosen: Text
    rejected: Text


def read_hh_rlhf(path: Path) -> pd.DataFrame:
    """Return columns chosen and rejected: whole dialogues, in the order of the file."""
    return read_rows(path, PairRow)
