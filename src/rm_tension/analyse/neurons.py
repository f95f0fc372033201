"""The neurons of every RM, where the strongest lie, which RMs share them (METHOD.md section 4)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_tension.activations.sums import Activations
from rm_tension.analyse import as_published
from rm_tension.analyse.as_published import THIRDS
from rm_tension.analyse.averages import Tables, insert_keys
from rm_tension.analyse.bootstrap import Counts, Replicates
from rm_tension.analyse.evidence import Column
from rm_tension.analyse.task_sets import SINGLES
from rm_tension.base.config import ROLES
from rm_tension.evaluate.conditions import SETS
from rm_tension.evaluate.scores import (
    SCORES,
    Scores,
    backbone_score,
    magnitude_score,
    neuron_scores,
)
from rm_tension.evaluate.selection import Mask, top, trio_sets

BySeed = NDArray[np.float64]  # [seeds, layers, neurons]
PAIRS = (("mixed", "helpful"), ("mixed", "harmless"), ("helpful", "harmless"))  # the paper's
DEPTH_KEYS = ["objective", "seed", "variant", "third"]
NO_SET = "none"  # of a neuron that is among the top of neither single-objective RM
PERCENTS = (5, 10, 20)  # of neurons, at which the overlap by either score is shown
POOLED = "pooled"  # all backbones' neurons together


def neuron_table(
    backbone: str, trios: Mapping[int, Mapping[str, Activations]], percent: float
) -> pd.DataFrame:
    """Return one row per seed, objective, layer and neuron of a backbone's RMs, in this order.

    Columns backbone, seed, objective, layer, neuron. Float64: chosen and rejected (the mean
    activation per token of either side), each of `SCORES`, and backbone_mean (the backbone's own
    magnitude score on the RM's texts). Bool: top and backbone_top (among the top `percent` by
    magnitude, of the RM and of its backbone). ablated_set is one of SETS or NO_SET: the set of the
    trio that is ablated in its mixed RM. `trios` has activations by seed and objective.
    """
    parts = []
    for seed, trio in trios.items():
        tops = {name: top(magnitude_score(of_rm), percent) for name, of_rm in trio.items()}
        ablated_set = np.full(tops["mixed"].shape, NO_SET, dtype=object)
        for name, mask in trio_sets(*(tops[single] for single in SINGLES)).items():
            ablated_set[mask] = name
        for objective, of_rm in trio.items():
            layers, neurons = np.indices(ablated_set.shape, dtype=np.int32)
            chosen, rejected = (side.sum / side.tokens for side in of_rm.sides)
            own = backbone_score(of_rm)
            columns: dict[str, Any] = {
                "layer": layers,
                "neuron": neurons,
                "chosen": chosen,
                "rejected": rejected,
            }
            columns |= {name: neuron_scores(name, of_rm, seed) for name in SCORES}
            columns |= {"backbone_mean": own, "top": tops[objective]}
            columns |= {"backbone_top": top(own, percent), "ablated_set": ablated_set}
            table = pd.DataFrame({name: values.ravel() for name, values in columns.items()})
            insert_keys(table, backbone=backbone, seed=seed, objective=objective)
            parts.append(table)
    sets = pd.CategoricalDtype([NO_SET, *SETS])
    table = pd.concat(parts, ignore_index=True)
    return table.astype({"backbone": "category", "objective": "category", "ablated_set": sets})


@dataclass(frozen=True)
class Neurons:
    """One backbone's columns of `neuron_table`, by objective: float64 [seeds, layers, neurons].

    `score` is the column that orders the neurons.
    """

    seeds: list[int]
    columns: dict[str, dict[str, BySeed]]
    score: str = "magnitude"

    @classmethod
    def of_table(cls, table: pd.DataFrame) -> "Neurons":
        """Return the rows of `neuron_table` as arrays."""
        seeds = list(map(int, table["seed"].unique()))
        shape = (len(seeds), 1 + table["layer"].max(), 1 + table["neuron"].max())
        columns: dict[str, dict[str, BySeed]] = {}
        for objective, rows in table.groupby("objective", observed=True, sort=False):
            for name in (*SCORES, "chosen", "rejected", "backbone_mean"):
                values = rows[name].to_numpy().reshape(shape)
                columns.setdefault(name, {})[str(objective)] = values
        return cls(seeds, columns)

    @property
    def scores(self) -> dict[str, BySeed]:
        """What orders the neurons, by objective."""
        return self.columns[self.score]

    def by_score(self) -> Iterator[tuple[str, "Neurons"]]:
        """Yield the neurons as each measured score orders them."""
        for name, score in SCORES.items():
            if score.measured and name in self.columns:
                yield name, replace(self, score=name)

    def mean_scores(self, counts: Counts | None = None) -> dict[str, Scores]:
        """Return the mean over seeds [layers, neurons]; `counts` is how often each seed counts."""
        return {o: np.average(own, axis=0, weights=counts) for o, own in self.scores.items()}

    def tops(self, percent: float) -> dict[str, Mask]:
        """Return the top neurons by the seeds' mean score."""
        return {o: top(mean, percent) for o, mean in self.mean_scores().items()}

    def published_tops(self, percent: float) -> dict[str, Mask]:
        """Return those that the released code selects (`as_published.clamped_top`)."""
        chosen, rejected = self.columns["chosen"], self.columns["rejected"]
        scores = {o: as_published.score(chosen[o], rejected[o]) for o in chosen}
        return {o: as_published.clamped_top(score, percent) for o, score in scores.items()}

    def rmsd(self, objective: str, counts: Counts | None = None) -> float:
        """Return the root mean square over layers of chosen minus rejected, of the seeds' mean.

        The mean over neuron positions (Table 16). `counts` is how often each seed counts.
        """
        difference = self.columns["chosen"][objective] - self.columns["rejected"][objective]
        mean = np.average(difference, axis=0, weights=counts)
        return float(np.sqrt((mean**2).mean(axis=0)).mean())


