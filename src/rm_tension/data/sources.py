"""The raw files: what the official ones are, and how to get them from the hub."""

from dataclasses import dataclass, replace
from pathlib import Path

from rm_tension.base.config import HubData, MiniatureData
from rm_tension.base.grid import Split
from rm_tension.base.hub import commit_of, data_file
from rm_tension.paper.pairs import PAIR_FILES
from rm_tension.paper.tasks import SUBSETS


@dataclass(frozen=True)
class RawFile:
    """What a file should be: its rows, and its sha256 if known."""

    data_set: str  # a suite, or a data set of pairs
    name: str  # its path in the repository
    rows: dict[str, int]  # of its one source of pairs, or by subset of a benchmark
    split: Split
    sha256: str | None = None

    @property
    def source(self) -> str:
        """Return the source of a file of pairs."""
        return next(iter(self.rows))


@dataclass(frozen=True)
class LocalFile:
    """A raw file on this disk.

    `commit` is what the hub resolved `revision` to, None for a generated file.
    """

    raw: RawFile
    path: Path
    repo: str
    revision: str
    commit: str | None


# The files of benchmarks in their repositories, by suite of paper/subsets.csv
BENCHMARK_FILES = {
    "reward-bench": "data/filtered-00000-of-00001.parquet",
    "reward-bench-2": "data/test-00000-of-00001.parquet",
    "rm-bench": "total_dataset.json",
}


def _official() -> tuple[RawFile, ...]:
    pairs = [
        RawFile(file.dataset, file.file, {file.source: file.rows}, file.split, file.sha256)
        for file in PAIR_FILES
    ]
    items = []
    for suite, name in BENCHMARK_FILES.items():
        sizes = {subset.name: subset.size for subset in SUBSETS if subset.suite == suite}
        items.append(RawFile(suite, name, sizes, "benchmarks"))
    return (*pairs, *items)


OFFICIAL = _official()


def miniature_files(config: MiniatureData) -> list[RawFile]:
    """Return the official files at the miniature's numbers of rows."""
    pairs = {"train": config.train_pairs, "test": config.test_pairs}
    files = []
    for file in OFFICIAL:
        rows = dict.fromkeys(file.rows, config.items_per_task)
        if file.split != "benchmarks":
            rows = {file.source: pairs[file.split][file.source]}
        files.append(replace(file, rows=rows, sha256=None))
    return files


def download(config: HubData) -> list[LocalFile]:
    """Return all raw files from the hub or its cache. Raise UserError if one cannot be had."""
    files = []
    for file in OFFICIAL:
        repo = config.repositories[file.data_set]
        path = data_file(repo, file.name)
        files.append(LocalFile(file, path, repo.repo, repo.revision, commit_of(path)))
    return files


def deviations(file: RawFile, sha256: str, rows: dict[str, int]) -> list[str]:
    """Return how a file of this sha256 and these rows differs from what it should be."""
    faults = []
    if file.sha256 not in (None, sha256):
        faults.append(f"sha256 {sha256} is not that of the expected file ({file.sha256})")
    for part, expected in file.rows.items():
        if rows.get(part, 0) != expected:
            faults.append(f"{part}: {rows.get(part, 0):,} rows, expected {expected:,}")
    return faults
