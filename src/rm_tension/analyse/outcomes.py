"""From rewards to right and wrong items (METHOD.md section 2)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rm_tension.base.config import Grid, TestFiles
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Paths, Split
from rm_tension.base.tables import TEXTS, read_table
from rm_tension.evaluate.conditions import COLUMNS, NONE
from rm_tension.paper.tasks import BENCHMARKS, RM_BENCH_STYLES

CONDITION = ["objective", "kind", "percent"]
KEY = ["dataset", "item_id", "answer_index"]
STYLES = len(RM_BENCH_STYLES)
SCORED: tuple[Split, ...] = ("benchmarks", "test")


def read_layout(paths: Paths, grid: Grid) -> pd.DataFrame:
    """Return `answer_layout` of all texts that are scored.

    Raises UserError that names the file and an item that cannot be judged.
    """
    tables = {split: read_table(paths.texts(split), TEXTS) for split in SCORED}
    for split, table in tables.items():
        with _named(paths.texts(split)):
            items = table[["dataset", "item_id", "n_chosen"]]
            _refuse(items[items.duplicated(["dataset", "item_id"])], "item occurs before")
            _refuse(
                items[~items["n_chosen"].between(1, table["answers"].map(len) - 1)],
                "answers are not on two sides",
            )
    return answer_layout(pd.concat(tables.values(), ignore_index=True), grid.ablates)


def read_scored(path: Path, layout: pd.DataFrame, test_files: TestFiles) -> pd.DataFrame:
    """Return `score` of a trio's file; a UserError names it."""
    rewards = read_table(path, COLUMNS)
    with _named(path):
        return score(rewards, layout, test_files)


def answer_layout(
    texts: pd.DataFrame, ablates: Callable[[str, str], bool] = lambda suite, subset: True
) -> pd.DataFrame:
    """Return one row per answer that a reward model scores.

    Columns dataset, subset, item_id, answer_index, chosen (bool), item (int), ablated (bool: as
    `ablates` says of the subset, scored under ablations, too). `texts` has the columns of
    `grid.Paths.texts`. `item` numbers what is right or wrong together: a prompt with all its
    answers, except in RM-Bench, where the chosen and the rejected answer of one style are an item
    of their own. `item // STYLES` is the prompt's row in `texts`.
    """
    counts = texts["answers"].map(len).to_numpy(dtype=np.int64)
    row = np.repeat(np.arange(len(texts)), counts)
    index = np.arange(len(row)) - np.repeat(counts.cumsum() - counts, counts)
    answers = texts[["dataset", "subset", "item_id"]].iloc[row].reset_index(drop=True)
    style = np.where(answers["dataset"] == "rm-bench", index % STYLES, 0)
    chosen = index < texts["n_chosen"].to_numpy()[row]
    parts = answers.drop_duplicates(["dataset", "subset"]).set_index(["dataset", "subset"]).index
    ablated = pd.MultiIndex.from_frame(answers[["dataset", "subset"]]).isin(
        [part for part in parts if ablates(*part)]
    )
    return answers.assign(
        answer_index=index, chosen=chosen, item=row * STYLES + style, ablated=ablated
    )


def score(rewards: pd.DataFrame, layout: pd.DataFrame, test_files: TestFiles) -> pd.DataFrame:
    """Return the rewards with `subset`, `chosen` and `item` of each answer.

    `test_files` are the files of pairs that each objective is tested on. Raises UserError if a
    reward is not finite, an answer is unknown to `layout` or scored twice under a condition, or a
    data set lacks answers.
    """
    rewards = rewards[COLUMNS]
    _refuse(rewards[~rewards["objective"].isin(list(test_files))], "objective is none of the grid")
    _refuse(rewards[~np.isfinite(rewards["reward"])], "reward is not finite")
    slot = pd.MultiIndex.from_frame(layout[KEY]).get_indexer(pd.MultiIndex.from_frame(rewards[KEY]))
    _refuse(rewards[slot < 0], "answer is in neither benchmarks.parquet nor test.parquet")

    names = ("objective", "kind", "dataset")
    columns: dict[str, Any] = {name: rewards[name].astype("category") for name in names}
    columns |= {name: layout[name].to_numpy()[slot] for name in ("subset", "chosen", "item")}
    scored = rewards.assign(**columns, slot=slot)
    parts = scored.groupby([*CONDITION, "dataset"], observed=True)
    counts = parts.agg(rewards=("slot", "size"), answers=("slot", "nunique")).reset_index()
    counts["expected"] = _expected(counts, layout, test_files)
    complete = (counts["rewards"] == counts["expected"]) & (counts["answers"] == counts["expected"])
    _refuse(counts[~complete], "rewards are not one for each expected answer", "parts")
    return scored.drop(columns="slot")


def _expected(counts: pd.DataFrame, layout: pd.DataFrame, test_files: TestFiles) -> list[int]:
    """Return how many answers each objective, kind and dataset of `counts` should have."""
    expected = {}
    for objective, files in test_files.items():
        own = layout[layout["dataset"].isin(BENCHMARKS) | layout["subset"].isin(files)]
        expected[objective, True] = own["dataset"].value_counts()
        expected[objective, False] = own[own["ablated"]]["dataset"].value_counts()
    keys = counts[["objective", "kind", "dataset"]].itertuples(index=False)
    return [
        expected[objective, kind == NONE.kind].get(dataset, 0) for objective, kind, dataset in keys
    ]


def outcomes(scored: pd.DataFrame) -> pd.DataFrame:
    """Return one row per objective, kind, percent and item: dataset, subset, correct, tie (bool).

    Correct: the lowest reward of the chosen answers is strictly above the highest of the rejected
    ones, in float32. A tie of those two counts as wrong.
    """
    keys = [*CONDITION, "item"]
    chosen = scored[scored["chosen"]].groupby(keys, observed=True)
    names = {name: (name, "first") for name in ("dataset", "subset")}
    items = chosen.agg(**names, lowest=("reward", "min"))
    rejected = scored[~scored["chosen"]].groupby(keys, observed=True)
    items = items.join(rejected.agg(highest=("reward", "max")))
    correct, tie = items["lowest"] > items["highest"], items["lowest"] == items["highest"]
    return items[["dataset", "subset"]].assign(correct=correct, tie=tie).reset_index()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the file's name before an error."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _refuse(rows: pd.DataFrame, why: str, noun: str = "rows") -> None:
    if len(rows):
        first = ", ".join(f"{name} {value}" for name, value in rows.iloc[0].items())
        raise UserError(f"{len(rows)} {noun} whose {why}; the first: {first}")
