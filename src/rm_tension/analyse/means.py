"""The averages that tables and figures show, over seeds, backbones and groups of tasks.

Each frame has its keys, then `mean`, `spread` (the population standard deviation over seeds),
`error` (the standard error of the mean) and `tasks` (how many of a group have a value); the
backbone `average` is the mean of the backbones (METHOD.md section 3).
"""

from collections.abc import Mapping
from statistics import mean

import pandas as pd

from rm_tension.analyse.averages import Tables, over_seeds, with_average, with_groups
from rm_tension.analyse.metrics import RETENTION
from rm_tension.analyse.outcomes import STYLES
from rm_tension.evaluate.conditions import NONE
from rm_tension.paper.tasks import TASKS

BASELINE = "baseline"  # among the sets that are ablated: none
DEPTH = ["variant", "backbone", "objective", "third"]  # keys of neuron_depth
CURVES = ["backbone", "objective", "progress", "loss", "std"]  # columns of training_curves
KEPT = "neuron retention"  # among the pairs of RMs: of the mixed one with both others


def means_tables(tables: Mapping[str, pd.DataFrame], percent: int) -> Tables:
    """Return frames by file name, from the tables of the grid.

    What is ablated on the tasks is at `percent`.
    """
    keys = ["backbone", "seed", "objective"]
    accuracy = _mean(_unablated(tables["accuracy"]), [*keys, "task"], "accuracy")
    by_score = tables["ablation_by_score"].rename(columns={"group": "task"})
    retention = _unablated(tables["retention"])
    magnitude = tables["ablation_magnitude"].query("percent == @percent")
    of_tasks = ["objective", "backbone", "seed", "task"]
    frames = {
        "accuracy": accuracy,
        "hh_accuracy": _mean(
            tables["hh_accuracy"], [*keys, "kind", "percent", "subset"], "accuracy"
        ),
        "retention": _measures(retention, ["backbone", "seed", "task"], RETENTION),
        "retention_after_ablation": _after_ablation(tables["retention_after_ablation"]),
        "ablation_magnitude": _measures(magnitude, of_tasks, ["baseline_accuracy", "delta"]),
        "ablation_shared_sets": _shared_sets(tables["ablation_shared_sets"], accuracy, percent),
        "ablation_by_score": with_average(over_seeds(by_score, "delta")),
        "rmsd": over_seeds(
            tables["rmsd"][["backbone", "objective", "rmsd"]].assign(tasks=1), "rmsd"
        ),
        "neuron_overlap": _overlap(tables),
        "neuron_overlap_by_score": _mean(
            pairs(tables["neuron_overlap_by_score"]),
            ["backbone", "score", "percent", "pair"],
            "jaccard",
        ),
        "neuron_sets": _sets(tables["neuron_sets"], percent),
        "suites": _suites(tables["suites"], tables["ties"]),
        "math_components": _mean(
            _unablated(tables["math_components"]), [*keys, "suite"], "accuracy"
        ),
    }
    depth = tables["neuron_depth"].groupby(DEPTH, sort=False)["share"].mean()
    return {name: frame.reset_index() for name, frame in frames.items()} | {
        "neuron_depth": depth.reset_index(),
        "tasks": task_sizes(tables["accuracy"]),
        "training_curves": _curves(tables["training_curves"]),
    }


def pairs(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the two objectives as one column `pair`, in alphabetical order."""
    both = zip(frame["objective_a"], frame["objective_b"], strict=True)
    names = ["-".join(sorted(pair)) for pair in both]
    return frame.assign(pair=names).drop(columns=["objective_a", "objective_b"])


def _mean(frame: pd.DataFrame, keys: list[str], value: str) -> pd.DataFrame:
    """Average over groups of tasks, if `task` is a key, over seeds and over backbones."""
    frame = frame[[*keys, value]]
    frame = with_groups(frame, value) if "task" in keys else frame.assign(tasks=1)
    return with_average(over_seeds(frame, value))


def _measures(frame: pd.DataFrame, keys: list[str], measures: list[str]) -> pd.DataFrame:
    return pd.concat({name: _mean(frame, keys, name) for name in measures}, names=["measure"])


def _unablated(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["kind"] == NONE.kind]


def _after_ablation(table: pd.DataFrame) -> pd.DataFrame:
    means = {}
    for variant in ("corrected", "as_published"):
        frame = with_groups(table[["task", "column", variant]], variant)
        means[variant] = over_seeds(frame, variant)
    return pd.concat(means, names=["variant"])


def _shared_sets(table: pd.DataFrame, accuracy: pd.DataFrame, percent: int) -> pd.DataFrame:
    """Return the mixed RM's change under ablation of each set, and its accuracy without."""
    changes = table[table["percent"] == percent]
    change = _mean(changes, ["ablated_set", "backbone", "seed", "task"], "delta")
    baseline = accuracy.xs("mixed", level="objective")
    return pd.concat([change, pd.concat({BASELINE: baseline}, names=["ablated_set"])])


def _overlap(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    kept = tables["neuron_retention"].assign(pair=KEPT).rename(columns={"retention": "jaccard"})
    both = pd.concat([pairs(tables["neuron_overlap"]), kept])
    return _mean(both, ["pair", "backbone", "variant"], "jaccard")


def _sets(table: pd.DataFrame, percent: int) -> pd.DataFrame:
    frame = table[table["percent"] == percent].drop(columns=["percent", "blocks"])
    keys = ["backbone", "seed", "ablated_set"]
    long = frame.melt(keys, var_name="variant", value_name="neurons")
    return _mean(long, [*keys, "variant"], "neurons")


def _suites(suites: pd.DataFrame, ties: pd.DataFrame) -> pd.DataFrame:
    """Return the suites' own metrics, and the share (%) of items that are tied."""
    keys = ["backbone", "seed", "objective"]
    metric = suites["suite"] + "/" + suites["part"] + "/" + suites["metric"]
    frames = [suites.assign(metric=metric)[[*keys, "metric", "value"]]]
    items = ties.groupby(keys)["items"].sum()
    for kind in ("ties", "ties_bfloat16"):
        tied = (ties[kind] * ties["items"]).groupby([ties[key] for key in keys]).sum()
        frames.append((tied / items).rename("value").reset_index().assign(metric=kind))
    return _mean(pd.concat(frames), [*keys, "metric"], "value")


def task_sizes(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Return columns task, items, official, chance (%), from the table of accuracies.

    `items` are those scored (the most of any RM; NaN for none), `official` those of the official
    files, e.g. 3 x 129 = 387 for RM-Bench's chat; `chance` is the mean over the task's subsets.
    """
    items = _unablated(accuracy).groupby("task")["items"].max()
    rows = []
    for task in TASKS:
        styles = [STYLES if part.suite == "rm-bench" else 1 for part in task.subsets]
        official = sum(part.size * n for part, n in zip(task.subsets, styles, strict=True))
        chance = mean(part.chance for part in task.subsets)
        rows.append((task.key, items.get(task.key), official, chance))
    return pd.DataFrame(rows, columns=["task", "items", "official", "chance"])


def _curves(table: pd.DataFrame) -> pd.DataFrame:
    """Return CURVES of each backbone and of `average`; std is over seeds, NaN for `average`."""
    seeds = table.groupby(["backbone", "objective", "progress"], sort=False)["loss"]
    spread = seeds.std(ddof=0).where(seeds.count() > 1)
    loss = pd.DataFrame({"loss": seeds.mean(), "std": spread}).reset_index()
    average = table.groupby(["objective", "progress"])["loss"].mean().reset_index()
    return pd.concat([loss, average.assign(backbone="average")])
