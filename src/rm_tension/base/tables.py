"""The tables that a stage hands on to the next, checked as they are read: parquet, CSV and JSON lines."""

from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
from pandas.api.types import (
    is_bool_dtype,
    is_float_dtype,
    is_integer_dtype,
    is_numeric_dtype,
    is_string_dtype,
)

from rm_tension.base.errors import UserError

TEXTS = ("dataset", "subset", "item_id", "prompt", "answers", "n_chosen")  # of `grid.Paths.texts`
TOKENS = ("dataset", "subset", "item_id", "answers")  # of `grid.Paths.tokens`
TRAINING = (*TOKENS, "too_long")  # of those of the training pairs


def read_table(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    """All columns of the file; raises UserError if it cannot be read, or one of `columns` is not what its name says.

    A table with a prompt has texts as answers, another one token ids; every item has at least one. Of a CSV file every
    column is checked, and what is in neither NAMES nor WHOLE holds numbers, none of them infinite.
    """
    try:
        table = READERS[path.suffix](path)
    except FileNotFoundError:
        raise UserError(
            f"{path}: not found; run the stage that makes it, or {_checkout(path)}"
        ) from None
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise damaged(path, f"cannot be read ({error})") from error
    for name in columns:
        if name not in table:
            raise damaged(path, f"no column {name}; its columns are {', '.join(map(str, table))}")
    if path.suffix == ".csv":
        columns = () if table.empty else table.columns
    for name in columns:
        kind = "texts" if name == "answers" and "prompt" in table else name
        if not CHECKS.get(kind, _numbers)(table[name]):
            raise damaged(path, f"column {name} holds something else than it should")
    return table


def damaged(path: Path, what: str) -> UserError:
    """To be raised: the file, what is wrong with it, the remedy."""
    return UserError(f"{path}: {what}; {_checkout(path)}, or run the stage that makes it again")


def _checkout(path: Path) -> str:
    """What brings a file back; what no stage made is in git."""
    return f"`{'git' if path.parent.name == 'reference' else 'dvc'} checkout {path}`"


def _csv(path: Path) -> pd.DataFrame:
    """Pandas itself takes the columns that a last line lacks for missing values."""
    raw = path.read_bytes()
    if raw and not raw.endswith(b"\n"):
        raise ValueError("its last line is cut off")
    return pd.read_csv(BytesIO(raw))


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".parquet": pd.read_parquet,
    ".csv": _csv,
    ".jsonl": lambda path: pd.read_json(path, lines=True),
}


def _text(column: pd.Series) -> bool:
    if not is_string_dtype(column) or column.isna().any():
        return False
    try:
        pyarrow.Array.from_pandas(column).validate(full=True)
    except pyarrow.ArrowException:  # not UTF-8, which no reader looks at before it needs the text
        return False
    return True


def _answers(column: pd.Series, is_one: Callable[[Any], bool]) -> bool:
    return all(
        isinstance(item, np.ndarray) and len(item) and all(map(is_one, item)) for item in column
    )


def _are_texts(column: pd.Series) -> bool:
    return _answers(column, lambda answer: isinstance(answer, str))


def _are_tokens(column: pd.Series) -> bool:
    return _answers(
        column, lambda ids: isinstance(ids, np.ndarray) and bool(len(ids)) and ids.dtype.kind == "i"
    )


def _numbers(column: pd.Series) -> bool:
    return is_numeric_dtype(column) and not np.isinf(column.astype(float)).any()


NAMES = (
    *(
        "dataset",
        "subset",
        "item_id",
        "prompt",
        "objective",
        "kind",
        "backbone",
        "task",
        "group",
        "measure",
        "variant",
    ),
    *(
        "suite",
        "part",
        "metric",
        "score",
        "third",
        "curve",
        "panel",
        "pair",
        "objective_a",
        "objective_b",
    ),
    *("ablated_set", "column", "id", "verdict"),
)
WHOLE = ("n_chosen", "percent", "answer_index", "figure")
CHECKS: dict[str, Callable[[pd.Series], bool]] = {
    **dict.fromkeys(NAMES, _text),
    **dict.fromkeys(WHOLE, is_integer_dtype),
    "percents": lambda column: True,  # numbers, or text where one is several
    "table": lambda column: True,  # the same
    "reward": is_float_dtype,
    "texts": _are_texts,
    "answers": _are_tokens,
    "too_long": is_bool_dtype,
}