def mean_top_score(scores: Scores, mask: Mask) -> float:
    """Return the mean |score| of the top neurons."""
    return float(np.abs(scores[mask]).mean())


def jaccard(a: Mask, b: Mask) -> float:
    """Return |a and b| / |a or b|."""
    return float(np.count_nonzero(a & b) / np.count_nonzero(a | b))


def neuron_retention(tops: Mapping[str, Mask]) -> float:
    """Return |(A or B) and M| / |A or B or M| of the helpful, harmless and mixed RM's neurons."""
    return jaccard(tops["helpful"] | tops["harmless"], tops["mixed"])


def backbone_tables(neurons: Neurons, percent: int, set_percents: Iterable[int]) -> Tables:
    """Return the tables of results/<P>/ on one backbone's neurons, by file name."""
    variants = {"corrected": neurons.tops(percent), "as_published": neurons.published_tops(percent)}
    means, tops = neurons.mean_scores(), variants["corrected"]
    sizes = [(o, neurons.rmsd(o), mean_top_score(means[o], tops[o])) for o in tops]
    kept = [(variant, neuron_retention(tops)) for variant, tops in variants.items()]
    return {
        "rmsd": pd.DataFrame(sizes, columns=["objective", "rmsd", "mean_top_score"]),
        "neuron_depth": depth_table(neurons, percent),
        "neuron_overlap": overlap_table(variants),
        "neuron_retention": pd.DataFrame(kept, columns=["variant", "retention"]),
        "backbone_overlap": backbone_table(neurons, percent),
        "neuron_overlap_by_score": overlap_by_score(neurons),
        "neuron_sets": sets_table(neurons, set_percents),
    }


