"""What was run of a profile, as dvc.lock has it: settings and outputs, whatever params.yaml says today."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rm_tension.base.config import Grid
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Model, Paths, models, trios
from rm_tension.base.lockfile import changed_inputs, stage_named
from rm_tension.score.checkpoints import (
    Output,
    as_output,
    find_output,
    open_repository,
    read_stages,
)


class Recorded:
    """Of the repository around the working directory; UserError if there is none, or nothing was made in it."""

    def __init__(self, grid: Grid, profile: str) -> None:
        self.paths = Paths(profile)
        self._grid = grid
        self._files = open_repository(".", None)
        self._stages = read_stages(self._files)

    def checkpoints(self) -> dict[str, tuple[Model, Output]]:
        """The RMs that were trained, by the name of the repository that each gets; nothing is fetched."""
        found = {}
        for model in models(self._grid, self.paths.profile):
            if stage := self._stage("train", f"-{model.key}"):
                output = self._output(stage, self.paths.reward_model(model))
                found[f"rm-tension-{self.paths.profile}-{model.key}"] = (model, output)
        return found

    def results(self) -> Path:
        """The folder of the analysis, fetched if it is not here; UserError unless it is of these checkpoints."""
        report = f"`dvc repro report@{self.paths.profile}`"
        analysed = self._stage("analyse", "")
        if not analysed:
            raise UserError(
                f"{self.paths.results}: not in dvc.lock, so no card could say how good a model is: {report}"
            )
        for trio in trios(self._grid, self.paths.profile):
            stage = self._stage("evaluate", f"-{trio.key}")
            for path, _, _ in changed_inputs(self._stages, stage) if stage else ():
                raise UserError(
                    f"dvc.lock: {trio.key} was evaluated with another {path} than was made since: {report}"
                )
        return find_output(self._output(analysed, self.paths.results))

    def setting(self, kind: str, model: Model | None, name: str) -> Any:
        """A value of params.yaml by its path, as a stage (of the model, its backbone, or all) was run with it."""
        cells = {"train": f"-{model.key}", "backbone": f"-{model.backbone}"} if model else {}
        stage = self._stage(kind, cells.get(kind, ""))
        recorded: Mapping[str, Any] = (
            self._stages.get(stage or "", {}).get("params", {}).get("params.yaml", {})
        )
        if name not in recorded:
            raise UserError(
                f"dvc.lock: {kind} of {self.paths.profile} has no {name}: `dvc repro` the stage again"
            )
        return recorded[name]

    def _stage(self, kind: str, cell: str) -> str | None:
        return stage_named(self._stages, kind, f"{self.paths.profile}{cell}")

    def _output(self, stage: str, path: Path) -> Output:
        found = (
            out["md5"]
            for out in self._stages[stage].get("outs", ())
            if out["path"] == path.as_posix()
        )
        return as_output(self._files, path.as_posix(), next(found, ""))
