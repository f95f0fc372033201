"""How many rows go through a model, and how long they are: counted in tokens/<P>, or by lengths.csv."""

import math
import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_tension.base.config import HH, Grid, HubFiles, MiniatureData, Profile, TrainedTokenizer
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Paths, Split
from rm_tension.data.sources import OFFICIAL, RawFile, miniature_files

FILE = Path(__file__).with_name("lengths.csv")
LEVELS = tuple(np.linspace(0, 1, 101).tolist())  # of counted lengths
WIDTH = 768  # of a typical backbone: which texts share a row depends on it a little
SAMPLE = 4096  # items of a part whose lengths stand for all


@dataclass(frozen=True)
class Lengths:
    """Of an HH-RLHF file or a suite: so many rows with so many texts, and quantiles of the rows' tokens at `levels`."""

    rows: int
    texts: int
    levels: tuple[float, ...]
    tokens: tuple[float, ...]

    def sample(self, size: int) -> NDArray[np.int64]:
        """Row lengths at `size` even steps of the distribution, ascending."""
        return np.interp((np.arange(size) + 0.5) / size, self.levels, self.tokens).round().astype(np.int64)


Lines = Mapping[tuple[str, str], Mapping[Hashable, Any]]  # of lengths.csv by data and part
Workload = Mapping[Split, Mapping[str, Lengths]]  # by HH-RLHF source or suite


def workload(grid: Grid, name: str, profile: Profile, backbone: str) -> Workload:
    """Of a profile's data in a backbone's tokens: counted where the tokens stage was, else as published and measured.

    Raises UserError where neither is to be had.
    """
    paths = Paths(name)
    if paths.tokens(backbone, "benchmarks").exists():
        return {split: _counted(paths.tokens(backbone, split), split) for split in ("train", "test", "benchmarks")}
    measured = _measured(profile.tokens.tokenizers[profile.backbones[backbone].tokenizer])
    return {split: _expected(numbers, measured, split) for split, numbers in _numbers(grid, profile).items()}


def _counted(path: Path, split: Split) -> dict[str, Lengths]:
    from rm_tension.model import rows as layout  # seconds that most callers need not wait

    table = pd.read_parquet(path, columns=["dataset", "subset", "answers"])
    found = {}
    for part, items in table.groupby(table["subset"].where(table["dataset"] == HH, table["dataset"]))["answers"]:
        sample = items.iloc[:: math.ceil(len(items) / SAMPLE)]
        # pairs are trained on in rows of their own
        rows = list(sample) if split == "train" else [row for item in sample for row in layout.split(item, WIDTH)]
        quantiles = np.quantile([layout.row_length(row) for row in rows], LEVELS)
        texts, share = sum(map(len, items)), len(sample) / len(items)
        found[str(part)] = Lengths(round(len(rows) / share), texts, LEVELS, tuple(quantiles.tolist()))
    return found


def _measured(tokenizer: HubFiles | TrainedTokenizer) -> Lines:
    """The lines of lengths.csv for a tokenizer by data and part; the only one that was trained is the miniature's."""
    name = tokenizer.repo if isinstance(tokenizer, HubFiles) else "miniature"
    rows: list[dict[Hashable, Any]] = pd.read_csv(FILE, comment="#").to_dict("records")
    lines = {(row["data"], row["part"]): row for row in rows if row["tokenizer"] == name}
    if not lines:
        raise UserError(f"{FILE}: no lengths in tokens of {name}: run the profile's tokens stage, and they are counted")
    return lines


def _expected(numbers: Mapping[str, float], measured: Lines, split: Split) -> dict[str, Lengths]:
    """The lengths of so many pairs or items of each part."""
    found = {}
    for part, number in numbers.items():
        data, answer, answers = (part, "answer", 1) if split == "benchmarks" else (f"{HH}/{part}", "chosen", 2)
        row, items = measured[data, "row"], measured[data, "prefix"]["count"]
        kept = number * (row["kept"] if split == "train" else 1)
        texts = answers * kept * measured[data, answer]["count"] / items
        quantiles = {int(key[1:]) / 100: float(row[key]) for key in map(str, row) if re.fullmatch(r"p\d+", key)}
        found[part] = Lengths(
            round(kept * row["count"] / items), round(texts), tuple(quantiles), tuple(quantiles.values())
        )
    return found


def _numbers(grid: Grid, profile: Profile) -> dict[Split, dict[str, float]]:
    """Pairs by HH-RLHF source and items by suite, after the profile's caps (`DataConfig`)."""
    data = profile.data
    files = miniature_files(data.source) if isinstance(data.source, MiniatureData) else OFFICIAL
    train, test = _pairs(files, "train"), _pairs(files, "test")
    for pool in (grid.pairs["helpful"].train, grid.pairs["harmless"].train):
        share = min(1, (data.max_train_pairs or math.inf) / sum(train[source] for source in pool))
        train |= {source: train[source] * share for source in pool}
    test = {source: min(number, data.max_test_pairs or number) for source, number in test.items()}
    items = {
        file.data_set.replace("_", "-"): float(sum(min(n, data.max_items_per_task or n) for n in file.rows.values()))
        for file in files
        if file.data_set != "hh_rlhf"
    }
    return {"train": train, "test": test, "benchmarks": items}


def _pairs(files: Iterable[RawFile], split: str) -> dict[str, float]:
    named = [(*file.source_and_split, file.rows) for file in files if file.data_set == "hh_rlhf"]
    return {source: rows[source] for source, one, rows in named if one == split}
