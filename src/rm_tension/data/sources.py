"""The eleven raw files: what the official ones are, and how to get them from the hub."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from rm_tension.base.config import HH_SOURCES, HHSource, HubData, HubRepo, MiniatureData
from rm_tension.base.hub import commit_of, data_file
from rm_tension.paper.tasks import SUBSETS

DataSet = Literal["hh_rlhf", "reward_bench", "reward_bench_2", "rm_bench"]
PairSplit = Literal["train", "test"]
SPLITS: tuple[PairSplit, ...] = get_args(PairSplit)


@dataclass(frozen=True)
class RawFile:
    """What a file should be. `rows` by HH source or benchmark subset; `digest`: sha256, or git's blob sha1."""

    data_set: DataSet
    name: str
    rows: dict[str, int]
    digest: str | None = None

    @property
    def source_and_split(self) -> tuple[str, str]:
        """Of an HH-RLHF file, whose name is <source>/<split>.jsonl.gz."""
        source, split = self.name.removesuffix(".jsonl.gz").split("/")
        return source, split


@dataclass(frozen=True)
class LocalFile:
    """A raw file on this disk; `commit` is what the hub resolved `revision` to, None for a generated file."""

    raw: RawFile
    path: Path
    repo: str
    revision: str
    commit: str | None


# METHOD.md section 1; the train files' rows add up to the 160,800 that the hub shows for the whole split.
_HH_ROWS: dict[str, tuple[int, int]] = {
    "helpful-base": (43835, 2354),
    "helpful-online": (22007, 1137),
    "helpful-rejection-sampled": (52421, 2749),
    "harmless-base": (42537, 2312),
}
_HH_DIGESTS: dict[str, tuple[str, str]] = {
    "helpful-base": (
        "518a5bf288456fc9f3b7c980c54116fba0c52f274d3f4d344675d83e4058f6f4",
        "8be3fc1a13b27901631696f2be6f184c799f1baeaf145f53ac5db24960adc37b",
    ),
    "helpful-online": (
        "0994d18b82083f5c084ce04071b683958a724df8c7215ab1d851986642d36a2a",
        "39a475cc7e0df972902f8e3a0972726fce826ac65369bda8c671de4330c60a10",
    ),
    "helpful-rejection-sampled": (
        "0cea2d2ab2187624ec1314e8cc6fb579f0fa987b3a33e8102b7556ed4d255f64",
        "abc35dbc56015db1dae0faa484514ccbc3eee0133bfcd557fc69250619b028bb",
    ),
    "harmless-base": (
        "df7c90b1bbd6093bda9c996e8aab9a46fa557dcf",
        "ebfaaed21162a4de120ae85366075b34425e2a6303fac59b99555002f7016f03",
    ),
}
_BENCHMARKS: tuple[tuple[DataSet, str], ...] = (
    ("reward_bench", "data/filtered-00000-of-00001.parquet"),
    ("reward_bench_2", "data/test-00000-of-00001.parquet"),
    ("rm_bench", "total_dataset.json"),
)

OFFICIAL: tuple[RawFile, ...] = (
    *(
        RawFile(
            "hh_rlhf",
            f"{source}/{split}.jsonl.gz",
            {source: _HH_ROWS[source][i]},
            _HH_DIGESTS[source][i],
        )
        for i, split in enumerate(SPLITS)
        for source in HH_SOURCES
    ),
    *(
        RawFile(
            data_set,
            name,
            {s.name: s.size for s in SUBSETS if s.suite == data_set.replace("_", "-")},
        )
        for data_set, name in _BENCHMARKS
    ),
)


def miniature_files(config: MiniatureData) -> list[RawFile]:
    """The official files at the miniature's numbers of rows."""
    pairs: dict[str, dict[HHSource, int]] = {"train": config.train_pairs, "test": config.test_pairs}
    files = []
    for file in OFFICIAL:
        if file.data_set == "hh_rlhf":
            _, split = file.source_and_split
            rows: dict[str, int] = {
                source: n for source, n in pairs[split].items() if source in file.rows
            }
        else:
            rows = dict.fromkeys(file.rows, config.items_per_task)
        files.append(replace(file, rows=rows, digest=None))
    return files


def download(config: HubData) -> list[LocalFile]:
    """Return all raw files from the hub or its cache. Raise UserError if one cannot be had."""
    files = []
    for file in OFFICIAL:
        repo: HubRepo = getattr(config, file.data_set)
        path = data_file(repo, file.name)
        files.append(LocalFile(file, path, repo.repo, repo.revision, commit_of(path)))
    return files


def deviations(file: LocalFile, sha256: str, rows: dict[str, int]) -> list[str]:
    """How the file differs from what it should be; `rows` were found, by HH source or subset."""
    found = []
    if file.raw.digest and not _matches(file.raw.digest, file.path, sha256):
        found.append(f"sha256 {sha256} is not that of the expected file ({file.raw.digest})")
    for part, expected in file.raw.rows.items():
        if rows.get(part, 0) != expected:
            found.append(f"{part}: {rows.get(part, 0):,} rows, expected {expected:,}")
    return found


def _matches(digest: str, path: Path, sha256: str) -> bool:
    """Whether a digest of a file is its sha256 or, at 40 digits, the name that git gives it.

    Of one file only git's name is known. The hub keeps large files in git-LFS, where git sees a pointer text with
    the content's sha256 and size; but which of the two was named is not known, so either will do.
    """
    if len(digest) == len(sha256):
        return sha256 == digest
    content = path.read_bytes()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(content)}\n".encode()
    return digest in (_git_blob(content), _git_blob(pointer))


def _git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
