"""A bootstrap over items, crossed with one over seeds within backbones (METHOD.md section 7).

All trios answer the same items, so that an item that is drawn counts for all of them: draws of their own would average
the items' luck away, over trios that share it.

Statistics are frames of 1 + RESAMPLES rows. Row 0 is the estimate, from the data as they are; every other row is the
same statistic of one resample, so that whatever is computed from such frames row by row carries its interval along.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_tension.base.grid import Trio

RESAMPLES = 1000
Counts = NDArray[np.int64]


def resample_items(sums: pd.DataFrame, universe: NDArray[np.int64], name: str, resamples: int) -> pd.DataFrame:
    """Columns of `sums` (one row per item, its index) summed over the items, and over items drawn with replacement.

    Drawn are as many of `universe` as it has, by a generator that its `name` seeds: whoever names the same universe
    counts the same draws, of the items that they have.
    """
    size = len(universe)
    drawn = np.random.default_rng(list(name.encode())).integers(0, size, (resamples, size))
    counts = np.bincount((drawn + size * np.arange(resamples)[:, None]).ravel(), minlength=resamples * size)
    weights = np.concatenate([np.ones((1, size)), counts.reshape(resamples, size)])
    here = pd.Index(universe).get_indexer(sums.index)
    return pd.DataFrame(weights[:, here] @ sums.to_numpy(dtype=np.float64), columns=sums.columns)


@dataclass(frozen=True)
class Draws:
    """Backbones drawn with replacement, and for each of them seeds; `slots` holds indices into `backbones`.

    `counts` says how often each seed of the slot's backbone was drawn: int [rows, slots, seeds], zero where it has
    fewer. Row 0 takes every trio once.
    """

    seeds: dict[str, list[int]]  # by backbone
    slots: Counts  # [rows, slots]
    counts: Counts

    @classmethod
    def of(cls, trios: Sequence[Trio], rng: np.random.Generator, resamples: int) -> "Draws":
        seeds: dict[str, list[int]] = {}
        for trio in trios:
            seeds.setdefault(trio.backbone, []).append(trio.seed)
        slots = rng.integers(0, len(seeds), (1 + resamples, len(seeds)))
        slots[0] = np.arange(len(seeds))
        counts = np.zeros((*slots.shape, max(map(len, seeds.values()))), dtype=np.int64)
        for index, found in enumerate(seeds.values()):
            here = slots == index
            counts[here, : len(found)] = rng.multinomial(len(found), [1 / len(found)] * len(found), size=here.sum())
            counts[0, index, : len(found)] = 1
        return cls(seeds, slots, counts)

    def of_seeds(self, backbone: str) -> "Draws":
        """The same number of draws of one backbone's seeds: those of the slots that hold it, over and over."""
        index = list(self.seeds).index(backbone)
        found = self.counts[self.slots == index][: len(self.slots)]
        counts = np.resize(found, (len(self.slots), 1, found.shape[1]))
        return Draws({backbone: self.seeds[backbone]}, np.zeros((len(self.slots), 1), dtype=np.int64), counts)

    def weights(self) -> pd.DataFrame:
        """The share of each trio, in columns (backbone, seed), in the mean over backbones of the means over seeds."""
        shares = self.counts / self.counts.sum(axis=2, keepdims=True) / self.slots.shape[1]
        return pd.DataFrame(
            {
                (backbone, seed): (shares[:, :, place] * (self.slots == index)).sum(axis=1)
                for index, (backbone, found) in enumerate(self.seeds.items())
                for place, seed in enumerate(found)
            }
        )

    def of_trios(self, frames: Mapping[Trio, pd.DataFrame]) -> pd.DataFrame:
        """The mean over backbones of the means over seeds of statistics of trios, over the trios that have a value.

        Row by row, all trios bring the same resample of the items.
        """
        weights = self.weights()
        columns = next(iter(frames.values())).columns
        total, share = (np.zeros((len(self.slots), len(columns))) for _ in range(2))
        for trio, frame in frames.items():
            values = frame.reindex(columns=columns).to_numpy()
            weight = weights[trio.backbone, trio.seed].to_numpy()[:, None] * np.isfinite(values)
            total += weight * np.nan_to_num(values)
            share += weight
        with np.errstate(invalid="ignore"):
            return pd.DataFrame(total / share, columns=columns)

    def of_backbones(self, statistic: Callable[[str, Counts], pd.Series]) -> pd.DataFrame:
        """The mean over backbones of a statistic that needs all seeds of a backbone at once.

        `statistic` takes a backbone and how often each of its seeds counts; it is called once for each different
        draw, of which three seeds have ten.
        """
        total: NDArray[np.float64] | float = 0.0
        columns = None
        for index, (backbone, found) in enumerate(self.seeds.items()):
            rows, slots = np.nonzero(self.slots == index)
            draws, which = np.unique(self.counts[rows, slots, : len(found)], axis=0, return_inverse=True)
            values = pd.DataFrame([statistic(backbone, draw) for draw in draws])
            columns = values.columns
            of_slots = np.zeros((*self.slots.shape, len(columns)))
            of_slots[rows, slots] = values.to_numpy()[which.ravel()]
            total = total + of_slots.sum(axis=1)
        return self.without_spread(pd.DataFrame(total / self.slots.shape[1], columns=columns))

    def without_spread(self, frame: pd.DataFrame) -> pd.DataFrame:
        """NaN in all rows but the first if there is a single trio: nothing then says how much a statistic varies."""
        single = sum(map(len, self.seeds.values())) == 1
        return frame.iloc[:1].reindex(frame.index) if single else frame
