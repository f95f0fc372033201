"""Every number of the report, as tidy CSVs, from the rewards of the trios that there are."""

import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from rm_tension.analysis import accuracy, averages
from rm_tension.analysis.context import Context
from rm_tension.analysis.outcomes import answer_layout, outcomes, score
from rm_tension.analysis.retention import retention
from rm_tension.analysis.suites import suite_metrics
from rm_tension.conditions import NONE, SETS
from rm_tension.config import MiniatureData, Profile
from rm_tension.data.tasks import TASKS
from rm_tension.errors import UserError
from rm_tension.files import whole, write_json
from rm_tension.grid import Trio, trios
from rm_tension.runs import git_commit, record
from rm_tension.stages.common import Job, main

Tables = dict[str, pd.DataFrame]


def run(job: Job) -> None:
    """rewards/<P>/*.parquet and data/<P>/ -> results/<P>/*.csv and context.json."""
    paths = job.paths
    present = [trio for trio in trios(job.params.grid) if paths.rewards(trio).exists()]
    if not present:
        folder = paths.rewards(Trio("*", 0)).parent
        raise UserError(f"{folder}: no rewards of any trio; run `dvc repro evaluate@{paths.profile}-...` first")
    with record(paths.run("analyse"), vars(job.arguments)) as metrics:
        layout = answer_layout(pd.read_parquet(paths.benchmarks), pd.read_parquet(paths.preferences("test")))
        parts = [_of_trio(paths.rewards(trio), trio, layout) for trio in present]
        tables = _derived({name: pd.concat([part[name] for part in parts]) for name in parts[0]})
        context = _context(job, present, tables["accuracy"])
        with whole(paths.results) as folder:
            folder.mkdir()
            for name, table in tables.items():
                table.to_csv(folder / f"{name}.csv", index=False, float_format="%.10g")
            write_json(folder / "context.json", asdict(context))
        metrics |= {"trios": len(present), **{f"{name}_rows": len(table) for name, table in tables.items()}}


def _of_trio(path: Path, trio: Trio, layout: pd.DataFrame) -> Tables:
    """What one trio's rewards say; nothing else of them is kept, so that memory holds one trio at a time."""
    try:
        scored = score(pd.read_parquet(path), layout)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    items = outcomes(scored)
    tables = {
        "accuracy": accuracy.task_accuracy(items),
        "hh_accuracy": accuracy.hh_accuracy(items),
        "retention": retention(items),
        "suites": suite_metrics(scored[scored["condition"] == str(NONE)]),
    }
    for table in tables.values():
        table.insert(0, "backbone", trio.backbone)
        table.insert(1, "seed", trio.seed)
    return tables


def _derived(tables: Tables) -> Tables:
    """Add what follows from accuracy: group averages and the changes under ablation."""
    tasks = tables["accuracy"].drop(columns=["items", "correct", "ties"])
    groups = averages.with_groups(tasks, "accuracy")
    changes = accuracy.changes(tasks)
    columns = ["backbone", "seed", "percent", "task", "baseline_accuracy", "ablated_accuracy", "delta"]
    magnitude, sets = changes["kind"] == "magnitude", changes["kind"].isin(SETS)
    return tables | {
        "group_accuracy": groups[~groups["task"].isin(tasks["task"])].rename(columns={"task": "group"}),
        "ablation_magnitude": changes.loc[magnitude, ["objective", *columns]],
        "ablation_shared_sets": changes[sets].rename(columns={"kind": "ablated_set"})[["ablated_set", *columns]],
    }


def _context(job: Job, present: list[Trio], task_accuracy: pd.DataFrame) -> Context:
    stand_ins = json.loads(job.paths.provenance.read_text(encoding="utf-8"))["stand_ins"]
    found = set(task_accuracy["task"])
    return Context(
        profile=job.paths.profile,
        title=job.profile.title,
        task_percent=job.profile.evaluate.task_percent,
        comparable=_is_full(job.profile) and not stand_ins,
        stand_ins=stand_ins,
        trios=[trio.key for trio in present],
        missing_trios=[trio.key for trio in trios(job.params.grid) if trio not in present],
        missing_tasks=[task.key for task in TASKS if task.key not in found],
        git_commit=git_commit(),
    )


def _is_full(profile: Profile) -> bool:
    """Whether the profile takes all of the real data, so that its numbers may be held against the paper's."""
    data = profile.data
    caps = (data.max_train_pairs, data.max_test_pairs, data.max_items_per_task)
    return not isinstance(data.source, MiniatureData) and not any(caps)


if __name__ == "__main__":
    main(run)
