"""Text sets of a dissection: pairs of JSON lines, here or on the hub."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from rm_tension.base.config import HubRepo
from rm_tension.base.errors import UserError
from rm_tension.base.hub import data_file
from rm_tension.base.tables import TEXTS, read_table
from rm_tension.paper.tasks import TASK_OF
from rm_tension.score.command import read
from rm_tension.score.items import Item

DATASETS = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)@([^/\s]+)/(\S+)")
NAME = re.compile(r"[A-Za-z0-9_-]+")


def read_text_sets(named: Sequence[str], most: int | None) -> dict[str, list[Item]]:
    """Return pairs by the name of their set, from NAME=FILE or NAME=hf://datasets/ORG/NAME@REV/FILE.

    With `most`, the first so many of each. Raise UserError for what are no pairs.
    """
    sets: dict[str, list[Item]] = {}
    for one in named:
        name, _, source = one.partition("=")
        if not NAME.fullmatch(name) or not source or name in sets:
            raise UserError(f"--texts {one}: must be NAME=FILE, with another name for each file")
        path = source
        if source.startswith("hf://"):
            if not (match := DATASETS.fullmatch(source)):
                raise UserError(f"--texts {one}: not hf://datasets/ORG/NAME@REV/FILE")
            repo, revision, file = match.groups()
            path = str(data_file(HubRepo(repo=repo, revision=revision), file))
        sets[name] = [item for _, item in read(path)][:most]
    return sets


def read_tasks(path: Path) -> pd.DataFrame:
    """Return the data stage's benchmark items; raise UserError if none is of a task."""
    table = read_table(path, TEXTS).reset_index(drop=True)
    if TASK_OF.keys().isdisjoint(zip(table["dataset"], table["subset"], strict=True)):
        raise UserError(
            f"--tasks {path}: no item of the paper's tasks in it; `dvc repro data@paper` makes "
            "data/paper/benchmarks.parquet"
        )
    return table


def as_table(name: str, items: Sequence[Item]) -> pd.DataFrame:
    """Return pairs with the columns of `grid.Paths.texts`."""
    table = pd.DataFrame(items).assign(dataset=name, subset="", n_chosen=1)
    return table.assign(item_id=[str(number) for number in range(len(items))])


def as_items(table: pd.DataFrame) -> list[Item]:
    """Return the items of a table with the columns of `grid.Paths.texts`."""
    return [Item(*row) for row in zip(table["prompt"], map(list, table["answers"]), strict=True)]
