"""dvc.lock, which says what each stage read and wrote, and the md5s by which it does."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from rm_tension.base.config import SUBSET


class _Entry(BaseModel):
    path: str
    md5: str | None = None


class _Stage(BaseModel):
    deps: list[_Entry] = []
    outs: list[_Entry] = []
    params: dict[str, dict[str, Any]] = {}


def stages_of(text: str) -> dict[str, Any]:
    """Return the stages of a dvc.lock by name; raise ValueError if the text is cut off."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # 0.2 s instead of 2 s for 200 stages
    try:
        stages: dict[str, Any] = (yaml.load(text, loader) or {}).get("stages", {})  # noqa: S506
        TypeAdapter(dict[str, _Stage]).validate_python(stages, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(
            f"not a lock file of DVC: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from None
    # the last four: YAML, but other than DVC writes it
    except (yaml.YAMLError, AttributeError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"not a lock file of DVC: {error}") from None
    return stages


def first_of(cell: str, names: Iterable[str]) -> str | None:
    """Return the name that a cell such as mini-gpt2-small-0 begins with, the longest of several."""
    return max((name for name in names if f"{cell}-".startswith(f"{name}-")), key=len, default=None)


def kind_of(stage: str) -> str:
    """Return `train` of train@mini-gpt2-small-helpful-0, and of train-subset@evening-..."""
    return stage.partition("@")[0].removesuffix(SUBSET)


def file_md5(path: Path) -> str:
    """Return the md5 of a file, as dvc.lock records it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
