"""Atomic file writes and JSON."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from rm_tension.base.errors import UserError

T = TypeVar("T")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write a file or folder to; rename it into place at the end.

    If the block raises, `path` stays as it was. The content is on disk before it is renamed, so
    that a loss of power leaves no empty file. A link, such as DVC makes into its cache, is
    replaced, and what it leads to stays. Files get the modes of the umask, whatever a library gave
    them. Raise IsADirectoryError or NotADirectoryError, and remove nothing, if a file would replace
    a folder or a folder a file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    _remove(partial)  # what a killed run left
    try:
        yield partial
        umask = _umask()
        for file in [partial, *partial.rglob("*")]:
            if not _is_link(file):  # whose mode is that of what it leads to
                file.chmod((0o777 if file.is_dir() else 0o666) & ~umask)
                _flush(file)
        if partial.is_dir() and (path.is_dir() or path.is_symlink()):
            _remove(path)
        partial.replace(path)
        _flush(path.parent)
    finally:
        _remove(partial)


def unlink_from_cache(path: Path) -> None:
    """Replace a link by a copy, for those who write to a file in place; other files stay."""
    if path.exists() and _is_link(path):
        with whole(path) as partial:
            shutil.copyfile(path, partial)


def _is_link(path: Path) -> bool:
    return path.is_symlink() or (path.is_file() and path.stat().st_nlink > 1)


def _umask() -> int:
    mask = os.umask(0)  # there is no way to look at it without setting it
    os.umask(mask)
    return mask


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON that a person can read and git can compare."""
    with whole(path) as partial:
        partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path, kind: type[T]) -> T:
    """Return a file of a stage as the type, such as a dataclass.

    Raise UserError if the file is something else.
    """
    remedy = f"`dvc checkout {path}`, or run the stage that makes it"
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: not found; {remedy}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error}); {remedy} again") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "all of it"
        message = f"{path}: not what it should be: {key}: {first['msg']}; {remedy} again"
        raise UserError(message) from None
