"""docs/DATA.md lists every column of every table that a run leaves."""

import re
from pathlib import Path

import pandas as pd
import pyarrow.parquet
import pytest

from rm_tension.base.grid import Paths

TEXT = Path("docs/DATA.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in TEXT.splitlines()
    if line.startswith("| ")
]
LISTED = {row[0].strip("| `"): row[2].strip(" |").split(", ") for row in ROWS if len(row) == 3}
DEFINED = {name for row in ROWS if len(row) == 2 for name in row[0].strip("| ").split(", ")}
PATHS = Paths("mini")


def columns(path):
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_schema(path).names
    return pd.read_csv(path, nrows=0).columns.tolist()


@pytest.mark.pipeline
def test_the_dictionary_lists_the_columns_of_each_table_in_order():
    tables = [*PATHS.results.glob("*.csv"), *PATHS.results.glob("*.parquet")]
    assert {path.name for path in tables} == {
        name for name in LISTED if re.fullmatch(r"\w+\.\w+", name)
    }
    for path in tables:
        assert LISTED[path.name] == columns(path), path


@pytest.mark.pipeline
def test_the_dictionary_defines_every_column():
    tables = [*PATHS.results.rglob("*.csv"), *PATHS.results.glob("*.parquet")]
    tables += [*PATHS.data.glob("*.parquet"), *PATHS.all_tokens.rglob("*.parquet")]
    tables += Path("rewards/mini").glob("*.parquet")
    assert {name for path in tables for name in columns(path)} <= DEFINED
