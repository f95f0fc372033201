"""Bootstrap replicates over items, crossed with seeds within backbones (METHOD.md section 7).

All trios answer the same items, so an item that is drawn counts for all of them: draws of their own would average the
items' luck away. The backbones are fixed, because the claims are about these. Of n seeds, n - 1 are drawn (the rescaled
bootstrap of Rao and Wu, 1988): the mean of n of n would vary too little, by the factor (n - 1) / n.

Every statistic is a frame with the rows of `Replicates.index`, so whatever is computed from such frames row by row
carries its interval along.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_tension.base.grid import Trio

RESAMPLES = 1000
Counts = NDArray[np.int64]
# The first level of a frame's index.
ESTIMATE = "estimate"  # the data as they are
DRAWN = "drawn"  # items and seeds drawn, backbones fixed
LEFT_OUT = "left out"  # the data without one trio: the jackknife, by backbone and seed
DRAWN_BACKBONES = "drawn backbones"  # items, backbones and seeds drawn


def resample_items(
    sums: pd.DataFrame, universe: NDArray[np.int64], name: str, resamples: int
) -> pd.DataFrame:
    """Columns of `sums` (one row per item, its index) summed over the items, and over items drawn with replacement.

    Row 0 has the items as they are, each of the other `resamples` rows as many of `universe` as it has, drawn by a
    generator that its `name` seeds: whoever names the same universe counts the same draws, of the items that they have.
    """
    size = len(universe)
    drawn = np.random.default_rng(list(name.encode())).integers(0, size, (resamples, size))
    counts = np.bincount(
        (drawn + size * np.arange(resamples)[:, None]).ravel(), minlength=resamples * size
    )
    weights = np.concatenate([np.ones((1, size)), counts.reshape(resamples, size)])
    here = pd.Index(universe).get_indexer(sums.index)
    return pd.DataFrame(weights[:, here] @ sums.to_numpy(dtype=np.float64), columns=sums.columns)


@dataclass(frozen=True)
class Replicates:
    """How often each trio counts in each row of a statistic's frame.

    In row r, `slots[r, j]` is the j-th of its backbones (an index into `seeds`), `counts[r, j, s]` how often that
    backbone's s-th seed counts (0 where it has fewer), and `items[r]` the row of `resample_items`.
    """

    seeds: dict[str, list[int]]  # by backbone
    index: pd.MultiIndex  # [rows]: what the row is; of LEFT_OUT the backbone and the seed, of draws "" and their number
    items: Counts  # [rows]
    slots: Counts  # [rows, slots]
    counts: Counts  # [rows, slots, seeds]

    @classmethod
    def draw(cls, trios: Sequence[Trio], rng: np.random.Generator, resamples: int) -> "Replicates":
        """The estimate, `resamples` draws with the backbones fixed, the jackknife, and draws of backbones as well."""
        seeds: dict[str, list[int]] = {}
        for trio in trios:
            seeds.setdefault(trio.backbone, []).append(trio.seed)
        several = [
            (i, j) for i, own in enumerate(seeds.values()) if len(own) > 1 for j in range(len(own))
        ]
        numbers = range(1, 1 + resamples)
        names = list(seeds)
        index = pd.MultiIndex.from_tuples(
            [
                (ESTIMATE, "", 0),
                *((DRAWN, "", number) for number in numbers),
                *((LEFT_OUT, names[i], seeds[names[i]][j]) for i, j in several),
                *((DRAWN_BACKBONES, "", number) for number in numbers),
            ],
            names=["what", "backbone", "number"],
        )
        items = np.array([0, *numbers, *[0] * len(several), *numbers])
        slots = np.tile(np.arange(len(seeds)), (len(index), 1))
        slots[-resamples:] = rng.integers(0, len(seeds), (resamples, len(seeds)))
        draws = index.get_level_values("what").isin([DRAWN, DRAWN_BACKBONES])
        counts = np.zeros((*slots.shape, max(map(len, seeds.values()))), dtype=np.int64)
        for i, own in enumerate(seeds.values()):
            n = len(own)
            counts[slots == i, :n] = 1
            if n > 1:  # of a single seed nothing says how much seeds differ
                here = (slots == i) & draws[:, None]
                counts[here, :n] = rng.multinomial(n - 1, [1 / n] * n, size=here.sum())
        for row, (i, j) in enumerate(several, start=1 + resamples):
            counts[row, i, j] = 0
        return cls(seeds, index, items, slots, counts)

    def of_backbone(self, backbone: str) -> "Replicates":
        """The same draws of items and of one backbone's seeds; the rows that draw backbones have no value."""
        fixed = self.index.get_level_values("what") != DRAWN_BACKBONES
        i = list(self.seeds).index(backbone)
        counts = np.where(fixed[:, None, None], self.counts[:, [i]], 0)
        return Replicates(
            {backbone: self.seeds[backbone]},
            self.index,
            self.items,
            np.zeros_like(self.slots[:, [i]]),
            counts,
        )

    def weights(self) -> pd.DataFrame:
        """The share of each trio, in columns (backbone, seed), in the mean over backbones of the means over seeds."""
        with np.errstate(invalid="ignore"):
            shares = self.counts / self.counts.sum(axis=2, keepdims=True) / self.slots.shape[1]
        return pd.DataFrame(
            {
                (backbone, seed): (shares[:, :, j] * (self.slots == i)).sum(axis=1)
                for i, (backbone, own) in enumerate(self.seeds.items())
                for j, seed in enumerate(own)
            },
            index=self.index,
        )

    def mean_of_trios(self, frames: Mapping[Trio, pd.DataFrame]) -> pd.DataFrame:
        """The mean over backbones of the means over seeds of `resample_items`' statistics of trios.

        A trio without a value is left out of the mean. Row by row, all trios bring the same draw of the items.
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
        """The mean over backbones of a statistic that needs all seeds of a backbone at once.

        `statistic` takes a backbone and how often each of its seeds counts; it is called once for each different
        count. Only the estimate has a value where a backbone has one seed alone: nothing then says how much it varies.
        """
        total: NDArray[np.float64] | float = 0.0
        columns = None
        for i, (backbone, own) in enumerate(self.seeds.items()):
            rows, slots = np.nonzero(self.slots == i)
            different, which = np.unique(
                self.counts[rows, slots, : len(own)], axis=0, return_inverse=True
            )
            values = pd.DataFrame([statistic(backbone, counts) for counts in different])
            columns = values.columns
            of_slots = np.zeros((*self.slots.shape, len(columns)))
            of_slots[rows, slots] = values.to_numpy()[which.ravel()]
            total = total + of_slots.sum(axis=1)
        return self.without_spread(
            pd.DataFrame(total / self.slots.shape[1], index=self.index, columns=columns)
        )

    def without_spread(self, frame: pd.DataFrame) -> pd.DataFrame:
        """NaN in all rows but the estimate's if a backbone has one seed alone, for statistics that vary with seeds."""
        single = min(map(len, self.seeds.values())) == 1
        return frame.iloc[:1].reindex(frame.index) if single else frame
