"""The neurons of every RM, where the strongest lie and which of them RMs share (METHOD.md section 4)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_tension.activations.sums import Activations
from rm_tension.analyse.task_sets import SINGLES
from rm_tension.evaluate.conditions import SETS
from rm_tension.evaluate.selection import (
    SCORES,
    Mask,
    Scores,
    backbone_score,
    magnitude_score,
    neuron_scores,
    top,
    trio_sets,
)
from rm_tension.paper.figures import THIRDS

BySeed = NDArray[np.float64]  # [seeds, layers, neurons]
PAIRS = (("mixed", "helpful"), ("mixed", "harmless"), ("helpful", "harmless"))
DEPTH_KEYS = ["objective", "seed", "variant", "third"]
NO_SET = "none"  # of a neuron that is among the top of neither single-objective RM


def neuron_table(
    backbone: str, trios: Mapping[int, Mapping[str, Activations]], percent: float
) -> pd.DataFrame:
    """Return one row per seed, objective, layer and neuron of a backbone's RMs, in this order.

    Columns backbone, seed, objective, layer, neuron. Float64: chosen and rejected (the mean activation per token of
    either side), each of `SCORES`, and backbone_mean (the backbone's own magnitude score on the RM's texts). Bool: top
    and backbone_top (among the top `percent` by magnitude, of the RM and of its backbone). ablated_set is one of SETS
    or NO_SET: the set of the trio that is ablated in its mixed RM. `trios` has activations by seed and objective.
    """
    parts = []
    for seed, trio in trios.items():
        tops = {
            objective: top(magnitude_score(of_rm), percent) for objective, of_rm in trio.items()
        }
        ablated_set = np.full(tops["mixed"].shape, NO_SET, dtype=object)
        for name, mask in trio_sets(*(tops[single] for single in SINGLES)).items():
            ablated_set[mask] = name
        for objective, of_rm in trio.items():
            own = backbone_score(of_rm)
            chosen, rejected = (side.sum / side.tokens for side in of_rm.sides)
            scores = {name: neuron_scores(name, of_rm, seed) for name in SCORES}
            sets = {
                "top": tops[objective],
                "backbone_top": top(own, percent),
                "ablated_set": ablated_set,
            }
            layers, neurons = (index.ravel() for index in np.indices(own.shape, dtype=np.int32))
            keys = {
                "backbone": backbone,
                "seed": seed,
                "objective": objective,
                "layer": layers,
                "neuron": neurons,
            }
            columns = {
                "chosen": chosen,
                "rejected": rejected,
                **scores,
                "backbone_mean": own,
                **sets,
            }
            parts.append(
                pd.DataFrame(keys | {name: values.ravel() for name, values in columns.items()})
            )
    categories = pd.CategoricalDtype([NO_SET, *SETS])
    return pd.concat(parts, ignore_index=True).astype(
        {"backbone": "category", "objective": "category", "ablated_set": categories}
    )


@dataclass(frozen=True)
class Neurons:
    """One backbone's columns of `neuron_table`, by objective: float64 or bool [seeds, layers, neurons]."""

    seeds: list[int]
    magnitude: dict[str, BySeed]
    absolute: dict[str, BySeed]
    chosen: dict[str, BySeed]
    rejected: dict[str, BySeed]
    backbone: dict[str, BySeed]  # the backbone's own magnitude, on the RM's texts

    @classmethod
    def of_table(cls, table: pd.DataFrame) -> "Neurons":
        """Return the rows of `neuron_table` as arrays."""
        seeds = list(map(int, table["seed"].unique()))
        shape = (len(seeds), 1 + table["layer"].max(), 1 + table["neuron"].max())
        parts = {
            str(objective): rows
            for objective, rows in table.groupby("objective", observed=True, sort=False)
        }

        def by_objective(column: str) -> dict[str, BySeed]:
            return {
                objective: rows[column].to_numpy().reshape(shape)
                for objective, rows in parts.items()
            }

        return cls(
            seeds,
            *map(by_objective, ("magnitude", "absolute", "chosen", "rejected", "backbone_mean")),
        )


