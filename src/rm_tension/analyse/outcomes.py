"""From rewards to right and wrong items (METHOD.md section 2)."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rm_tension.base.errors import UserError
from rm_tension.base.grid import Paths, Split
from rm_tension.base.tables import TEXTS, read_table
from rm_tension.evaluate.conditions import COLUMNS
from rm_tension.paper.tasks import RM_BENCH_STYLES

CONDITION = ["objective", "kind", "percent"]
KEY = ["dataset", "item_id", "answer_index"]
STYLES = len(RM_BENCH_STYLES)
SCORED: tuple[Split, ...] = ("benchmarks", "test")


def read_layout(paths: Paths) -> pd.DataFrame:
    """Return `answer_layout` of all texts that are scored."""
    tables = [read_table(paths.texts(split), TEXTS) for split in SCORED]
    return answer_layout(pd.concat(tables, ignore_index=True))


def answer_layout(texts: pd.DataFrame) -> pd.DataFrame:
    """Return one row per answer that a reward model scores.

    Columns dataset, subset, item_id, answer_index, chosen (bool), item (int). `texts` has the
    columns of `grid.Paths.texts`. `item` numbers what is right or wrong together: a prompt with all
    its answers, except in RM-Bench, where the chosen and the rejected answer of one style are an
    item of their own. `item // STYLES` is the prompt's row in `texts`.
    """
    counts = texts["answers"].map(len).to_numpy(dtype=np.int64)
    row = np.repeat(np.arange(len(texts)), counts)
    index = np.arange(len(row)) - np.repeat(counts.cumsum() - counts, counts)
    answers = texts[["dataset", "subset", "item_id"]].iloc[row].reset_index(drop=True)
    style = np.where(answers["dataset"] == "rm-bench", index % STYLES, 0)
    chosen = index < texts["n_chosen"].to_numpy()[row]
    return answers.assign(answer_index=index, chosen=chosen, item=row * STYLES + style)


def read_scored(path: Path, layout: pd.DataFrame) -> pd.DataFrame:
    """Return `score` of a trio's file."""
    return score(read_table(path, COLUMNS), layout)


def score(rewards: pd.DataFrame, layout: pd.DataFrame) -> pd.DataFrame:
    """Return the rewards with `subset`, `chosen` and `item` of each answer.

    Raise UserError if an answer is unknown to `layout`: the texts have changed since.
    """
    slot = pd.MultiIndex.from_frame(layout[KEY]).get_indexer(pd.MultiIndex.from_frame(rewards[KEY]))
    if (slot < 0).any():
        dataset, item, _ = rewards[slot < 0][KEY].iloc[0]
        raise UserError(
            f"{dataset}, item_id {item}: scored, but in neither benchmarks.parquet nor "
            "test.parquet; run `dvc repro` for the stage evaluate"
        )
    names = ("objective", "kind", "dataset")
    columns: dict[str, Any] = {name: rewards[name].astype("category") for name in names}
    columns |= {name: layout[name].to_numpy()[slot] for name in ("subset", "chosen", "item")}
    return rewards[COLUMNS].assign(**columns)


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
