"""Files that appear whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write a file or folder to; rename it into place only if the block succeeds.

    It replaces a file by a file and a folder by a folder, and is on the disk before it does, so that a loss of power
    leaves no empty file. Raises IsADirectoryError or NotADirectoryError, and removes nothing, if `path` is the other.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    _remove(partial)  # what a killed run left
    try:
        yield partial
        for file in [partial, *partial.rglob("*")]:
            _flush(file)
        if path.is_dir() and partial.is_dir():
            shutil.rmtree(path)
        partial.replace(path)
        _flush(path.parent)
    finally:
        _remove(partial)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON that a person can read and git can compare."""
    with whole(path) as partial:
        partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