def thirds(layers: int) -> NDArray[np.intp]:
    """Return the third, 0 to 2, that the middle of each block lies in: of 32 blocks 11, 10, 11."""
    return (2 * np.arange(layers) + 1) * 3 // (2 * layers)


def depth_table(neurons: Neurons, percent: float) -> pd.DataFrame:
    """Return columns DEPTH_KEYS, neurons (of the top), all_neurons (in that third), share.

    `corrected` has the top neurons of each RM; `as_published` those that the released code selects,
    in its thirds.
    """
    rows = []
    published = neurons.published_tops(percent)
    for objective, scores in neurons.scores.items():
        masks: list[tuple[int | None, str, Mask, NDArray[np.intp]]] = []
        for own_seed, score in zip(neurons.seeds, scores, strict=True):
            masks.append((own_seed, "corrected", top(score, percent), thirds(len(score))))
        mask = published[objective]
        masks.append((None, "as_published", mask, as_published.thirds(len(mask))))
        for (seed, variant, mask, places), (index, third) in product(masks, enumerate(THIRDS)):
            blocks = mask[places == index]
            rows.append((objective, seed, variant, third, int(blocks.sum()), blocks.size))
    table = pd.DataFrame(rows, columns=[*DEPTH_KEYS, "neurons", "all_neurons"])
    return _with_share(table.astype({"seed": "Int64"}))


