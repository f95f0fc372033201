"""Bootstrap replicates over items, crossed with seeds within backbones (METHOD.md section 7).

All trios answer the same items, so an item that is drawn counts for all of them: draws of their own
would average the items' luck away. The backbones are fixed, because the claims are about these. Of
n seeds, n - 1 are drawn (the rescaled bootstrap of Rao and Wu, 1988): the mean of n of n would vary
too little, by the factor (n - 1) / n.

Every statistic is a frame with the rows of `Replicates.index`, so whatever is computed from such
frames row by row carries its interval along.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_tension.analyse.outcomes import STYLES
from rm_tension.base.grid import Trio

RESAMPLES = 1000
Weights = NDArray[np.float64]  # [1 + resamples, prompts or items]
Counts = NDArray[np.int64]
# The first level of a frame's index.
ESTIMATE = "estimate"  # the data as they are
DRAWN = "drawn"  # items and seeds drawn, backbones fixed
LEFT_OUT = "left out"  # the data without one trio: the jackknife, by backbone and seed
DRAWN_BACKBONES = "drawn backbones"  # items, backbones and seeds drawn


def draw_items(layout: pd.DataFrame, resamples: int) -> Weights:
    """Return how often each prompt of `answer_layout` counts, float64 [1 + resamples, prompts].

    Row 0 has each prompt once. In every other row each (dataset, subset) has as many of its prompts
    as there are, drawn with replacement by a generator that the subset's name seeds: trios,
    objectives and conditions share the draws. Whole prompts are drawn, so that the three styles of
    an RM-Bench prompt stay together.
    """
    weights = np.ones((1 + resamples, int(layout["item"].max()) // STYLES + 1))
    for (dataset, subset), items in layout.groupby(["dataset", "subset"], sort=False)["item"]:
        prompts = (items // STYLES).unique()
        rng = np.random.default_rng(list(f"{dataset}/{subset}".encode()))
        drawn = rng.integers(0, len(prompts), (resamples, len(prompts)))
        rows = len(prompts) * np.arange(resamples)[:, None]  # one bincount for all rows
        counts = np.bincount((drawn + rows).ravel(), minlength=drawn.size)
        weights[1:, prompts] = counts.reshape(drawn.shape)
    return weights


@dataclass(frozen=True)
class Replicates:
    """Two-stage cluster bootstrap: the backbones of a row, and how often each seed counts.

    In row r, `slots[r, j]` is the backbone drawn j-th (an index into `seeds`), `counts[r, j, s]`
    how often its s-th seed counts (0 where it has fewer), and `items[r]` the row of `draw_items`.
    In `index`, a row of LEFT_OUT has the backbone and the seed, others "" and their number.
    """

    seeds: dict[str, list[int]]  # by backbone
    index: pd.MultiIndex  # [rows]: what, backbone, number
    items: Counts  # [rows]
    slots: Counts  # [rows, slots]
    counts: Counts  # [rows, slots, seeds]

    @classmethod
    def draw(cls, trios: Sequence[Trio], rng: np.random.Generator, resamples: int) -> "Replicates":
        """Draw `resamples` rows with the backbones fixed, and as many of several backbones.

        Before them stands the estimate, between them the jackknife: each trio left out whose
        backbone has several.
        """
        seeds: dict[str, list[int]] = {}
        for trio in trios:
            seeds.setdefault(trio.backbone, []).append(trio.seed)
        left_out = [
            (LEFT_OUT, backbone, seed)
            for backbone, own in seeds.items()
            if len(own) > 1
            for seed in own
        ]
        numbers = range(1, 1 + resamples)
        over = numbers if len(seeds) > 1 else ()  # one says nothing of how backbones differ
        rows = [(ESTIMATE, "", 0), *((DRAWN, "", number) for number in numbers), *left_out]
        rows += [(DRAWN_BACKBONES, "", number) for number in over]
        index = pd.MultiIndex.from_tuples(rows, names=["what", "backbone", "number"])
        items = np.array([0, *numbers, *[0] * len(left_out), *over])
        slots = np.tile(np.arange(len(seeds)), (len(index), 1))
        if over:
            slots[-resamples:] = rng.integers(0, len(seeds), (resamples, len(seeds)))
        drawn = index.get_level_values("what").isin([DRAWN, DRAWN_BACKBONES])
        counts = _draw_seeds(list(map(len, seeds.values())), slots, drawn, rng)
        places = list(seeds)
        for row, (_, backbone, seed) in enumerate(left_out, start=1 + resamples):
            counts[row, places.index(backbone), seeds[backbone].index(seed)] = 0
        return cls(seeds, index, items, slots, counts)

    def of_backbone(self, backbone: str) -> "Replicates":
        """Return the same draws of items and of one backbone's seeds.

        The rows that draw backbones have no value.
        """
        place = list(self.seeds).index(backbone)
        fixed = self.index.get_level_values("what") != DRAWN_BACKBONES
        counts = np.where(fixed[:, None, None], self.counts[:, [place]], 0)
        own = {backbone: self.seeds[backbone]}
        return replace(self, seeds=own, slots=np.zeros_like(self.slots[:, [place]]), counts=counts)

    def weights(self) -> pd.DataFrame:
        """Return each trio's share in the mean over backbones of the means over seeds.

        [rows, trios]; columns backbone and seed.
        """
        with np.errstate(invalid="ignore"):
            shares = self.counts / self.counts.sum(axis=2, keepdims=True) / self.slots.shape[1]
        columns = {}
        for place, (backbone, own) in enumerate(self.seeds.items()):
            drawn = self.slots == place
            for j, seed in enumerate(own):
                columns[backbone, seed] = (shares[:, :, j] * drawn).sum(axis=1)
        return pd.DataFrame(columns, index=self.index)

    def mean_of_trios(self, frames: Mapping[Trio, pd.DataFrame]) -> pd.DataFrame:
        """Return the mean over backbones of the means over seeds of statistics of trios.

        The frames have the rows of `draw_items`: row by row, all trios bring the same draw of the
        items. A trio without a value is left out of the mean.
        """
        weights = self.weights()
        columns = next(iter(frames.values())).columns
        total, share = (np.zeros((len(self.index), len(columns))) for _ in range(2))
        for trio, frame in frames.items():
            values = frame.reindex(columns=columns).to_numpy()[self.items]
            weight = weights[trio.backbone, trio.seed].to_numpy()[:, None] * np.isfinite(values)
            total += weight * np.nan_to_num(values)
            share += weight
        with np.errstate(invalid="ignore"):
            return pd.DataFrame(total / share, index=self.index, columns=columns)

    def mean_of_backbones(self, statistic: Callable[[str, Counts], pd.Series]) -> pd.DataFrame:
        """Return the mean over backbones of a statistic that needs all seeds of a backbone at once.

        `statistic` takes a backbone and how often each of its seeds counts; it is called once for
        each different count. Only the estimate has a value where a backbone has one seed alone:
        nothing then says how much it varies.
        """
        total: NDArray[np.float64] | float = 0.0
        columns = None
        for place, (backbone, own) in enumerate(self.seeds.items()):
            rows, slots = np.nonzero(self.slots == place)
            different, which = np.unique(
                self.counts[rows, slots, : len(own)], axis=0, return_inverse=True
            )
            values = pd.DataFrame([statistic(backbone, counts) for counts in different])
            columns = values.columns
            of_slots = np.zeros((*self.slots.shape, len(columns)))
            of_slots[rows, slots] = values.to_numpy()[which.ravel()]
            total = total + of_slots.sum(axis=1)
        mean = total / self.slots.shape[1]
        return self.without_spread(pd.DataFrame(mean, index=self.index, columns=columns))

    def without_spread(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return NaN but for the estimate if a backbone has one seed alone.

        For statistics that vary with seeds.
        """
        single = min(map(len, self.seeds.values())) == 1
        return frame.iloc[:1].reindex(frame.index) if single else frame


def _draw_seeds(
    sizes: list[int], slots: Counts, drawn: NDArray[np.bool_], rng: np.random.Generator
) -> Counts:
    """Return how often each seed counts [rows, slots, seeds]: once, or drawn in `drawn` rows."""
    counts = np.zeros((*slots.shape, max(sizes)), dtype=np.int64)
    for place, n in enumerate(sizes):
        counts[slots == place, :n] = 1
        if n > 1:  # of a single seed nothing says how much seeds differ
            random = (slots == place) & drawn[:, None]
            counts[random, :n] = rng.multinomial(n - 1, [1 / n] * n, size=random.sum())
    return counts
