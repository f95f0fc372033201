"""Write a profile's preference pairs and benchmark items, from the hub or generated."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import pandas as pd

from rm_tension.base.config import HubData
from rm_tension.base.errors import UserError
from rm_tension.base.files import atomic_write, write_json
from rm_tension.base.grid import Split
from rm_tension.base.hub import sha256_of
from rm_tension.base.job import Job
from rm_tension.base.runs import record
from rm_tension.data.benchmarks import READERS, cap_items
from rm_tension.data.miniature import generate
from rm_tension.data.pairs import cap_pairs, identical, read_pairs
from rm_tension.data.sources import LocalFile, deviations, download
from rm_tension.paper.pairs import PairSplit


def main(*, profile: str) -> None:
    """Run the stage on one cell of params.yaml's grid."""
    run(Job.open(profile))


def run(job: Job) -> None:
    """Write data/<profile>/: train, test and benchmarks as parquet, and provenance.json."""
    config, paths = job.profile.data, job.paths
    with record(paths.run("data"), job.parameters("data")) as metrics, TemporaryDirectory() as raw:
        source = config.source
        files = download(source) if isinstance(source, HubData) else generate(source, Path(raw))
        loaded = [load(file, accepts_stand_ins=bool(job.stand_ins)) for file in files]
        tables, entries = [table for table, _ in loaded], [entry for _, entry in loaded]
        splits = split_and_cap(job, files, tables)
        rows = {name: counts(t["dataset"] + "/" + t["subset"]) for name, t in splits.items()}
        caps = {key: value for key, value in config if key.startswith("max_")}
        metrics["rows"] = rows
        with atomic_write(paths.data) as folder:
            folder.mkdir()
            for name, table in splits.items():
                table.to_parquet(folder / paths.texts(name).name, index=False)
            provenance = {
                "source": source.kind,
                "stand_ins": job.stand_ins if any(e["deviations"] for e in entries) else None,
                "caps": caps,
                "rows": rows,
                "files": entries,
            }
            write_json(folder / paths.provenance.name, provenance)


def load(file: LocalFile, accepts_stand_ins: bool) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the pairs or items of a raw file, and its entry in provenance.json.

    Raise UserError if it is not the expected file and no stand-in is accepted.
    """
    data_set, is_pairs = file.raw.data_set, file.raw.split != "benchmarks"
    if is_pairs:
        table = read_pairs(file.path, data_set, file.raw.source, file.raw.split)
    else:
        table = READERS[data_set](file.path)
    rows, sha256 = counts(table["subset"]), sha256_of(file.path)
    faults = deviations(file.raw, sha256, rows)
    if faults and not accepts_stand_ins:
        name = f"{file.repo} {file.raw.name} ({file.path})"
        raise UserError(
            "\n  ".join([f"{name} is not the expected file:", *faults])
            + "\ndelete it from the hub cache and download it again, or say in "
            "data.source.stand_ins what it is"
        )
    entry = {
        "data_set": data_set,
        "repo": file.repo,
        "revision": file.revision,
        "commit": file.commit,
        "filename": file.raw.name,
        "sha256": sha256,
        "official": file.commit is not None and not faults,
        "deviations": faults,
        "rows": rows,
        "identical": identical(table) if is_pairs else None,
    }
    return table, entry


def split_and_cap(
    job: Job, files: list[LocalFile], tables: list[pd.DataFrame]
) -> dict[Split, pd.DataFrame]:
    """Return train, test and benchmarks, capped; of pairs those of files that an objective names.

    Print what each objective has. Raise UserError if an objective has no pairs.
    """
    config = job.profile.data
    by_split: dict[Split, list[pd.DataFrame]] = {"train": [], "test": [], "benchmarks": []}
    for file, table in zip(files, tables, strict=True):
        by_split[file.raw.split].append(table)
    splits: dict[Split, pd.DataFrame] = {}
    for split in get_args(PairSplit):
        named: set[str] = set()
        for objective in job.params.objectives.values():
            named |= {*getattr(objective, split)}
        table = pd.concat(by_split[split], ignore_index=True)
        cap = getattr(config, f"max_{split}_pairs")
        splits[split] = cap_pairs(table[table["subset"].isin(named)], cap)
        _show_objectives(job, split, splits[split]["subset"])
    benchmarks = pd.concat(by_split["benchmarks"], ignore_index=True)
    return splits | {"benchmarks": cap_items(benchmarks, config.max_items_per_task)}


def _show_objectives(job: Job, split: PairSplit, sources: pd.Series) -> None:
    """Print how many pairs of which source each objective has."""
    for name, objective in job.params.objectives.items():
        wanted = getattr(objective, split)
        numbers = counts(sources[sources.isin(wanted)])
        if not numbers:
            key = f"profiles.{job.paths.profile}.data.max_{split}_pairs"
            raise UserError(
                f"params.yaml: {key}, {len(sources)}, leaves the {name} objective no pair of "
                f"{', '.join(wanted)}: raise it"
            )
        parts = ", ".join(f"{source} {number:,}" for source, number in numbers.items())
        print(f"{name}, {split}: {sum(numbers.values()):,} pairs ({parts})")


def counts(names: pd.Series) -> dict[str, int]:
    """Count each name, in order of appearance."""
    return {str(name): int(n) for name, n in names.value_counts(sort=False).items()}
