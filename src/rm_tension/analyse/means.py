"""The averages that tables and figures show, over seeds, backbones and groups of tasks (METHOD.md section 3).

Each frame has its keys, then `mean`, `spread` (the population standard deviation over seeds), `error` (the standard
error of the mean) and `tasks` (how many of a group have a value); the backbone `average` is the mean of the backbones.
"""

from collections.abc import Iterator

import pandas as pd

from rm_tension.analyse.accuracy import task_sizes
from rm_tension.analyse.averages import over_seeds, with_average, with_groups
from rm_tension.analyse.retention import MEASURES
from rm_tension.evaluate.conditions import NONE

Tables = dict[str, pd.DataFrame]
BASELINE = "baseline"  # among the sets that are ablated: none
DEPTH = ["variant", "backbone", "objective", "third"]  # keys of neuron_depth
CURVES = ["backbone", "objective", "progress", "loss", "std"]  # columns of training_curves
KEPT = "neuron retention"  # among the pairs of RMs: of the mixed one with both others


def means_tables(tables: Tables, percent: int) -> Tables:
    """By file name, from the tables of the grid; what is ablated on the tasks is at `percent`."""
    accuracy = _accuracy(tables)
    frames = {
        "accuracy": accuracy,
        "hh_accuracy": _over_grid(
            tables["hh_accuracy"].drop(columns=["items", "correct", "ties"]), "accuracy"
        ),
        "retention": _retention(tables["retention"]),
        "retention_after_ablation": _after_ablation(tables["retention_after_ablation"]),
        "ablation_magnitude": _magnitude(tables["ablation_magnitude"], percent),
        "ablation_shared_sets": _shared_sets(tables["ablation_shared_sets"], accuracy, percent),
        "ablation_by_score": _by_score(tables["ablation_by_score"]),
        "rmsd": over_seeds(
            tables["rmsd"][["backbone", "objective", "rmsd"]].assign(tasks=1), "rmsd"
        ),
        "neuron_overlap": _overlap(tables),
        "neuron_overlap_by_score": _over_grid(pairs(tables["neuron_overlap_by_score"]), "jaccard"),
        "neuron_sets": _sets(tables["neuron_sets"], percent),
        "suites": _suites(tables),
        "math_components": _math(tables["math_components"]),
    }
    return {name: frame.reset_index() for name, frame in frames.items()} | {
        "neuron_depth": _depth(tables["neuron_depth"]),
        "tasks": task_sizes(tables["accuracy"]),
        "training_curves": _curves(tables["training_curves"]),
    }


def pairs(frame: pd.DataFrame) -> pd.DataFrame:
    """The two objectives as one column `pair`, in alphabetical order."""
    names = [
        "-".join(sorted(pair))
        for pair in zip(frame["objective_a"], frame["objective_b"], strict=True)
    ]
    return frame.assign(pair=names).drop(columns=["objective_a", "objective_b"])


def _over_grid(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """Of one number a row: over seeds, if there are any, and over backbones."""
    return with_average(over_seeds(frame.assign(tasks=1), value))


def _over_tasks(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """As `_over_grid`, with the averages over groups of tasks."""
    return with_average(over_seeds(with_groups(frame, value), value))


def _unablated(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["kind"] == NONE.kind]


def _accuracy(tables: Tables) -> pd.DataFrame:
    frame = _unablated(tables["accuracy"])[["backbone", "seed", "objective", "task", "accuracy"]]
    return _over_tasks(frame, "accuracy")


def _retention(table: pd.DataFrame) -> pd.DataFrame:
    frame = _unablated(table)
    keys = ["backbone", "seed", "task"]
    return pd.concat(
        {name: _over_tasks(frame[[*keys, name]], name) for name in MEASURES}, names=["measure"]
    )


def _after_ablation(table: pd.DataFrame) -> pd.DataFrame:
    variants = ("corrected", "as_published")
    frames = {name: table[["task", "column", name]] for name in variants}
    means = {name: over_seeds(with_groups(frame, name), name) for name, frame in frames.items()}
    return pd.concat(means, names=["variant"])


def _magnitude(table: pd.DataFrame, percent: int) -> pd.DataFrame:
    frame = table[table["percent"] == percent]
    keys = ["objective", "backbone", "seed", "task"]
    measures = ("baseline_accuracy", "delta")
    return pd.concat(
        {name: _over_tasks(frame[[*keys, name]], name) for name in measures}, names=["measure"]
    )


def _shared_sets(table: pd.DataFrame, accuracy: pd.DataFrame, percent: int) -> pd.DataFrame:
    """Of the mixed RM: the change under ablation of each set, and the accuracy without."""
    frame = table.loc[
        table["percent"] == percent, ["ablated_set", "backbone", "seed", "task", "delta"]
    ]
    baseline = accuracy.xs("mixed", level="objective")
    return pd.concat(
        [_over_tasks(frame, "delta"), pd.concat({BASELINE: baseline}, names=["ablated_set"])]
    )


def _by_score(table: pd.DataFrame) -> pd.DataFrame:
    return with_average(over_seeds(table.rename(columns={"group": "task"}), "delta"))


def _overlap(tables: Tables) -> pd.DataFrame:
    kept = tables["neuron_retention"].assign(pair=KEPT).rename(columns={"retention": "jaccard"})
    both = pd.concat([pairs(tables["neuron_overlap"]), kept])
    return _over_grid(both[["pair", "backbone", "variant", "jaccard"]], "jaccard")


def _sets(table: pd.DataFrame, percent: int) -> pd.DataFrame:
    frame = table[table["percent"] == percent].drop(columns=["percent", "blocks"])
    long = frame.melt(["backbone", "seed", "ablated_set"], var_name="variant", value_name="neurons")
    return _over_grid(long, "neurons")


def _suites(tables: Tables) -> pd.DataFrame:
    """The suites' own metrics, and the share (%) of items that are tied."""
    suites = tables["suites"]
    metric = suites["suite"] + "/" + suites["part"] + "/" + suites["metric"]
    official = suites.assign(metric=metric).drop(columns=["suite", "part"])
    return _over_grid(pd.concat([official, pd.concat(_tied(tables["ties"]))]), "value")


def _tied(ties: pd.DataFrame) -> Iterator[pd.DataFrame]:
    keys = ["backbone", "seed", "objective"]
    items = ties.groupby(keys)["items"].sum()
    for kind in ("ties", "ties_bfloat16"):
        tied = (ties[kind] * ties["items"]).groupby([ties[key] for key in keys]).sum()
        yield (tied / items).rename("value").reset_index().assign(metric=kind)


def _math(table: pd.DataFrame) -> pd.DataFrame:
    frame = _unablated(table).drop(columns=["kind", "percent", "items", "chance"])
    return _over_grid(frame, "accuracy")


def _depth(table: pd.DataFrame) -> pd.DataFrame:
    """Columns variant, backbone (and `pooled`), objective, third, share: the mean over seeds."""
    return table.groupby(DEPTH, sort=False)["share"].mean().reset_index()


def _curves(table: pd.DataFrame) -> pd.DataFrame:
    """Columns backbone (and `average`), objective, progress, loss, std (over seeds; NaN for one and for `average`)."""
    loss = table.groupby(["backbone", "objective", "progress"], sort=False)["loss"].agg(
        loss="mean", std="std"
    )
    average = (
        table.groupby(["objective", "progress"])["loss"]
        .mean()
        .reset_index()
        .assign(backbone="average")
    )
    return pd.concat([loss.reset_index(), average])