def as_published_score(neurons: Neurons, objective: str) -> Scores:
    """Return the released code's magnitude score [layers, neurons].

    Of each side the mean over seeds first, which is then clamped at 0, and then the mean of the two sides (erratum 2).
    """
    chosen, rejected = (
        np.maximum(side[objective].mean(axis=0), 0) for side in (neurons.chosen, neurons.rejected)
    )
    return np.asarray((chosen + rejected) / 2)


def clamped_top(scores: Scores, percent: float) -> Mask:
    """The released code's selection from scores clamped at 0: every neuron at or above the percentile (erratum 2).

    Where fewer than `percent` of the scores are positive, the threshold is 0 and all neurons are selected.
    """
    return np.asarray(scores >= np.percentile(scores, 100 - percent))


def tops_by_variant(neurons: Neurons, percent: float) -> dict[str, dict[str, Mask]]:
    """By variant and objective, the top neurons by the seeds' mean score: never none, unlike the items of a task."""
    return {
        "corrected": {
            objective: top(scores.mean(axis=0), percent)
            for objective, scores in neurons.magnitude.items()
        },
        "as_published": {
            objective: clamped_top(as_published_score(neurons, objective), percent)
            for objective in neurons.magnitude
        },
    }


def rmsd(chosen: BySeed, rejected: BySeed, weights: NDArray[np.integer] | None = None) -> float:
    """Mean over neuron positions of the root mean square, over layers, of the seeds' mean difference (Table 16)."""
    mean = np.average(chosen - rejected, axis=0, weights=weights)
    return float(np.sqrt((mean**2).mean(axis=0)).mean())


def mean_top_score(
    magnitude: BySeed, percent: float, weights: NDArray[np.integer] | None = None
) -> float:
    """Mean |score| of the top neurons by the seeds' mean score."""
    mean = np.average(magnitude, axis=0, weights=weights)
    return float(np.abs(mean[top(mean, percent)]).mean())


def jaccard(a: Mask, b: Mask) -> float:
    """|a and b| / |a or b|."""
    return float(np.count_nonzero(a & b) / np.count_nonzero(a | b))


def neuron_retention(tops: Mapping[str, Mask]) -> float:
    """|(A or B) and M| / |A or B or M| of the top neurons of the helpful, harmless and mixed RM."""
    return jaccard(tops["helpful"] | tops["harmless"], tops["mixed"])


def rmsd_table(neurons: Neurons, percent: float) -> pd.DataFrame:
    """Columns objective, rmsd, mean_top_score."""
    rows = [
        (
            objective,
            rmsd(neurons.chosen[objective], neurons.rejected[objective]),
            mean_top_score(magnitude, percent),
        )
        for objective, magnitude in neurons.magnitude.items()
    ]
    return pd.DataFrame(rows, columns=["objective", "rmsd", "mean_top_score"])


def thirds(layers: int) -> NDArray[np.intp]:
    """The third of the depth, 0 to 2, that the middle of each block lies in: of 32 blocks 11, 10 and 11."""
    return (2 * np.arange(layers) + 1) * 3 // (2 * layers)


def thirds_as_published(layers: int) -> NDArray[np.intp]:
    """The third of each block as numpy.array_split deals them out: of 32 blocks 11, 11 and 10."""
    sizes = [len(part) for part in np.array_split(np.arange(layers), len(THIRDS))]
    return np.repeat(np.arange(len(THIRDS)), sizes)


SPLITS = {"corrected": thirds, "as_published": thirds_as_published}


