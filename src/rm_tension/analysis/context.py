"""What a report must say about where its numbers come from: results/<profile>/context.json."""

import json
from dataclasses import dataclass
from pathlib import Path

from rm_tension.errors import UserError


@dataclass(frozen=True)
class Context:
    """`comparable`: whether all of the real data went in, so that the numbers may be held against the paper's.

    `task_percent` is the share of neurons that the ablations on the tasks take; `missing_tasks` are those of which at
    least one subset has no items.
    """

    profile: str
    title: str
    comparable: bool
    task_percent: int
    stand_ins: bool
    trios: list[str]
    missing_trios: list[str]
    missing_tasks: list[str]
    git_commit: str


def load_context(folder: Path) -> Context:
    """Read context.json of results/<profile>/."""
    try:
        return Context(**json.loads((folder / "context.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"{folder}: no results; run `dvc repro analyse@{folder.name}` first") from None