def pooled_depth(depth: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `depth_table` of several backbones with their neurons summed."""
    keys = depth.groupby(DEPTH_KEYS, as_index=False, dropna=False, sort=False)
    return _with_share(keys[["neurons", "all_neurons"]].sum())


def _with_share(depth: pd.DataFrame) -> pd.DataFrame:
    total = depth.groupby(DEPTH_KEYS[:-1], dropna=False)["neurons"].transform("sum")
    return depth.assign(share=depth["neurons"] / total)


def pairs_of(objectives: Iterable[str]) -> list[tuple[str, str]]:
    """Return the pairs of RMs whose neurons are compared: the paper's, then those of any others."""
    others = [name for name in objectives if name not in ROLES]
    return [*PAIRS, *product(others, ROLES), *combinations(others, 2)]


def overlap_table(variants: Mapping[str, Mapping[str, Mask]]) -> pd.DataFrame:
    """Return columns variant, objective_a, objective_b, jaccard, intersection, union."""
    rows = []
    for (variant, tops), (a, b) in product(variants.items(), pairs_of(variants["corrected"])):
        both, either = int((tops[a] & tops[b]).sum()), int((tops[a] | tops[b]).sum())
        rows.append((variant, a, b, jaccard(tops[a], tops[b]), both, either))
    columns = ["variant", "objective_a", "objective_b", "jaccard", "intersection", "union"]
    return pd.DataFrame(rows, columns=columns)


def overlap_by_score(neurons: Neurons) -> pd.DataFrame:
    """Return columns score, percent, objective_a, objective_b, jaccard."""
    rows = []
    for (score, scored), percent in product(neurons.by_score(), PERCENTS):
        tops = scored.tops(percent)
        rows += [(score, percent, a, b, jaccard(tops[a], tops[b])) for a, b in pairs_of(tops)]
    return pd.DataFrame(rows, columns=["score", "percent", "objective_a", "objective_b", "jaccard"])


def backbone_table(neurons: Neurons, percent: float) -> pd.DataFrame:
    """Return columns objective, seed, jaccard of an RM's top neurons and its backbone's."""
    rows = []
    for objective, scores in neurons.scores.items():
        own = neurons.columns["backbone_mean"][objective]
        for seed, score, of_backbone in zip(neurons.seeds, scores, own, strict=True):
            shared = jaccard(top(score, percent), top(of_backbone, percent))
            rows.append((objective, seed, shared))
    return pd.DataFrame(rows, columns=["objective", "seed", "jaccard"])


def sets_table(neurons: Neurons, percents: Iterable[int]) -> pd.DataFrame:
    """Return columns seed, percent, ablated_set, corrected, as_published, blocks: sizes of sets.

    `as_published` differs in the shared set alone: in a block in which one RM has no top neuron, it
    also has all of the other RM's (erratum 5). `blocks` counts the blocks in which that happens.
    """
    rows = []
    for (index, seed), percent in product(enumerate(neurons.seeds), percents):
        helpful, harmless = (top(neurons.scores[single][index], percent) for single in SINGLES)
        lone = helpful.any(axis=1) ^ harmless.any(axis=1)
        extra = (helpful ^ harmless)[lone]
        for name, mask in trio_sets(helpful, harmless).items():
            published = mask.sum() + (extra.sum() if name == "shared" else 0)
            rows.append((seed, percent, name, int(mask.sum()), int(published), int(lone.sum())))
    columns = ["seed", "percent", "ablated_set", "corrected", "as_published", "blocks"]
    return pd.DataFrame(rows, columns=columns)


def neuron_evidence(
    neurons: Mapping[str, Neurons], percent: int, replicates: Replicates
) -> pd.DataFrame:
    """Return the measures of neurons that claims are decided on, columns as of `evidence`.

    rmsd (in mean |score| of the top neurons), jaccard, neuron_retention and backbone_overlap
    (Jaccard indices), and late_excess (a fraction), whose part is a backbone or POOLED.
    """
    of_backbones = {
        backbone: backbone_table(own, percent).pivot(
            index="seed", columns="objective", values="jaccard"
        )
        for backbone, own in neurons.items()
    }

    def of_backbone(backbone: str, counts: Counts) -> pd.Series:
        own = neurons[backbone]
        means = own.mean_scores(counts)
        tops = {objective: top(mean, percent) for objective, mean in means.items()}
        values: dict[Column, float] = {
            ("jaccard", "harmless-helpful", "", "", 0): jaccard(tops["helpful"], tops["harmless"]),
            ("neuron_retention", "mixed", "", "", 0): neuron_retention(tops),
        }
        overlap = of_backbones[backbone].loc[own.seeds]
        for objective in tops:
            size = mean_top_score(means[objective], tops[objective])
            values["rmsd", objective, "", "", 0] = own.rmsd(objective, counts) / size
            mean = np.average(overlap[objective], weights=counts)
            values["backbone_overlap", objective, "", "", 0] = float(mean)
        return pd.Series(values)

    depth = pd.concat(
        [depth_table(own, percent).assign(backbone=name) for name, own in neurons.items()]
    )
    return replicates.mean_of_backbones(of_backbone).join(_late_excess(depth, replicates))


def _late_excess(depth: pd.DataFrame, replicates: Replicates) -> pd.DataFrame:
    """Return the late third's share of the top neurons, less its share of all neurons.

    Per objective pooled over backbones, and per backbone the mean of the paper's objectives.
    """
    corrected = depth[depth["variant"] == "corrected"]
    every, late = (
        rows.pivot_table(
            ["neurons", "all_neurons"], ["backbone", "seed"], "objective", aggfunc="sum"
        )
        for rows in (corrected, corrected[corrected["third"] == "late"])
    )

    def excess(drawn: Replicates) -> pd.DataFrame:
        weights = drawn.weights()
        sums = weights.dot(late.loc[weights.columns]) / weights.dot(every.loc[weights.columns])
        return drawn.without_spread(pd.DataFrame(sums["neurons"] - sums["all_neurons"]))

    columns: dict[Column, pd.Series] = {}
    for objective, values in excess(replicates).items():
        columns["late_excess", str(objective), "", POOLED, 0] = values
    for backbone in replicates.seeds:
        own = excess(replicates.of_backbone(backbone))
        papers = own.loc[:, own.columns.isin(ROLES)]
        columns["late_excess", "", "", backbone, 0] = papers.mean(axis=1)
    return pd.DataFrame(columns)
