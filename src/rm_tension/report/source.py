"""What tables and figures are made of: the analysed results, the published numbers beside them, the settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd

from rm_tension.analyse.comparison import PUBLISHED_CELL
from rm_tension.analyse.context import Context
from rm_tension.base.config import Params, Profile
from rm_tension.base.files import read_json
from rm_tension.base.provenance import Provenance
from rm_tension.base.tables import damaged, read_table

T = TypeVar("T")
OURS = ["mean", "spread", "error", "tasks"]
CELL = [*OURS, *PUBLISHED_CELL, "difference", "beyond"]


@dataclass(frozen=True)
class Source:
    """`results` is results/<profile>/.

    `backbones` maps the grid's names to those that a reader sees.
    """

    context: Context
    settings: Profile
    results: Path
    backbones: dict[str, str]

    @classmethod
    def of(cls, results: Path, profile: str, params: Params) -> "Source":
        """Raises UserError if there are no results."""
        settings = params.profiles[profile]
        names = {key: settings.backbones[key].name for key in params.grid.axes(profile).backbones}
        return cls(read_json(results / "context.json", Context), settings, results, names)

    @property
    def task_percent(self) -> int:
        return self.context.task_percent

    def table(self, name: str, *columns: str) -> pd.DataFrame:
        """One of the tidy CSVs; raises UserError if it is missing, or lacks one of `columns`."""
        return read_table(self.results / f"{name}.csv", columns)

    def record(self, name: str, kind: type[T]) -> T:
        """One of the JSON files; raises UserError if it is missing, or something else."""
        return read_json(self.results / f"{name}.json", kind)

    def provenance(self) -> Provenance:
        """What was loaded from the hub."""
        return self.record("provenance", Provenance)

    def means(self, name: str, *levels: str, **at: str | int) -> pd.DataFrame:
        """Averages of `analyse.means` by file name: mean, spread, error, tasks.

        Indexed by `levels`, or by all of its keys; `at` selects the value of some of them, which are then left out.
        """
        return self._indexed(name, OURS, levels, at).dropna(subset=["mean"])[OURS]

    def compared(self, name: str, *levels: str, **at: str | int) -> pd.DataFrame:
        """As `means`, with the columns of CELL: the published value beside each, from `analyse.comparison`."""
        return self._indexed(name, CELL, levels, at)[CELL]

    def _indexed(
        self, name: str, columns: list[str], levels: tuple[str, ...], at: dict[str, str | int]
    ) -> pd.DataFrame:
        frame = self.table(f"means/{name}", *columns, *levels, *at)
        for key, value in at.items():
            frame = frame[frame[key] == value].drop(columns=key)
        frame = frame.set_index(list(levels) or [str(key) for key in frame if key not in CELL])
        if frame.index.has_duplicates:
            raise damaged(self.results / f"means/{name}.csv", "two rows of the same keys")
        return frame
