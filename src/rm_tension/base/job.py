"""What all stages share: arguments, parameters, and errors without a traceback."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rm_tension.base.config import HubData, Params, Profile, load_params
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Model, Paths, Trio
from rm_tension.base.token_files import TokenFiles


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

    @property
    def token_files(self) -> TokenFiles:
        """Those of the backbone's tokenizer."""
        return TokenFiles(self.paths.tokens, self.profile.backbones[self.arguments.backbone].tokenizer)

    @property
    def hub_sums(self) -> Path | None:
        """Where the sha256 of downloads are; None if stand-ins are accepted, which are not what the hub has."""
        source = self.profile.data.source
        return None if isinstance(source, HubData) and source.accept_stand_ins else self.paths.hub_sums

    def checkpoint_files(self) -> list[Path]:
        """The weights of the trio's backbone and reward models."""
        models = [self.paths.reward_model(self.trio.model(objective)) for objective in self.params.grid.objectives]
        folders = [self.paths.backbone(self.trio.backbone), *models]
        return [path for folder in folders for path in sorted(folder.glob("*.safetensors"))]

    def parameters(self, section: str) -> dict[str, Any]:
        """What a run record keeps: the cell of the grid and the section of params.yaml that decides it."""
        value = getattr(self.profile, section)
        if section == "backbones":
            value = value[self.arguments.backbone]
        return {**vars(self.arguments), section: value.model_dump()}


def main(stage: Callable[[Job], None], *axes: str) -> None:
    """Parse `--profile` and the axes of the grid that the stage has, then run it; exits 1 on a UserError."""
    try:
        params = load_params()
        choices = {"backbone": params.grid.backbones, "objective": params.grid.objectives, "seed": params.grid.seeds}
        module = sys.modules[stage.__module__]
        name = ((module.__spec__ and module.__spec__.name) or "").removesuffix(".__main__")
        parser = argparse.ArgumentParser(prog=f"python -m {name}", description=module.__doc__)
        parser.add_argument("--profile", required=True, choices=params.grid.profiles)
        for axis in axes:
            parser.add_argument(f"--{axis}", required=True, choices=choices[axis], type=int if axis == "seed" else str)
        arguments = parser.parse_args()
        profile = params.profiles[arguments.profile]
        stage(Job(params, profile, Paths(arguments.profile), arguments))
    except UserError as error:
        sys.exit(f"error: {error}")
