"""What tables and figures are made of: the analysed results as averages, the settings, the published numbers."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from rm_tension.analyse.averages import at, over_seeds, with_average, with_groups
from rm_tension.analyse.context import Context
from rm_tension.base.config import Profile
from rm_tension.base.errors import UserError
from rm_tension.evaluate.conditions import NONE


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

    @cached_property
    def accuracy(self) -> pd.DataFrame:
        """Unablated accuracy, indexed by backbone (and `average`), objective, task (and group)."""
        frame = self.table("accuracy")
        frame = frame.loc[frame["condition"] == str(NONE), ["backbone", "seed", "objective", "task", "accuracy"]]
        return with_average(over_seeds(with_groups(frame, "accuracy"), "accuracy"))

    def retention(self, measure: str) -> pd.DataFrame:
        """By the unablated mixed RM, indexed by backbone (and `average`), task (and group); `measure` is a column."""
        frame = self.table("retention")
        frame = frame.loc[frame["condition"] == str(NONE), ["backbone", "seed", "task", measure]]
        return with_average(over_seeds(with_groups(frame, measure), measure))

    @cached_property
    def hh_accuracy(self) -> pd.DataFrame:
        """Accuracy on HH-RLHF test files, indexed by backbone (and `average`), objective, condition, dataset."""
        frame = self.table("hh_accuracy").drop(columns=["items", "correct", "ties"]).assign(tasks=1)
        return with_average(over_seeds(frame, "accuracy"))

    @cached_property
    def magnitude(self) -> pd.DataFrame:
        """Ablation of the top neurons, indexed by measure, objective, backbone (and `average`), task (and group)."""
        frame = self.table("ablation_magnitude").query("percent == @self.task_percent")
        keys = ["objective", "backbone", "seed", "task"]
        measures = ("baseline_accuracy", "delta")
        means = {name: over_seeds(with_groups(frame[[*keys, name]], name), name) for name in measures}
        return with_average(pd.concat(means, names=["measure"]))

    @cached_property
    def shared_sets(self) -> pd.DataFrame:
        """Change of the mixed RM under ablation of each set, indexed by ablated_set (and baseline), backbone, task.

        The backbone `average` is among them.
        """
        frame = self.table("ablation_shared_sets").query("percent == @self.task_percent")
        changes = with_groups(frame[["ablated_set", "backbone", "seed", "task", "delta"]], "delta")
        baseline = pd.concat({"baseline": at(self.accuracy, objective="mixed")}, names=["ablated_set"])
        return pd.concat([with_average(over_seeds(changes, "delta")), baseline])

    def _file(self, name: str) -> Path:
        path = self.results / name
        if not path.exists():
            raise UserError(f"{path}: not found; run `dvc repro analyse@{self.context.profile}` again")
        return path
