"""The paper's numbers (reference/) in the shape of our averages: indexed frames with mean, spread and tasks."""

import math
from pathlib import Path

import pandas as pd

from rm_tension.analyse.as_published import COLUMNS, undo_running_means
from rm_tension.analyse.averages import over_seeds, with_average, with_groups
from rm_tension.analyse.means import pairs

GROUP_OF_TABLE = {17: "harmlessness", 18: "helpfulness"}

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
    """Tables 15 and, as its `average`, 1, indexed by backbone and task; that one's group averages are as printed."""
    means = with_average(published(pd.read_csv(folder / "retention.csv"), "retention"))
    for group, value in PRINTED_RETENTION.items():
        means.loc[("average", group), "mean"] = value
    return means


def pairwise_retention(folder: Path, measure: str) -> pd.DataFrame:
    """Tables 11 (mixed_vs_harmless) and 12 (mixed_vs_helpful), known for gpt2-large only."""
    return published(pd.read_csv(folder / "retention_pairwise_gpt2-large.csv"), measure)


def retention_after_ablation(folder: Path, variant: str) -> pd.DataFrame:
    """Table 19, indexed by column and task: `as_published`, or `corrected` for its running means (erratum 1)."""
    printed = pd.read_csv(folder / "retention_after_ablation.csv").set_index("task")[list(COLUMNS)]
    columns = undo_running_means(printed) if variant == "corrected" else printed
    frame = columns.reset_index().melt("task", var_name="column", value_name="retention")
    return over_seeds(with_groups(frame, "retention"), "retention")


def magnitude(folder: Path) -> pd.DataFrame:
    """Tables 20, 21 and, as the backbone `average`, 2 and 3.

    Indexed by measure (baseline_accuracy, delta), objective, backbone, task.
    """
    average = pd.read_csv(folder / "ablation_magnitude_p10_average.csv").assign(backbone="average")
    frame = pd.concat([pd.read_csv(folder / "ablation_magnitude_p10.csv").query("task != 'average'"), average])
    return pd.concat({name: published(frame, name) for name in ("baseline_accuracy", "delta")}, names=["measure"])


def shared_sets(folder: Path) -> pd.DataFrame:
    """Tables 17, 18 and, as their averages, 4, indexed by ablated_set (or baseline) and task."""
    frame = pd.read_csv(folder / "ablation_shared_sets.csv")
    average = frame["task"] == "average"
    frame["task"] = frame["task"].mask(average, frame["table"].map(GROUP_OF_TABLE))
    return pd.DataFrame({"mean": frame.set_index(["ablated_set", "task"])["value"], "spread": math.nan})


def rmsd(folder: Path) -> pd.DataFrame:
    """Table 16, indexed by backbone and objective."""
    frame = pd.read_csv(folder / "rmsd.csv")[["backbone", "objective", "rmsd"]]
    return over_seeds(frame.assign(tasks=1), "rmsd")


def neuron_overlap(folder: Path) -> pd.DataFrame:
    """Section 5's Jaccard indices as released, indexed by pair, backbone (and `average`), variant."""
    frame = pairs(pd.read_csv(folder / "neuron_overlap_p10.csv"))[["pair", "backbone", "jaccard"]]
    return with_average(over_seeds(frame.assign(variant="as_published", tasks=1), "jaccard"))


def published(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """Means as printed, and the group averages of them; `seed_std`, where printed, is the spread."""
    keys = [name for name in ("objective", "backbone", "task") if name in frame]
    means = over_seeds(with_groups(frame[[*keys, value]], value), value)
    return means.assign(spread=frame.set_index(keys)["seed_std"]) if "seed_std" in frame else means
