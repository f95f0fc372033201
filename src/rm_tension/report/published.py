"""The paper's numbers (reference/) in the shape of our averages: indexed frames with mean, spread and tasks."""

import math
from pathlib import Path

import pandas as pd

from rm_tension.analysis.averages import over_backbones, over_seeds, with_average, with_groups

GROUP_OF_TABLE = {2: "harmlessness", 3: "helpfulness", 17: "harmlessness", 18: "helpfulness"}

# Table 1's averages. They are those of Table 19's baseline column to 0.0002, those of Table 15 only to 0.004.
PRINTED_RETENTION = {"helpfulness": 0.5656, "harmlessness": 0.6287}


def accuracy(folder: Path) -> pd.DataFrame:
    """Tables 13 and 14, indexed by objective, backbone, task; the backbone `average` is the mean of the six.

    Those tables leave out smollm2-135m, whose accuracy stands in Tables 20 and 21 as the baseline of an ablation.
    """
    printed = pd.read_csv(folder / "accuracy.csv")
    baselines = pd.read_csv(folder / "ablation_magnitude_p10.csv").rename(columns={"baseline_accuracy": "accuracy"})
    both = pd.concat([printed, baselines[baselines["task"] != "average"]])
    return with_average(published(both.drop_duplicates(["objective", "backbone", "task"]), "accuracy"))


def retention(folder: Path) -> pd.DataFrame:
    """Table 15, indexed by backbone and task."""
    return published(pd.read_csv(folder / "retention.csv"), "retention")


def retention_average(folder: Path) -> pd.DataFrame:
    """Table 1, indexed by task: means of Table 15, but the group averages as printed."""
    means = over_backbones(retention(folder))
    return means.assign(mean=means["mean"].index.to_series().map(PRINTED_RETENTION).fillna(means["mean"]))


def magnitude(folder: Path) -> pd.DataFrame:
    """Tables 2 and 3, indexed by measure (baseline_accuracy, delta), objective, task."""
    frame = pd.read_csv(folder / "ablation_magnitude_p10_average.csv")
    measures = {measure: published(frame, measure) for measure in ("baseline_accuracy", "delta")}
    return pd.concat(measures, names=["measure"])


def shared_sets(folder: Path) -> pd.DataFrame:
    """Tables 17, 18 and, as their averages, 4, indexed by ablated_set (or baseline) and task."""
    frame = pd.read_csv(folder / "ablation_shared_sets.csv")
    average = frame["task"] == "average"
    frame["task"] = frame["task"].mask(average, frame["table"].map(GROUP_OF_TABLE))
    return pd.DataFrame({"mean": frame.set_index(["ablated_set", "task"])["value"], "spread": math.nan})


def published(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """Means as printed, and the group averages of them; `seed_std`, where printed, is the spread."""
    keys = [name for name in ("objective", "backbone", "task") if name in frame]
    means = over_seeds(with_groups(frame[[*keys, value]], value), value)
    return means.assign(spread=frame.set_index(keys)["seed_std"]) if "seed_std" in frame else means
