"""Raw files as tables, with errors that name the file, the row and the remedy."""

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet

from rm_tension.base.errors import UserError


@dataclass(frozen=True)
class Columns:
    """What every row must hold: `texts` are not blank, `lists` hold one or more such texts, `keys` are not null."""

    texts: tuple[str, ...]
    lists: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.keys, *self.texts, *self.lists)


def damaged(path: Path, what: str) -> UserError:
    """The error for a file whose content no setting admits."""
    return UserError(f"{path}: {what}; delete the file from the hub cache and download it again")


def read_table(path: Path, columns: Columns) -> pd.DataFrame:
    """The `columns` of a .parquet, .json (one array) or .jsonl.gz file in file order, rows numbered from 0.

    Raises UserError for a file that cannot be read and for the first row that lacks what `columns` asks for.
    """
    rows = _parquet_rows(path) if path.suffix == ".parquet" else list(_json_rows(path))
    _check_rows(path, rows, columns)
    return pd.DataFrame(rows, columns=list(columns.all))


def _parquet_rows(path: Path) -> list[Any]:
    try:
        rows: list[Any] = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise damaged(path, f"not readable as parquet ({error})") from error
    return rows


def _json_rows(path: Path) -> Iterator[Any]:
    number = 0
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as lines:
                for line in lines:
                    yield json.loads(line.decode())
                    number += 1
        else:
            yield from json.loads(path.read_bytes().decode())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise damaged(path, f"broken gzip data near row {number} ({error})") from error
    except UnicodeDecodeError as error:
        raise damaged(path, f"row {number}: not UTF-8 ({error})") from error
    except (
        ValueError,
        RecursionError,
        TypeError,
    ) as error:  # a number too long, too deep, or no array at all
        raise damaged(path, f"row {number}: not valid JSON ({error})") from error


def _check_rows(path: Path, rows: Iterable[Any], columns: Columns) -> None:
    number = -1
    for number, row in enumerate(rows):
        fault = _fault(row, columns)
        if fault:
            raise damaged(path, f"row {number}: {fault}")
    if number < 0:
        raise damaged(path, "no rows")


def _fault(row: Any, columns: Columns) -> str | None:
    if not isinstance(row, dict):
        return "not an object with named fields"
    for column in columns.all:
        if column not in row:
            return f"no column {column!r} (found {', '.join(row)})"
        value = row[column]
        if column in columns.texts and not _is_text(value):
            return f"{column!r} is empty or not text"
        if column in columns.lists and not (
            isinstance(value, list) and value and all(map(_is_text, value))
        ):
            return f"{column!r} is not a list of texts, or one of them is empty"
        if value is None:
            return f"{column!r} is null"
    return None


def _is_text(value: Any) -> bool:
    """Half a surrogate pair, which JSON may hold, is no letter, and no file takes it."""
    return (
        isinstance(value, str) and bool(value.strip()) and not re.search("[\ud800-\udfff]", value)
    )
