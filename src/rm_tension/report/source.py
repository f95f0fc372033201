"""What tables and figures are made of: the analysed results, the settings, the published numbers."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rm_tension.analyse.context import Context
from rm_tension.base.config import Profile
from rm_tension.base.errors import UserError


@dataclass(frozen=True)
class Source:
    """`results` is results/<profile>/, `reference` the folder of the published numbers.

    `backbones` maps the grid's names to those that a reader sees.
    """

    context: Context
    settings: Profile
    results: Path
    reference: Path
    backbones: dict[str, str]

    @property
    def task_percent(self) -> int:
        return self.context.task_percent

    def table(self, name: str) -> pd.DataFrame:
        """One of the tidy CSVs; raises UserError if it is missing."""
        return pd.read_csv(self._file(f"{name}.csv"))

    def record(self, name: str) -> Any:
        """One of the JSON files; raises UserError if it is missing."""
        return json.loads(self._file(f"{name}.json").read_text(encoding="utf-8"))

    def means(self, name: str, *levels: str, **at: str | int) -> pd.DataFrame:
        """Averages of `analyse.means` by file name: mean, spread, tasks.

        Indexed by `levels`, or by all of its keys; `at` selects the value of some of them, which are then left out.
        """
        frame = self.table(f"means/{name}")
        for key, value in at.items():
            frame = frame[frame[key] == value].drop(columns=key)
        return frame.set_index(list(levels) or [str(key) for key in frame if key not in {"mean", "spread", "tasks"}])

    def _file(self, name: str) -> Path:
        path = self.results / name
        if not path.exists():
            raise UserError(f"{path}: not found; run `dvc repro analyse@{self.context.profile}` again")
        return path
