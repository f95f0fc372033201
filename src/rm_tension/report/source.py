"""What tables and figures are made of: results, published numbers beside them, settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd

from rm_tension.analyse.comparison import PUBLISHED_CELL
from rm_tension.analyse.context import Context
from rm_tension.base.config import ROLES, Params, Profile
from rm_tension.base.files import read_json
from rm_tension.base.tables import read_table

T = TypeVar("T")
OURS = ["mean", "spread", "error", "tasks"]
CELL = [*OURS, *PUBLISHED_CELL, "difference", "beyond"]


@dataclass(frozen=True)
class Source:
    """The results of a profile; `results` is results/<profile>/.

    `backbones` maps the grid's names to those that a reader sees. `labels` and `colours` are of
    RMs, by role in the paper, and then by the names of `others`: objectives without one.
    """

    context: Context
    params: Params
    results: Path
    backbones: dict[str, str]
    labels: dict[str, str]
    colours: dict[str, str]
    roles: dict[str, str]  # by name of the objective: `Params.roles`

    @classmethod
    def of(cls, results: Path, profile: str, params: Params) -> "Source":
        """Open a profile's results; raise UserError if there are none."""
        backbones = params.profiles[profile].backbones
        names = {key: backbones[key].name for key in params.grid.axes(profile).backbones}
        context, roles = read_json(results / "context.json", Context), params.roles
        labels = {role: f"{params.styles[name].label} RM" for name, role in roles.items()}
        colours = {role: params.styles[name].color for name, role in roles.items()}
        return cls(context, params, results, names, labels, colours, roles)

    @property
    def settings(self) -> Profile:
        """The profile's settings."""
        return self.params.profiles[self.context.profile]

    @property
    def papers(self) -> dict[str, str]:
        """The labels of the paper's three RMs, by role."""
        return {role: self.labels[role] for role in ROLES}

    @property
    def others(self) -> dict[str, str]:
        """The labels of RMs of other objectives, by name."""
        return {name: label for name, label in self.labels.items() if name not in ROLES}

    @property
    def task_percent(self) -> int:
        """The share (%) of neurons that the ablations on the tasks take."""
        return self.context.task_percent

    def table(self, name: str, *columns: str) -> pd.DataFrame:
        """Read a tidy CSV; raise UserError if it is missing, or lacks one of `columns`."""
        return read_table(self.results / f"{name}.csv", columns)

    def by_role(self, name: str, *columns: str) -> pd.DataFrame:
        """Read a tidy CSV; its objectives are called as in `labels`."""
        return self.table(name, "objective", *columns).replace({"objective": self.roles})

    def record(self, name: str, kind: type[T]) -> T:
        """Read a JSON file; raise UserError if it is missing, or something else."""
        return read_json(self.results / f"{name}.json", kind)

    def means(self, name: str, *levels: str, **at: str | int) -> pd.DataFrame:
        """Return averages of `analyse.means` by file name: mean, spread, error, tasks.

        Indexed by `levels`, or by all keys; `at` selects one value of some keys and drops them.
        """
        return self._indexed(name, OURS, levels, at).dropna(subset=["mean"])[OURS]

    def compared(self, name: str, *levels: str, **at: str | int) -> pd.DataFrame:
        """Return `means` with the columns of CELL, the published values of `analyse.comparison`."""
        return self._indexed(name, CELL, levels, at)[CELL]

    def _indexed(
        self, name: str, columns: list[str], levels: tuple[str, ...], at: dict[str, str | int]
    ) -> pd.DataFrame:
        frame = self.table(f"means/{name}", *columns, *levels, *at)
        for key, value in at.items():
            frame = frame[frame[key] == value].drop(columns=key)
        return frame.set_index(list(levels) or [str(key) for key in frame if key not in CELL])
