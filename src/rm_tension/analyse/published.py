"""The paper's numbers (reference/published.csv), as averages like ours and as evidence."""

import math
from pathlib import Path

import pandas as pd

from rm_tension.analyse.as_published import undo_running_means
from rm_tension.analyse.averages import Tables, over_seeds, with_average, with_groups
from rm_tension.analyse.metrics import OWN
from rm_tension.base.tables import read_table
from rm_tension.evaluate.conditions import NONE
from rm_tension.paper.tasks import GROUPS

SEEDS = 3  # that every published spread is over
KEYS = ["table", "measure", "backbone", "objective", "kind", "percent", "task"]


def read_published(path: Path) -> pd.DataFrame:
    """Return the published numbers, one a row: KEYS, value, spread over seeds.

    NaN stands for a key that a number has not.
    """
    published = read_table(path, [*KEYS, "value", "spread"])
    return published.astype(dict.fromkeys(("table", "measure"), "str"))


def published_means(published: pd.DataFrame) -> Tables:
    """Return frames by the file name of the means that they stand beside.

    Each is indexed by what identifies one of our means, with columns mean, spread and error.
    """
    return {
        "accuracy": with_average(_means(_of(published, "13", "14"), "objective", "backbone")),
        "hh_accuracy": _hh_accuracy(_of(published, "10")),
        "retention": _retention(published),
        "retention_after_ablation": _retention_after_ablation(_of(published, "19")),
        "ablation_magnitude": _magnitude(_of(published, "20", "21", "2", "3")),
        "ablation_shared_sets": _shared_sets(_of(published, "17", "18")),
        "rmsd": _means(_of(published, "16"), "backbone", "objective"),
        "neuron_overlap": _overlap(_of(published, "section 5")),
    }


def published_evidence(published: pd.DataFrame) -> pd.DataFrame:
    """Return the statistics that claims are decided on: one row, columns as of `evidence`.

    They are means over the backbones that a number is published of. The change of HH test accuracy
    is the mean of the objectives, read off Figure 5 to 0.3 points.
    """
    tasks = _of(published, "2", "3", "11", "12", "15", "17", "18")
    tasks = tasks[~tasks["task"].isin(GROUPS)]
    tasks = tasks[(tasks["measure"] != "accuracy") | (tasks["table"].isin(["2", "3"]))]
    neurons = _of(published, "section 5").assign(kind="", task="", percent=0)
    neurons = neurons[neurons["measure"].isin(["jaccard", "neuron_retention"])]
    hh = _of(published, "figure 5").assign(measure="hh_delta", task="")
    unablated = hh[hh["kind"] == NONE.kind].set_index("objective")["value"]
    hh["value"] -= hh["objective"].map(unablated)
    hh = hh[hh["kind"] != NONE.kind].assign(objective="")
    tasks = tasks.assign(percent=0)
    keys = ["measure", "objective", "kind", "task", "percent"]
    return pd.DataFrame([pd.concat([tasks, neurons, hh]).groupby(keys)["value"].mean()])


def _of(published: pd.DataFrame, *tables: str) -> pd.DataFrame:
    return published[published["table"].isin(tables)]


def _means(rows: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """Return the numbers and, of tasks, their group averages.

    The published spread is a standard deviation (erratum 10).
    """
    of_tasks = bool(rows["task"].notna().all())
    index = [*keys, "task"] if of_tasks else list(keys)
    frame = rows[[*index, "value"]]
    frame = with_groups(frame, "value") if of_tasks else frame.assign(tasks=1)
    spread = rows.set_index(index)["spread"]
    return over_seeds(frame, "value").assign(spread=spread, error=spread / math.sqrt(SEEDS - 1))


def _hh_accuracy(rows: pd.DataFrame) -> pd.DataFrame:
    """Return Table 10's five known cells; of two backbones, they have no average."""
    rows = rows.assign(kind=NONE.kind, percent=NONE.percent, subset=OWN)
    return _means(rows, "objective", "backbone", "kind", "percent", "subset")


def _retention(published: pd.DataFrame) -> pd.DataFrame:
    """Return Tables 15, 11 and 12, and as the average of the backbones Table 1.

    Its averages of groups are as printed: they are those of Table 19's baseline column to 0.0002,
    and those of Table 15 only to 0.004 (erratum 11).
    """
    means = with_average(_means(_of(published, "15"), "backbone"))
    printed = _of(published, "1").set_index(["backbone", "task"])["value"]
    means.loc[printed.index, "mean"] = printed
    frames = {"retention": means}
    for table in ("11", "12"):
        rows = _of(published, table)
        frames[rows["measure"].iloc[0]] = _means(rows, "backbone")
    return pd.concat(frames, names=["measure"])


def _retention_after_ablation(rows: pd.DataFrame) -> pd.DataFrame:
    """Return Table 19 `as_published`, and `corrected` for its running means (erratum 1)."""
    columns = rows["kind"].str.replace("-", "_").replace({NONE.kind: "baseline"})
    printed = rows.assign(column=columns).pivot(index="task", columns="column", values="value")
    printed = printed.loc[rows["task"].unique(), columns.unique()]
    frames = {}
    for variant, table in (("corrected", undo_running_means(printed)), ("as_published", printed)):
        rows = table.reset_index().melt("task", var_name="column").assign(spread=math.nan)
        frames[variant] = _means(rows, "column")
    return pd.concat(frames, names=["variant"])


def _magnitude(rows: pd.DataFrame) -> pd.DataFrame:
    """Return Tables 20 and 21 and, as the average of the backbones, 2 and 3.

    The averages of groups are computed.
    """
    rows = rows[~rows["task"].isin(GROUPS)]
    frames = {}
    for measure, name in (("accuracy", "baseline_accuracy"), ("delta", "delta")):
        frames[name] = _means(rows[rows["measure"] == measure], "objective", "backbone")
    return pd.concat(frames, names=["measure"])


def _shared_sets(rows: pd.DataFrame) -> pd.DataFrame:
    """Return Tables 17 and 18 and, as their averages of groups, 4.

    The baseline has its accuracy, the sets have their changes.
    """
    index = rows.replace({"kind": {NONE.kind: "baseline"}}).rename(columns={"kind": "ablated_set"})
    values = index.set_index(["ablated_set", "backbone", "task"])["value"]
    return pd.DataFrame({"mean": values, "spread": math.nan, "error": math.nan})


def _overlap(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the Jaccard indices as released."""
    rows = rows[rows["measure"] == "jaccard"].rename(columns={"objective": "pair"})
    return with_average(_means(rows.assign(variant="as_published"), "pair", "backbone", "variant"))
