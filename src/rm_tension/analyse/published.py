"""The paper's numbers (reference/) in the shape of our averages: indexed frames with mean, spread, error and tasks."""

import math

import pandas as pd

from rm_tension.analyse.as_published import COLUMNS, undo_running_means
from rm_tension.analyse.averages import over_seeds, with_average, with_groups
from rm_tension.analyse.means import Tables, pairs
from rm_tension.evaluate.conditions import NONE

SEEDS = 3  # that every published spread is over
GROUP_OF_TABLE = {17: "harmlessness", 18: "helpfulness"}
PAIRWISE = ("mixed_vs_harmless", "mixed_vs_helpful")  # Tables 11 and 12

# Table 1's averages. They are those of Table 19's baseline column to 0.0002, those of Table 15 only to 0.004.
PRINTED_RETENTION = {"helpfulness": 0.5656, "harmlessness": 0.6287}


def published_means(reference: Tables) -> Tables:
    """By the file name of the means that they are to stand beside."""
    return {
        "accuracy": accuracy(reference),
        "hh_accuracy": hh_accuracy(reference),
        "retention": retention(reference),
        "retention_after_ablation": retention_after_ablation(reference),
        "ablation_magnitude": magnitude(reference),
        "ablation_shared_sets": shared_sets(reference),
        "rmsd": rmsd(reference),
        "neuron_overlap": neuron_overlap(reference),
    }


def accuracy(reference: Tables) -> pd.DataFrame:
    """Tables 13 and 14, indexed by objective, backbone, task; the backbone `average` is the mean of the six.

    Those tables leave out smollm2-135m, whose cells stand in the released notebook.
    """
    both = pd.concat([reference["accuracy"], reference["accuracy_smollm2-135m"]])
    return with_average(published(both, "accuracy"))


def hh_accuracy(reference: Tables) -> pd.DataFrame:
    """The known cells of Table 10, indexed by objective, backbone and what else identifies one of ours.

    They have no `average`: they are of two backbones, which is no mean of the grid.
    """
    frame = reference["hh_accuracy"][["objective", "backbone", "accuracy"]]
    ours = frame.assign(kind=NONE.kind, percent=NONE.percent, subset="own", tasks=1)
    return over_seeds(ours, "accuracy")


def retention(reference: Tables) -> pd.DataFrame:
    """Tables 15, 11, 12 and, as the backbone `average`, 1, indexed by measure, backbone and task.

    The averages over groups in Table 1 are as printed; Tables 11 and 12 are known for gpt2-large only.
    """
    means = with_average(published(reference["retention"], "retention"))
    for group, value in PRINTED_RETENTION.items():
        means.loc[("average", group), "mean"] = value
    pairwise = {
        name: published(reference["retention_pairwise_gpt2-large"], name) for name in PAIRWISE
    }
    return pd.concat({"retention": means, **pairwise}, names=["measure"])


def retention_after_ablation(reference: Tables) -> pd.DataFrame:
    """Table 19, by variant, task, column: `as_published`, and `corrected` for its running means (erratum 1)."""
    printed = reference["retention_after_ablation"].set_index("task")[list(COLUMNS)]
    variants = {"corrected": undo_running_means(printed), "as_published": printed}
    frames = {
        variant: columns.reset_index().melt("task", var_name="column", value_name="retention")
        for variant, columns in variants.items()
    }
    means = {
        variant: over_seeds(with_groups(frame, "retention"), "retention")
        for variant, frame in frames.items()
    }
    return pd.concat(means, names=["variant"])


def magnitude(reference: Tables) -> pd.DataFrame:
    """Tables 20, 21 and, as the backbone `average`, 2 and 3.

    Indexed by measure (baseline_accuracy, delta), objective, backbone, task.
    """
    average = reference["ablation_magnitude_p10_average"].assign(backbone="average")
    frame = pd.concat([reference["ablation_magnitude_p10"].query("task != 'average'"), average])
    return pd.concat(
        {name: published(frame, name) for name in ("baseline_accuracy", "delta")}, names=["measure"]
    )


def shared_sets(reference: Tables) -> pd.DataFrame:
    """Tables 17, 18 and, as their averages, 4, indexed by ablated_set (or baseline), backbone (`average`), task."""
    frame = reference["ablation_shared_sets"].assign(backbone="average")
    groups = frame["table"].map(GROUP_OF_TABLE)
    index = frame.assign(task=frame["task"].where(frame["task"] != "average", groups))
    index = index.set_index(["ablated_set", "backbone", "task"])
    return pd.DataFrame({"mean": index["value"], "spread": math.nan, "error": math.nan})


def rmsd(reference: Tables) -> pd.DataFrame:
    """Table 16, indexed by backbone and objective."""
    return over_seeds(reference["rmsd"][["backbone", "objective", "rmsd"]].assign(tasks=1), "rmsd")


def neuron_overlap(reference: Tables) -> pd.DataFrame:
    """Section 5's Jaccard indices as released, indexed by pair, backbone (and `average`), variant."""
    frame = pairs(reference["neuron_overlap_p10"])[["pair", "backbone", "jaccard"]]
    return with_average(over_seeds(frame.assign(variant="as_published", tasks=1), "jaccard"))


def published(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """Means as printed, and the group averages of them; `seed_std`, where printed, is the spread (erratum 10)."""
    keys = [name for name in ("objective", "backbone", "task") if name in frame]
    means = over_seeds(with_groups(frame[[*keys, value]], value), value)
    if "seed_std" not in frame:
        return means
    spread = frame.set_index(keys)["seed_std"]
    return means.assign(spread=spread, error=spread / math.sqrt(SEEDS - 1))
