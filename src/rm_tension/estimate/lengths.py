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
from rm_tension.data.sources import OFFICIAL, RawFile, miniature_files

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
        return np.interp((np.arange(size) + 0.5) / size, self.levels, self.tokens).round().astype(np.int64)

    @property
    def seen(self) -> float:
        """Pairs of tokens that see each other, as a share of the square of a row's tokens."""
        rest = 1 - self.shared
        return self.shared**2 / 2 + rest * self.shared + rest**2 / 2 * self.rows / self.texts


Lines = Mapping[tuple[str, str], Mapping[Hashable, Any]]  # of lengths.csv by data and part
Pass = Split | Literal["whole_only"]  # the benchmarks that no ablated model scores
Workload = Mapping[Pass, Mapping[str, Lengths]]  # by HH-RLHF source or suite


def workload(grid: Grid, name: str, profile: Profile, backbone: str) -> Workload:
    """Of a profile's data in a backbone's tokens: counted where the tokens stage was, else as published and measured.

    Raises UserError where neither is to be had.
    """
    paths = Paths(name)
    if paths.tokens(backbone, "benchmarks").exists():
        from rm_tension.evaluate.evaluation import benchmarks  # seconds that most callers need not wait

        pairs: dict[Pass, dict[str, Lengths]] = {
            split: _counted(pd.read_parquet(paths.tokens(backbone, split))) for split in ("train", "test")
        }
        ablated, whole_only = benchmarks(pd.read_parquet(paths.tokens(backbone, "benchmarks")), grid)
        return pairs | {"benchmarks": _counted(ablated), "whole_only": _counted(whole_only)}
    measured = _measured(profile.tokens.tokenizers[profile.backbones[backbone].tokenizer])
    return {one: _expected(numbers, measured, one) for one, numbers in _numbers(grid, profile).items()}


def _counted(table: pd.DataFrame) -> dict[str, Lengths]:
    from rm_tension.model.rows import prefix_length, row_length  # as above

    found = {}
    for part, items in table.groupby(table["subset"].where(table["dataset"] == HH, table["dataset"]))["answers"]:
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
        raise UserError(f"{FILE}: no lengths in tokens of {name}: run the profile's tokens stage, and they are counted")
    return lines


def _expected(numbers: Mapping[str, float], measured: Lines, one: Pass) -> dict[str, Lengths]:
    """The lengths of so many pairs or items of each part."""
    found = {}
    for part, number in numbers.items():
        data, answer, answers = (f"{HH}/{part}", "chosen", 2) if one in ("train", "test") else (part, "answer", 1)
        row, prefix = measured[data, "row"], measured[data, "prefix"]
        rows = number * (row["kept"] if one == "train" else 1)
        texts = answers * rows * measured[data, answer]["count"] / row["count"]
        quantiles = {int(key[1:]) / 100: float(row[key]) for key in map(str, row) if re.fullmatch(r"p\d+", key)}
        shared = prefix["mean"] / row["mean"]
        found[part] = Lengths(round(rows), round(texts), shared, tuple(quantiles), tuple(quantiles.values()))
    return found


def _numbers(grid: Grid, profile: Profile) -> dict[Pass, dict[str, float]]:
    """Pairs by HH-RLHF source and items by suite, after the profile's caps (`DataConfig`)."""
    data = profile.data
    files = miniature_files(data.source) if isinstance(data.source, MiniatureData) else OFFICIAL
    train, test = _pairs(files, "train"), _pairs(files, "test")
    for pool in (grid.pairs["helpful"].train, grid.pairs["harmless"].train):
        share = min(1, (data.max_train_pairs or math.inf) / sum(train[source] for source in pool))
        train |= {source: train[source] * share for source in pool}
    test = {source: min(number, data.max_test_pairs or number) for source, number in test.items()}
    items: dict[bool, dict[str, float]] = {True: {}, False: {}}
    for file in files:
        suite = file.data_set.replace("_", "-")
        for subset, number in file.rows.items() if file.data_set != "hh_rlhf" else ():
            part = items[grid.ablates(suite, subset)]
            part[suite] = part.get(suite, 0) + min(number, data.max_items_per_task or number)
    return {"train": train, "test": test, "benchmarks": items[True], "whole_only": items[False]}


def _pairs(files: Iterable[RawFile], split: str) -> dict[str, float]:
    named = [(*file.source_and_split, file.rows) for file in files if file.data_set == "hh_rlhf"]
    return {source: rows[source] for source, one, rows in named if one == split}
