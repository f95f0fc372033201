"""What all stages share: arguments, parameters, and errors without a traceback."""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from rm_tension.base import portable
from rm_tension.base.config import HubData, Objective, Params, Profile, load_params
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Model, Paths, Split, Trio
from rm_tension.base.surroundings import check
from rm_tension.base.tables import TOKENS, TRAINING, read_table


@dataclass(frozen=True)
class Job:
    """One cell of a stage: everything that was on the command line or in params.yaml."""

    params: Params
    profile: Profile
    paths: Paths
    arguments: argparse.Namespace

    @property
    def trio(self) -> Trio:
        return Trio(self.arguments.backbone, self.arguments.seed)

    @property
    def model(self) -> Model:
        return self.trio.model(self.arguments.objective)

    def tokens(self, split: Split) -> Path:
        """Those of the backbone's tokenizer."""
        return self.paths.tokens(self.arguments.backbone, split)

    def pairs(self, split: Literal["train", "test"], objective: Objective | None = None) -> pd.DataFrame:
        """Return tokenised pairs, all or an objective's, under the index of all, with those that are too long.

        Raises UserError if there are none.
        """
        table = read_table(self.tokens(split), TRAINING if split == "train" else TOKENS)
        if objective is None:
            return table
        wanted = getattr(self.params.grid.pairs[objective], split)
        table = table[table["subset"].isin(wanted)]
        if table.empty:
            raise UserError(f"{self.tokens(split)}: no pairs of {', '.join(wanted)}")
        return table

    @property
    def stand_ins(self) -> str | None:
        """What the profile says of the files that it takes for official ones; None if it takes none."""
        source = self.profile.data.source
        return source.stand_ins if isinstance(source, HubData) else None

    @property
    def hub_sums(self) -> Path | None:
        """Where the sha256 of downloads are; None if stand-ins are accepted, which are not what the hub has."""
        return None if self.stand_ins else self.paths.hub_sums

    def checkpoint_files(self) -> list[Path]:
        """The weights of the trio's backbone and reward models."""
        models = [self.paths.reward_model(self.trio.model(objective)) for objective in self.params.grid.objectives]
        folders = [self.paths.backbone(self.trio.backbone), *models]
        return [path for folder in folders for path in sorted(folder.glob("*.safetensors"))]

    def fitting(self, tokens: int) -> int:
        """How many tokens go through a model at a time: half as many, once the launcher saw that memory was short."""
        return tokens // 2 if os.environ.get("RM_TENSION_HALF_BUDGET") else tokens

    def parameters(self, section: str) -> dict[str, Any]:
        """What a run record keeps: the cell of the grid and the section of params.yaml that decides it."""
        value = getattr(self.profile, section)
        if section == "backbones":
            value = value[self.arguments.backbone]
        return {**vars(self.arguments), section: value.model_dump()}


def _refuse_code_of_elsewhere() -> None:
    """DVC records the code of this checkout; the code that runs may be another's, installed in the environment."""
    here, running = Path("src/rm_tension"), Path(__file__).parents[1]
    if here.is_dir() and not here.samefile(running):
        raise UserError(
            f"{here.absolute()}: not the code that runs, which is {running}: set PYTHONPATH={here.parent.absolute()}, "
            "or `make setup` in this checkout and use its environment"
        )


def _refuse_cells_outside(params: Params, arguments: argparse.Namespace) -> None:
    axes = params.grid.axes(arguments.profile)
    for name, there in (("backbone", axes.backbones), ("seed", axes.seeds)):
        if getattr(arguments, name, there[0]) not in there:
            known = ", ".join(map(str, there))
            raise UserError(f"--{name} {getattr(arguments, name)}: profile {arguments.profile} has {known}")


def main(stage: Callable[[Job], None], *axes: str) -> None:
    """Parse `--profile` and the axes of the grid that the stage has, then run it; exits 1 on a UserError."""
    try:
        _refuse_code_of_elsewhere()
        params = load_params()
        every = (params.grid.whole, params.grid.trio)
        choices = {
            "backbone": dict.fromkeys(backbone for axes in every for backbone in axes.backbones),
            "objective": params.grid.objectives,
            "seed": dict.fromkeys(seed for axes in every for seed in axes.seeds),
        }
        module = sys.modules[stage.__module__]
        name = ((module.__spec__ and module.__spec__.name) or "").removesuffix(".__main__")
        parser = argparse.ArgumentParser(prog=f"python -m {name}", description=module.__doc__)
        parser.add_argument("--profile", required=True, choices=params.grid.profiles)
        for axis in axes:
            parser.add_argument(f"--{axis}", required=True, choices=choices[axis], type=int if axis == "seed" else str)
        arguments = parser.parse_args()
        _refuse_cells_outside(params, arguments)
        check()
        profile = params.profiles[arguments.profile]
        if profile.portable:
            portable.require(arguments.profile)
        if profile.threads and (torch := sys.modules.get("torch")):  # stages without it must not pay for its import
            torch.set_num_threads(profile.threads)
        stage(Job(params, profile, Paths(arguments.profile), arguments))
    except UserError as error:
        sys.exit(f"error: {error}")
