"""The statistics of neurons that claims are decided on, as frames like those of `evidence`.

Measures: rmsd (in mean |score| of the top neurons), jaccard, neuron_retention, backbone_overlap (Jaccard index) and
late_excess (a fraction), whose part is a backbone or `pooled`.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rm_tension.analyse.bootstrap import Counts, Replicates
from rm_tension.analyse.evidence import Column
from rm_tension.analyse.neurons import (
    Neurons,
    backbone_table,
    depth_table,
    jaccard,
    mean_top_score,
    neuron_retention,
    rmsd,
)
from rm_tension.evaluate.selection import top

POOLED = "pooled"


def neuron_evidence(
    neurons: Mapping[str, Neurons], percent: int, replicates: Replicates
) -> pd.DataFrame:
    """The measures of neurons, by backbone, over the draws of seeds and backbones."""
    by_seed = {backbone: _by_seed(found, percent) for backbone, found in neurons.items()}

    def of_backbone(backbone: str, counts: Counts) -> pd.Series:
        found = neurons[backbone]
        tops = {
            o: top(np.average(scores, axis=0, weights=counts), percent)
            for o, scores in found.magnitude.items()
        }
        values: dict[Column, float] = {
            ("rmsd", objective, "", "", 0): rmsd(
                found.chosen[objective], found.rejected[objective], counts
            )
            / mean_top_score(found.magnitude[objective], percent, counts)
            for objective in tops
        }
        values["jaccard", "helpful-harmless", "", "", 0] = jaccard(
            tops["helpful"], tops["harmless"]
        )
        values["neuron_retention", "mixed", "", "", 0] = neuron_retention(tops)
        means = np.average(by_seed[backbone], axis=0, weights=counts)
        return pd.Series(values | dict(zip(by_seed[backbone], means, strict=True)))

    depth = pd.concat(
        [
            depth_table(found, percent).assign(backbone=backbone)
            for backbone, found in neurons.items()
        ]
    )
    return replicates.mean_of_backbones(of_backbone).join(_late_excess(depth, replicates))


def _by_seed(found: Neurons, percent: int) -> pd.DataFrame:
    """The measures of each seed's RMs alone, a row for each seed."""
    overlap = backbone_table(found, percent).groupby("objective", sort=False)["jaccard"]
    columns = {
        ("backbone_overlap", str(objective), "", "", 0): list(values)
        for objective, values in overlap
    }
    return pd.DataFrame(columns)


def _late_excess(depth: pd.DataFrame, replicates: Replicates) -> pd.DataFrame:
    """The late third's share of the top neurons, less its share of all: per objective pooled, and per backbone."""
    corrected = depth[depth["variant"] == "corrected"]
    late = corrected[corrected["third"] == "late"]

    def count(rows: pd.DataFrame, column: str) -> pd.DataFrame:
        return rows.pivot_table(
            column, index=["backbone", "seed"], columns="objective", aggfunc="sum"
        )

    parts, wholes = (
        [count(rows, name) for name in ("neurons", "all_neurons")] for rows in (late, corrected)
    )

    def shares(drawn: Replicates) -> pd.DataFrame:
        weights = drawn.weights()
        top, every = (
            weights.dot(part.loc[weights.columns]) / weights.dot(whole.loc[weights.columns])
            for part, whole in zip(parts, wholes, strict=True)
        )
        return drawn.without_spread(top - every)

    columns: dict[Column, pd.Series] = {
        ("late_excess", str(objective), "", POOLED, 0): values
        for objective, values in shares(replicates).items()
    }
    for backbone in replicates.seeds:
        columns["late_excess", "", "", backbone, 0] = shares(replicates.of_backbone(backbone)).mean(
            axis=1
        )
    return pd.DataFrame(columns)