def depth_table(neurons: Neurons, percent: float) -> pd.DataFrame:
    """Columns objective, seed, variant, third, neurons (of the top), share (of them), all_neurons (in that third).

    `corrected` has the top neurons of each RM; `as_published` those by `clamped_top` of `as_published_score`, in the
    thirds of `thirds_as_published`.
    """
    rows = []
    for objective, scores in neurons.magnitude.items():
        masks = [
            *(
                (seed, "corrected", top(one, percent))
                for seed, one in zip(neurons.seeds, scores, strict=True)
            ),
            (None, "as_published", clamped_top(as_published_score(neurons, objective), percent)),
        ]
        for (seed, variant, mask), (index, third) in product(masks, enumerate(THIRDS)):
            blocks = mask[SPLITS[variant](len(mask)) == index]
            rows.append((objective, seed, variant, third, int(blocks.sum()), blocks.size))
    frame = pd.DataFrame(rows, columns=[*DEPTH_KEYS, "neurons", "all_neurons"]).astype(
        {"seed": "Int64"}
    )
    return _with_share(frame)


def pooled_depth(depth: pd.DataFrame) -> pd.DataFrame:
    """The rows of `depth_table` of several backbones with their neurons summed."""
    keys = depth.groupby(DEPTH_KEYS, as_index=False, dropna=False, sort=False)
    return _with_share(keys[["neurons", "all_neurons"]].sum())


def _with_share(depth: pd.DataFrame) -> pd.DataFrame:
    total = depth.groupby(DEPTH_KEYS[:-1], dropna=False)["neurons"].transform("sum")
    return depth.assign(share=depth["neurons"] / total)


def overlap_table(neurons: Neurons, percent: float) -> pd.DataFrame:
    """Columns variant, objective_a, objective_b, jaccard, intersection, union, by the seeds' mean scores."""
    rows = []
    for variant, tops in tops_by_variant(neurons, percent).items():
        for a, b in PAIRS:
            both, either = int((tops[a] & tops[b]).sum()), int((tops[a] | tops[b]).sum())
            rows.append((variant, a, b, both / either, both, either))
    return pd.DataFrame(
        rows, columns=["variant", "objective_a", "objective_b", "jaccard", "intersection", "union"]
    )


def retention_table(neurons: Neurons, percent: float) -> pd.DataFrame:
    """Columns variant, retention, by the seeds' mean scores."""
    rows = [
        (variant, neuron_retention(tops))
        for variant, tops in tops_by_variant(neurons, percent).items()
    ]
    return pd.DataFrame(rows, columns=["variant", "retention"])


def backbone_table(neurons: Neurons, percent: float) -> pd.DataFrame:
    """Columns objective, seed, jaccard of the top neurons of an RM and of its backbone on the same texts."""
    rows = [
        (objective, seed, jaccard(top(one, percent), top(other, percent)))
        for objective, scores in neurons.magnitude.items()
        for seed, one, other in zip(neurons.seeds, scores, neurons.backbone[objective], strict=True)
    ]
    return pd.DataFrame(rows, columns=["objective", "seed", "jaccard"])


def sets_table(neurons: Neurons, percents: Iterable[int]) -> pd.DataFrame:
    """Columns seed, percent, ablated_set, corrected, as_published (neurons), blocks: sizes of the sets of each trio.

    `as_published` differs in the shared set alone: in a block in which one RM has no top neuron, it also has all of the
    other RM's (erratum 5). `blocks` counts the blocks in which that happens.
    """
    rows = []
    for (index, seed), percent in product(enumerate(neurons.seeds), percents):
        helpful, harmless = (top(neurons.magnitude[single][index], percent) for single in SINGLES)
        lone = helpful.any(axis=1) ^ harmless.any(axis=1)
        extra = (helpful ^ harmless)[lone]
        for name, mask in trio_sets(helpful, harmless).items():
            published = mask.sum() + (extra.sum() if name == "shared" else 0)
            rows.append((seed, percent, name, int(mask.sum()), int(published), int(lone.sum())))
    return pd.DataFrame(
        rows, columns=["seed", "percent", "ablated_set", "corrected", "as_published", "blocks"]
    )
