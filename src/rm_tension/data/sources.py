"""The eleven raw files: what the official ones are, and how to get them from the hub."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from rm_tension.base.config import HH_SOURCES, HubData, HubRepo, MiniatureData
from rm_tension.base.hub import commit_of, data_file
from rm_tension.paper.tasks import SUBSETS

DataSet = Literal["hh_rlhf", "reward_bench", "reward_bench_2", "rm_bench"]
PairSplit = Literal["train", "test"]
SPLITS: tuple[PairSplit, ...] = get_args(PairSplit)


@dataclass(frozen=True)
class RawFile:
    """What a file should be: its rows by HH source or benchmark subset, and its sha256 if known."""

    data_set: DataSet
    name: str
    rows: dict[str, int]
    sha256: str | None = None

    @property
    def source_and_split(self) -> tuple[str, str]:
        """Split the name of an HH-RLHF file, <source>/<split>.jsonl.gz."""
        source, split = self.name.removesuffix(".jsonl.gz").split("/")
        return source, split


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


# Rows and sha256 of METHOD.md section 1, where that is known. The train files' rows add up to the
# 160,800 that the hub shows for the whole split.
_HH: dict[PairSplit, dict[str, tuple[int, str | None]]] = {
    "train": {
        "helpful-base": (
            43835, "518a5bf288456fc9f3b7c980c54116fba0c52f274d3f4d344675d83e4058f6f4",
        ),
        "helpful-online": (
            22007, "0994d18b82083f5c084ce04071b683958a724df8c7215ab1d851986642d36a2a",
        ),
        "helpful-rejection-sampled": (
            52421, "0cea2d2ab2187624ec1314e8cc6fb579f0fa987b3a33e8102b7556ed4d255f64",
        ),
        "harmless-base": (42537, None),
    },
    "test": {
        "helpful-base": (
            2354, "8be3fc1a13b27901631696f2be6f184c799f1baeaf145f53ac5db24960adc37b",
        ),
        "helpful-online": (
            1137, "39a475cc7e0df972902f8e3a0972726fce826ac65369bda8c671de4330c60a10",
        ),
        "helpful-rejection-sampled": (
            2749, "abc35dbc56015db1dae0faa484514ccbc3eee0133bfcd557fc69250619b028bb",
        ),
        "harmless-base": (
            2312, "ebfaaed21162a4de120ae85366075b34425e2a6303fac59b99555002f7016f03",
        ),
    },
}  # fmt: skip
_BENCHMARKS: dict[DataSet, str] = {
    "reward_bench": "data/filtered-00000-of-00001.parquet",
    "reward_bench_2": "data/test-00000-of-00001.parquet",
    "rm_bench": "total_dataset.json",
}


def _official() -> tuple[RawFile, ...]:
    files = []
    for split in SPLITS:
        for source in HH_SOURCES:
            rows, sha256 = _HH[split][source]
            files.append(RawFile("hh_rlhf", f"{source}/{split}.jsonl.gz", {source: rows}, sha256))
    for data_set, name in _BENCHMARKS.items():
        suite = data_set.replace("_", "-")
        sizes = {subset.name: subset.size for subset in SUBSETS if subset.suite == suite}
        files.append(RawFile(data_set, name, sizes))
    return tuple(files)


OFFICIAL = _official()


def miniature_files(config: MiniatureData) -> list[RawFile]:
    """Return the official files at the miniature's numbers of rows."""
    pairs = {"train": config.train_pairs, "test": config.test_pairs}
    files = []
    for file in OFFICIAL:
        rows = dict.fromkeys(file.rows, config.items_per_task)
        if file.data_set == "hh_rlhf":
            _, split = file.source_and_split
            rows = {source: n for source, n in pairs[split].items() if source in file.rows}
        files.append(replace(file, rows=rows, sha256=None))
    return files


def download(config: HubData) -> list[LocalFile]:
    """Return all raw files from the hub or its cache. Raise UserError if one cannot be had."""
    files = []
    for file in OFFICIAL:
        repo: HubRepo = getattr(config, file.data_set)
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
