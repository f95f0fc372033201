"""The tables that a stage hands on to the next as parquet files, checked as they are read."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
from pandas.api.types import is_float_dtype, is_integer_dtype, is_string_dtype

from rm_tension.base.errors import UserError

TEXTS = ("dataset", "subset", "item_id", "prompt", "answers", "n_chosen")  # of `grid.Paths.texts`
TOKENS = ("dataset", "subset", "item_id", "answers")  # of `grid.Paths.tokens`


def read_table(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    """All columns of the file; raises UserError if it cannot be read, or one of `columns` is not what its name says.

    A table with a prompt has texts as answers, another one token ids; every item has at least one.
    """
    try:
        table = pd.read_parquet(path)
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run the stage that makes it, or `dvc checkout {path}`") from None
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(path, f"cannot be read ({error})") from error
    for name in columns:
        if name not in table:
            raise _damaged(path, f"no column {name}; its columns are {', '.join(map(str, table))}")
        kind = "texts" if name == "answers" and "prompt" in table else name
        if not CHECKS[kind](table[name]):
            raise _damaged(path, f"column {name} holds something else than it should")
    return table


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"{path}: {what}; `dvc checkout {path}`, or run the stage that makes it again")


def _text(column: pd.Series) -> bool:
    if not is_string_dtype(column) or column.isna().any():
        return False
    try:
        pyarrow.Array.from_pandas(column).validate(full=True)
    except pyarrow.ArrowException:  # not UTF-8, which no reader looks at before it needs the text
        return False
    return True


def _answers(column: pd.Series, is_one: Callable[[Any], bool]) -> bool:
    return all(isinstance(item, np.ndarray) and len(item) and all(map(is_one, item)) for item in column)


def _are_texts(column: pd.Series) -> bool:
    return _answers(column, lambda answer: isinstance(answer, str))


def _are_tokens(column: pd.Series) -> bool:
    return _answers(column, lambda ids: isinstance(ids, np.ndarray) and bool(len(ids)) and ids.dtype.kind == "i")


CHECKS: dict[str, Callable[[pd.Series], bool]] = {
    **dict.fromkeys(("dataset", "subset", "item_id", "prompt", "objective", "kind"), _text),
    **dict.fromkeys(("n_chosen", "percent", "answer_index"), is_integer_dtype),
    "reward": is_float_dtype,
    "texts": _are_texts,
    "answers": _are_tokens,
}
