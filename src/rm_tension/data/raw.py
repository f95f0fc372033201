"""Rows of the raw files, with errors that name the file, the row and the remedy."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pyarrow.parquet
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from rm_tension.base.errors import UserError


def _not_blank(text: str) -> str:
    text.encode()  # JSON may hold half a surrogate pair, which no file takes: a ValueError
    if not text.strip():
        raise ValueError("empty")
    return text


Text = Annotated[str, AfterValidator(_not_blank)]
Texts = Annotated[list[Text], Field(min_length=1)]


def damaged(path: Path, what: str) -> UserError:
    """Return the error for a file whose content no setting admits."""
    return UserError(f"{path}: {what}; delete the file from the hub cache and download it again")


def read_rows(path: Path, kind: type[BaseModel]) -> pd.DataFrame:
    """Return the fields of `kind` of the rows of a .parquet, .json or .jsonl.gz file.

    JSON is one array. The rows stand in file order, numbered from 0. Raise UserError for a file
    that cannot be read and for the first row that is not a `kind`.
    """
    rows: list[dict[str, Any]] = []
    try:
        for value in _values(path):
            # no `extend`: errors count the rows before them
            rows.append(vars(kind.model_validate(value, strict=True)))  # noqa: PERF401
    except ValidationError as error:
        first = error.errors()[0]
        field = "".join(f"{part}: " for part in first["loc"][:1])
        message = first["msg"].removeprefix("Value error, ")
        raise damaged(path, f"row {len(rows)}: {field}{message}") from error
    except (pyarrow.ArrowException, EOFError, OSError, zlib.error) as error:
        raise damaged(path, f"cannot be read beyond {len(rows)} rows ({error})") from error
    except (RecursionError, TypeError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise damaged(path, f"row {len(rows)}: not valid JSON ({error})") from error
    if not rows:
        raise damaged(path, "no rows")
    return pd.DataFrame(rows)


def _values(path: Path) -> Iterator[Any]:
    if path.suffix == ".parquet":
        yield from pyarrow.parquet.read_table(path).to_pylist()
    elif path.suffix == ".gz":
        with gzip.open(path) as lines:
            for line in lines:
                yield json.loads(line.decode())
    else:
        yield from json.loads(path.read_bytes().decode())
