"""Atomic file writes and JSON."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from rm_tension.base.errors import UserError

T = TypeVar("T")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write a file or folder to; rename it into place at the end.

    If the block raises, `path` stays as it was; a loss of power leaves no empty file. A user's own
    link is followed, a link into DVC's cache is replaced. New files get the modes of the umask; a
    file that is replaced keeps its mode and, for root, its owner. Raise IsADirectoryError or
    NotADirectoryError, and remove nothing, for a file in the place of a folder or the reverse.
    """
    path = _destination(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    _remove(partial)  # what a killed run left
    try:
        yield partial
        umask = _umask()
        for file in [partial, *partial.rglob("*")]:
            # the loader's DVC may put links into its cache there, which have their target's mode
            if not (file.is_symlink() or _is_linked_to_cache(file)):
                file.chmod((0o777 if file.is_dir() else 0o666) & ~umask)
                _flush(file)
        if path.is_file() and partial.is_file() and not _is_linked_to_cache(path):
            old = path.stat()
            partial.chmod(old.st_mode)
            if os.geteuid() == 0:
                os.chown(partial, old.st_uid, old.st_gid)
        if path.is_dir() and partial.is_dir():
            shutil.rmtree(path)
        partial.replace(path)
        _flush(path.parent)
    finally:
        _remove(partial)


def refuse_unwritable(path: Path) -> None:
    """Raise UserError if a path, or the nearest folder above it that exists, may not be written."""
    nearest = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not os.access(nearest, os.W_OK):
        raise UserError(f"{path}: {nearest} may not be written to")


def _is_linked_to_cache(path: Path) -> bool:
    """Return whether DVC made `path` a link to a file of its cache, wherever that lies.

    A symbolic link is known by the name of its target, which may be gone, a hard link by the mode
    that DVC gives it.
    """
    if path.is_symlink():
        return _is_named_by_md5(path.parent / path.readlink())
    return path.is_file() and path.stat().st_nlink > 1 and not path.stat().st_mode & 0o222


def _destination(path: Path) -> Path:
    """Follow links, but not into DVC's cache: the last link before it is the destination then."""
    if not _is_named_by_md5(path.resolve()):
        return path.resolve()
    while path.is_symlink() and not _is_linked_to_cache(path):
        path = path.parent / path.readlink()
    return path.parent.resolve() / path.name


def _is_named_by_md5(path: Path) -> bool:
    """Return whether a path ends as in DVC's cache: two digits of the md5, /, the other thirty."""
    name = f"{path.parent.resolve().name}/{path.name}"
    return re.fullmatch("[0-9a-f]{2}/[0-9a-f]{30}", name) is not None


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
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON that a person can read and git can compare."""
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path, kind: type[T]) -> T:
    """Return a file of a stage as the type; raise UserError if it is something else."""
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
