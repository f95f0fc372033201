"""Tables that a stage hands on to the next: parquet, CSV and JSON lines."""

from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path

import pandas as pd
import pyarrow

from rm_tension.base.errors import UserError

TEXTS = ("dataset", "subset", "item_id", "prompt", "answers", "n_chosen")  # of `grid.Paths.texts`
TOKENS = ("dataset", "subset", "item_id", "answers")  # of `grid.Paths.tokens`
TRAINING = (*TOKENS, "too_long")  # of those of the training pairs


def read_table(path: Path, columns: Iterable[str] = ()) -> pd.DataFrame:
    """Return the table; raise UserError if it cannot be read or lacks one of `columns`.

    What the columns hold is not checked: DVC knows the md5 of what a stage has written.
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
    return table


def damaged(path: Path, what: str) -> UserError:
    """Return the error to raise: the file, what is wrong with it, the remedy."""
    return UserError(f"{path}: {what}; {_checkout(path)}, or run the stage that makes it again")


def _checkout(path: Path) -> str:
    """Return what brings a file back; what no stage made is in git."""
    return f"`{'git' if path.parent.name == 'reference' else 'dvc'} checkout {path}`"


def _csv(path: Path) -> pd.DataFrame:
    """Refuse a last line that is cut off, whose columns pandas takes for missing values."""
    raw = path.read_bytes()
    if raw and not raw.endswith(b"\n"):
        raise ValueError("its last line is cut off")
    return pd.read_csv(BytesIO(raw))


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".parquet": pd.read_parquet,
    ".csv": _csv,
    ".jsonl": lambda path: pd.read_json(path, lines=True),
}
