"""How many rows go through a model, and how long they are: counted in tokens/<P>, or by lengths.csv."""

import math
import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_tension.base.config import HH, Grid, HubFiles, MiniatureData, Profile, TrainedTokenizer
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Paths, Split
from rm_tension.data.sources import OFFICIAL, PairSplit, RawFile, miniature_files

FILE = Path(__file__).with_name("lengths.csv")
LEVELS = tuple(np.linspace(0, 1, 101).tolist())  # of counted lengths
SAMPLE = 4096  # items of a part whose lengths stand for all


@dataclass(frozen=True)
class Lengths:
    """Of an HH-RLHF file or a suite: so many rows with so many texts, and quantiles of the rows' tokens at `levels`.

    `shared` is the share of a row's tokens that is its texts' common prefix.
    """

    rows: int
    texts: int
    shared: float
    levels: tuple[float, ...]
    tokens: tuple[float, ...]

    def sample(self, size: int) -> NDArray[np.int64]:
        """Row lengths at `size` even steps of the distribution, ascending."""
        return (
            np.interp((np.arange(size) + 0.5) / size, self.levels, self.tokens)
            .round()
            .astype(np.int64)
        )

    @property
    def seen(self) -> float:
        """Pairs of tokens that see each other, as a share of the square of a row's tokens."""
        rest = 1 - self.shared
        return self.shared**2 / 2 + rest * self.shared + rest**2 / 2 * self.rows / self.texts


Lines = Mapping[tuple[str, str], Mapping[Hashable, Any]]  # of lengths.csv by data and part
# the training pairs with those that training drops, and the benchmarks that no ablated model scores
Pass = Split | Literal["statistics", "whole_only"]
Workload = Mapping[Pass, Mapping[str, Lengths]]  # by HH-RLHF source or suite


def workload(grid: Grid, name: str, profile: Profile, backbone: str) -> Workload:
    """Of a profile's data in a backbone's tokens: counted where the tokens stage was, else as published and measured.

    Raises UserError where neither is to be had.
    """
    paths = Paths(name)
    if paths.tokens(backbone, "benchmarks").exists():
        from rm_tension.evaluate.evaluation import (
            benchmarks,
        )  # seconds that most callers need not wait

        splits: tuple[Split, ...] = ("train", "test", "benchmarks")
        train, test, items = (pd.read_parquet(paths.tokens(backbone, split)) for split in splits)
        dropped = train.get(
            "too_long", pd.Series(False, index=train.index)
        )  # tokens of older code have no such pairs
        ablated, whole_only = benchmarks(items, grid)
        tables: dict[Pass, pd.DataFrame] = {
            "train": train[~dropped],
            "statistics": train,
            "test": test,
            "benchmarks": ablated,
            "whole_only": whole_only,
        }
        return {one: _counted(table) for one, table in tables.items()}
    measured = _measured(profile.tokens.tokenizers[profile.backbones[backbone].tokenizer])
    return {
        one: _expected(numbers, measured, one) for one, numbers in _numbers(grid, profile).items()
    }


def _counted(table: pd.DataFrame) -> dict[str, Lengths]:
    from rm_tension.model.rows import prefix_length, row_length  # as above

    found = {}
    for part, items in table.groupby(
        table["subset"].where(table["dataset"] == HH, table["dataset"])
    )["answers"]:
        sample = list(items.iloc[:: math.ceil(len(items) / SAMPLE)])
        lengths = [row_length(item) for item in sample]
        shared = sum(map(prefix_length, sample)) / sum(lengths)
        quantiles = tuple(np.quantile(lengths, LEVELS).tolist())
        found[str(part)] = Lengths(len(items), sum(map(len, items)), shared, LEVELS, quantiles)
    return found


def _measured(tokenizer: HubFiles | TrainedTokenizer) -> Lines:
    """The lines of lengths.csv for a tokenizer by data and part; the only one that was trained is the miniature's."""
    name = tokenizer.repo if isinstance(tokenizer, HubFiles) else "miniature"
    rows: list[dict[Hashable, Any]] = pd.read_csv(FILE, comment="#").to_dict("records")
    lines = {(row["data"], row["part"]): row for row in rows if row["tokenizer"] == name}
    if not lines:
        raise UserError(
            f"{FILE}: no lengths in tokens of {name}: run the profile's tokens stage, and they are counted"
        )
    return lines


def _expected(numbers: Mapping[str, float], measured: Lines, one: Pass) -> dict[str, Lengths]:
    """The lengths of so many pairs or items of each part.

    Of pairs that training drops no lengths were measured: where they are not dropped, they count as the longest row.
    """
    found = {}
    for part, number in numbers.items():
        pairs = one in ("train", "statistics", "test")
        data, answer, answers = (f"{HH}/{part}", "chosen", 2) if pairs else (part, "answer", 1)
        row, prefix = measured[data, "row"], measured[data, "prefix"]
        rows = number * (row["kept"] if one == "train" else 1)
        texts = answers * rows * measured[data, answer]["count"] / row["count"]
        known = row["kept"] if one in ("statistics", "test") else 1.0  # share of the rows
        quantiles = {
            known * int(key[1:]) / 100: float(row[key])
            for key in map(str, row)
            if re.fullmatch(r"p\d+", key)
        }
        quantiles[1.0] = max(quantiles.values())
        shared = prefix["mean"] / row["mean"]
        found[part] = Lengths(
            round(rows), round(texts), shared, tuple(quantiles), tuple(quantiles.values())
        )
    return found


def _numbers(grid: Grid, profile: Profile) -> dict[Pass, dict[str, float]]:
    """Pairs by HH-RLHF source and items by suite, after the profile's caps (`DataConfig`)."""
    data = profile.data
    files = miniature_files(data.source) if isinstance(data.source, MiniatureData) else OFFICIAL
    train = _pairs(files, grid, "train", data.max_train_pairs)
    test = _pairs(files, grid, "test", data.max_test_pairs)
    items: dict[bool, dict[str, float]] = {True: {}, False: {}}
    for file in files:
        suite = file.data_set.replace("_", "-")
        for subset, number in file.rows.items() if file.data_set != "hh_rlhf" else ():
            part = items[grid.ablates(suite, subset)]
            part[suite] = part.get(suite, 0) + min(number, data.max_items_per_task or number)
    pairs: dict[Pass, dict[str, float]] = {"train": train, "statistics": train, "test": test}
    return pairs | {"benchmarks": items[True], "whole_only": items[False]}


def _pairs(
    files: Iterable[RawFile], grid: Grid, split: PairSplit, cap: int | None
) -> dict[str, float]:
    """Pairs of the sources that an objective names, capped in proportion."""
    rows = {file.source_and_split: file.rows for file in files if file.data_set == "hh_rlhf"}
    named = {source for objective in grid.pairs.values() for source in getattr(objective, split)}
    numbers = {
        source: number[source]
        for (source, one), number in rows.items()
        if one == split and source in named
    }
    share = min(1, (cap or math.inf) / sum(numbers.values()))
    return {source: number * share for source, number in numbers.items()}
