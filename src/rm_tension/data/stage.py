"""Write a profile's preference pairs and benchmark items, from the hub or generated."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from rm_tension.base.config import HubData
from rm_tension.base.errors import UserError
from rm_tension.base.files import whole, write_json
from rm_tension.base.grid import Split
from rm_tension.base.hub import sha256_of
from rm_tension.base.job import Job
from rm_tension.base.runs import record
from rm_tension.data.benchmarks import READERS, cap_items
from rm_tension.data.hh_rlhf import cap_pairs, identical, read_pairs
from rm_tension.data.miniature import generate
from rm_tension.data.sources import SPLITS, LocalFile, PairSplit, deviations, download


def main(*, profile: str) -> None:
    """Run the stage on one cell of params.yaml's grid."""
    run(Job.open(profile))


def run(job: Job) -> None:
    """Write data/<profile>/ whole or not at all: preferences/{train,test}.parquet, benchmarks, provenance."""
    config, paths = job.profile.data, job.paths
    stand_ins = job.stand_ins
    with record(paths.run("data"), job.parameters("data")) as metrics, raw_files(job) as files:
        tables, entries = zip(*(load(file, bool(stand_ins)) for file in files), strict=True)
        with whole(paths.data) as folder:
            metrics["rows"] = write_tables(folder, job, files, tables)
            provenance = {
                "source": config.source.kind,
                "stand_ins": stand_ins if any(entry["deviations"] for entry in entries) else None,
                "caps": {
                    key: value
                    for key, value in config.model_dump().items()
                    if key.startswith("max_")
                },
                "rows": metrics["rows"],
                "files": entries,
            }
            write_json(folder / paths.provenance.name, provenance)


@contextmanager
def raw_files(job: Job) -> Iterator[list[LocalFile]]:
    """The files of the profile's source, which are to be read within the block."""
    source = job.profile.data.source
    if isinstance(source, HubData):
        yield download(source)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            yield generate(source, Path(scratch))


def load(file: LocalFile, accepts_stand_ins: bool) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The pairs or items of a raw file, and its entry in provenance.json; UserError if it is not the expected file."""
    if file.raw.data_set == "hh_rlhf":
        source, split = file.raw.source_and_split
        table = read_pairs(file.path, source, split)
    else:
        table = READERS[file.raw.data_set](file.path)
    rows = counts(table["subset"])
    sha256 = sha256_of(file.path)
    faults = deviations(file, sha256, rows)
    if faults and not accepts_stand_ins:
        raise UserError(
            "\n  ".join(
                [f"{file.repo} {file.raw.name} ({file.path}) is not the expected file:", *faults]
            )
            + "\ndelete it from the hub cache and download it again, or say in data.source.stand_ins what it is"
        )
    entry = {
        "data_set": file.raw.data_set,
        "repo": file.repo,
        "revision": file.revision,
        "commit": file.commit,
        "filename": file.raw.name,
        "sha256": sha256,
        "official": file.commit is not None and not faults,
        "deviations": faults,
        "rows": rows,
        "identical": identical(table) if file.raw.data_set == "hh_rlhf" else None,
    }
    return table, entry


def write_tables(
    folder: Path, job: Job, files: list[LocalFile], tables: tuple[pd.DataFrame, ...]
) -> dict[str, dict[str, int]]:
    """Cap and write the tables below `folder`, of HH-RLHF the files that an objective names.

    Prints what each objective has, and returns the rows written, by split and by dataset/subset. Raises UserError if an
    objective has no pairs.
    """
    config, read = job.profile.data, list(zip(files, tables, strict=True))
    capped: dict[Split, pd.DataFrame] = {}
    for split in SPLITS:
        pairs = pd.concat(
            [t for f, t in read if f.raw.name.endswith(f"{split}.jsonl.gz")], ignore_index=True
        )
        named = {
            source
            for objective in job.params.grid.pairs.values()
            for source in getattr(objective, split)
        }
        key = f"max_{split}_pairs"
        capped[split] = cap_pairs(pairs[pairs["subset"].isin(named)], getattr(config, key))
        _show_objectives(job, split, key, capped[split]["subset"])
    benchmarks = pd.concat([t for f, t in read if f.raw.data_set != "hh_rlhf"], ignore_index=True)
    capped["benchmarks"] = cap_items(benchmarks, config.max_items_per_task)
    folder.mkdir()
    for name, table in capped.items():
        table.to_parquet(folder / job.paths.texts(name).name, index=False)
    return {
        name: counts(table["dataset"] + "/" + table["subset"]) for name, table in capped.items()
    }


def _show_objectives(job: Job, split: PairSplit, key: str, sources: pd.Series) -> None:
    """Print how many pairs of which source each objective has."""
    for objective in job.params.grid.objectives:
        wanted = getattr(job.params.grid.pairs[objective], split)
        found = counts(sources[sources.isin(wanted)])
        if not found:
            raise UserError(
                f"params.yaml: profiles.{job.paths.profile}.data.{key}, {len(sources)}, leaves the {objective} "
                f"objective no pair of {', '.join(wanted)}: raise it"
            )
        parts = ", ".join(f"{source} {number:,}" for source, number in found.items())
        print(f"{objective}, {split}: {sum(found.values()):,} pairs ({parts})")


def counts(names: pd.Series) -> dict[str, int]:
    """How often each name occurs, in order of appearance."""
    return {str(name): int(n) for name, n in names.value_counts(sort=False).items()}
