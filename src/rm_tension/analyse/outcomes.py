"""From rewards to right and wrong: every answer finds its item, every item its outcome (METHOD.md section 2)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_tension.base.config import HH, Grid, TestFiles
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Paths, Split
from rm_tension.base.tables import TEXTS, read_table
from rm_tension.evaluate.conditions import COLUMNS
from rm_tension.paper.tasks import RM_BENCH_STYLES

CONDITION = ["objective", "kind", "percent"]
KEY = ["dataset", "item_id", "answer_index"]
STYLES = len(RM_BENCH_STYLES)
SCORED: tuple[Split, ...] = ("benchmarks", "test")


def read_layout(paths: Paths, grid: Grid) -> pd.DataFrame:
    """`answer_layout` of all texts that are scored; UserError names the file and an item that cannot be judged."""
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
    """`score` of a trio's file; a UserError names it."""
    rewards = read_table(path, COLUMNS)
    with _named(path):
        return score(rewards, layout, test_files)


def answer_layout(
    texts: pd.DataFrame, ablates: Callable[[str, str], bool] = lambda suite, subset: True
) -> pd.DataFrame:
    """One row per answer that a reward model scores.

    Columns dataset, subset, item_id, answer_index, chosen (bool), item (int), ablated (bool: as `ablates` says of the
    subset, scored under ablations, too). `texts` has the columns of `grid.Paths.texts`. `item` numbers what is right or
    wrong as a whole: a prompt with all its answers, except in RM-Bench, where the chosen and the rejected answer of one
    style are an item of their own.
    """
    counts = texts["answers"].map(len).to_numpy(dtype=np.int64)
    row = np.repeat(np.arange(len(texts)), counts)
    index = np.arange(len(row)) - np.repeat(counts.cumsum() - counts, counts)
    answers = texts[["dataset", "subset", "item_id"]].iloc[row].reset_index(drop=True)
    style = np.where(answers["dataset"] == "rm-bench", index % STYLES, 0)
    chosen = index < texts["n_chosen"].to_numpy()[row]
    parts = answers.drop_duplicates(["dataset", "subset"]).set_index(["dataset", "subset"]).index
    ablated = pd.MultiIndex.from_frame(answers[["dataset", "subset"]]).isin(
        [one for one in parts if ablates(*one)]
    )
    return answers.assign(
        answer_index=index, chosen=chosen, item=row * STYLES + style, ablated=ablated
    )


def prompts(layout: pd.DataFrame) -> dict[tuple[str, str], NDArray[np.int64]]:
    """The prompts of each (dataset, subset) of `answer_layout`, as numbers: their items' without the style."""
    prompt = layout["item"] // STYLES
    parts = prompt.groupby([layout["dataset"], layout["subset"]], sort=False)
    return {(str(dataset), str(subset)): part.unique() for (dataset, subset), part in parts}


def score(rewards: pd.DataFrame, layout: pd.DataFrame, test_files: TestFiles) -> pd.DataFrame:
    """The rewards with `subset`, `chosen` and `item` of each answer.

    `test_files` are the subsets of HH-RLHF that each objective is tested on. Raises UserError if a column is missing, a
    reward is not finite, an answer is unknown to `layout` or scored twice under a condition, or a data set lacks
    answers.
    """
    if missing := [column for column in COLUMNS if column not in rewards]:
        raise UserError(
            f"no column {', '.join(missing)}; its columns are {', '.join(map(str, rewards))}"
        )
    rewards = rewards[COLUMNS]
    _refuse(rewards[~rewards["objective"].isin(list(test_files))], "objective is none of the grid")
    _refuse(rewards[~np.isfinite(rewards["reward"])], "reward is not finite")
    slot = pd.MultiIndex.from_frame(layout[KEY]).get_indexer(pd.MultiIndex.from_frame(rewards[KEY]))
    _refuse(rewards[slot < 0], "answer is in neither benchmarks.parquet nor test.parquet")

    categories = {
        name: rewards[name].astype("category") for name in ("objective", "kind", "dataset")
    }
    found = {name: layout[name].to_numpy()[slot] for name in ("subset", "chosen", "item")}
    scored = rewards.assign(**categories, **found, slot=slot)
    parts = scored.groupby([*CONDITION, "dataset"], observed=True)
    counts = parts.agg(rewards=("slot", "size"), answers=("slot", "nunique")).reset_index()
    expected = {
        (objective, whole): own[own["ablated"] | whole]["dataset"].value_counts()
        for objective, files in test_files.items()
        for own in [layout[(layout["dataset"] != HH) | layout["subset"].isin(files)]]
        for whole in (False, True)
    }
    counts["expected"] = [
        expected[objective, kind == "none"].get(dataset, 0)
        for objective, kind, dataset in counts[["objective", "kind", "dataset"]].itertuples(
            index=False
        )
    ]
    wrong = counts[
        (counts["rewards"] != counts["expected"]) | (counts["answers"] != counts["expected"])
    ]
    _refuse(wrong, "rewards are not one for each expected answer", "parts")
    return scored.drop(columns="slot")


def outcomes(scored: pd.DataFrame) -> pd.DataFrame:
    """One row per objective, kind, percent and item: dataset, subset, correct and tie (bool).

    Correct: the lowest reward of the chosen answers is strictly above the highest of the rejected ones, in float32.
    A tie of those two counts as wrong.
    """
    keys = [*CONDITION, "item"]
    chosen = scored[scored["chosen"]].groupby(keys, observed=True)
    lowest = chosen.agg(
        dataset=("dataset", "first"), subset=("subset", "first"), chosen=("reward", "min")
    )
    highest = (
        scored[~scored["chosen"]].groupby(keys, observed=True)["reward"].max().rename("rejected")
    )
    items = lowest.join(highest)
    items = items.assign(
        correct=items["chosen"] > items["rejected"], tie=items["chosen"] == items["rejected"]
    )
    return items.drop(columns=["chosen", "rejected"]).reset_index()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say of which file an error is."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _refuse(rows: pd.DataFrame, why: str, noun: str = "rows") -> None:
    if len(rows):
        first = ", ".join(f"{name} {value}" for name, value in rows.iloc[0].items())
        raise UserError(f"{len(rows)} {noun} whose {why}; the first: {first}")
