"""What all stages share: one cell of the grid, its parameters and paths."""

import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from rm_tension.base import portable
from rm_tension.base.config import HubData, Params, Profile, load_params
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Model, Paths, Split, Trio
from rm_tension.base.tables import TOKENS, TRAINING, read_table


@dataclass(frozen=True)
class Job:
    """One cell of a stage; `cell` is what the command line said: profile, backbone, seed, ..."""

    params: Params
    profile: Profile
    paths: Paths
    cell: Mapping[str, Any]

    @classmethod
    def open(cls, profile: str, **axes: str | int) -> "Job":
        """Read params.yaml, and set threads and instructions as the profile asks.

        Raise UserError for a profile or cell that is not in the grid, and for code of another
        checkout.
        """
        _refuse_code_of_elsewhere()
        params = load_params()
        params.refuse_unknown([profile])
        grid = params.grid.axes(profile)
        known: dict[str, Any] = {"backbone": grid.backbones, "seed": grid.seeds}
        known["objective"] = params.grid.objectives
        for axis, value in axes.items():
            if value not in known[axis]:
                names = ", ".join(map(str, known[axis]))
                raise UserError(f"--{axis} {value}: profile {profile} has {names}")
        settings = params.profiles[profile]
        if settings.portable:
            portable.require(profile)
        torch = sys.modules.get("torch")  # stages without it must not pay for its import
        if settings.threads and torch is not None:
            torch.set_num_threads(settings.threads)
        return cls(params, settings, Paths(profile), {"profile": profile, **axes})

    @property
    def backbone(self) -> str:
        return str(self.cell["backbone"])

    @property
    def trio(self) -> Trio:
        return Trio(self.backbone, self.cell["seed"])

    @property
    def model(self) -> Model:
        return self.trio.model(self.cell["objective"])

    def tokens(self, split: Split) -> Path:
        """Return the table of the backbone's tokens."""
        return self.paths.tokens(self.backbone, split)

    def pairs(self, split: Literal["train", "test"], objective: str | None = None) -> pd.DataFrame:
        """Return tokenised pairs, all or an objective's, with those that are too long.

        Their index is that of all pairs. Raise UserError if there are none.
        """
        table = read_table(self.tokens(split), TRAINING if split == "train" else TOKENS)
        if objective is None:
            return table
        wanted = getattr(self.params.objectives[objective], split)
        table = table[table["subset"].isin(wanted)]
        if table.empty:
            raise UserError(f"{self.tokens(split)}: no pairs of {', '.join(wanted)}")
        return table

    def refuse_leftovers(self, expected: Iterable[Path]) -> None:
        """Raise UserError if folders hold more of a kind (a suffix) than the expected paths.

        DVC would record what a seed that is no longer in params.yaml has left in such a folder.
        """
        kinds: dict[tuple[Path, str], set[str]] = {}
        for path in expected:
            kinds.setdefault((path.parent, path.suffix), set()).add(path.name)
        leftovers = []
        for (folder, suffix), names in kinds.items():
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                hidden = path.name.startswith((".", "#"))  # of editors and systems: .dvcignore
                if path.suffix == suffix and path.name not in names and not hidden:
                    leftovers.append(str(path))
        if leftovers:
            raise UserError(
                f"{', '.join(leftovers)}: of no cell in params.yaml; put it back there, or `rm -r "
                f"{shlex.join(leftovers)}` (DVC's cache keeps what it has recorded)"
            )

    @property
    def stand_ins(self) -> str | None:
        """Return what the profile says of files that it takes for official ones, if it does."""
        source = self.profile.data.source
        return source.stand_ins if isinstance(source, HubData) else None

    def parameters(self, section: str) -> dict[str, Any]:
        """Return for the run record the cell and the section of params.yaml that decides it."""
        value = getattr(self.profile, section)
        if section == "backbones":
            value = value[self.backbone]
        return {**self.cell, section: value.model_dump()}


def _refuse_code_of_elsewhere() -> None:
    """Raise UserError if the code that runs is not this checkout's, which DVC records."""
    source, running = Path("src/rm_tension"), Path(__file__).parents[1]
    if source.is_dir() and not source.samefile(running):
        raise UserError(
            f"{source.absolute()}: not the code that runs, which is {running}: set PYTHONPATH=src "
            "(before `dvc exp run --temp`, too), or `make setup` in this checkout and use its "
            "environment"
        )
