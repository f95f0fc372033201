"""A finished profile: what dvc.lock and results/ say of it, whatever params.yaml says today."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dvc.api import DVCFileSystem

from rm_tension.analyse.context import Context
from rm_tension.analyse.verdicts import DecidedClaim
from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.base.files import read_json
from rm_tension.base.grid import Model, Paths, Trio, models
from rm_tension.base.lockfile import file_md5
from rm_tension.base.provenance import Provenance
from rm_tension.score.checkpoints import (
    explained,
    find_checkpoint,
    md5_of_folder,
    open_repository,
    read_outputs,
    recorded_setting,
)

OWNER = "ORG"  # who publishes, where nobody is named


@dataclass(frozen=True)
class FinishedProfile:
    """The recorded outputs and results of a profile."""

    profile: str
    repository: DVCFileSystem
    outputs: Mapping[str, Any]  # of dvc.lock, by path
    context: Context
    claims: list[DecidedClaim]
    owner: str = OWNER

    @staticmethod
    def open(profile: str, owner: str = OWNER) -> "FinishedProfile":
        """Read the profile around the working directory; `owner` is who publishes it on the hub.

        Raise UserError if it was not analysed, if dvc.lock records other results or they are of
        other rewards, or for what is no owner: it becomes a folder's name.
        """
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", owner, re.ASCII):
            raise UserError(
                f"{owner!r}: not a user or organisation of the Hugging Face hub, such as ORG"
            )
        load_params().refuse_unknown([profile])
        results = Paths(profile).results
        context = read_json(results / "context.json", Context)
        claims = read_json(results / "claims.json", list[DecidedClaim])
        repository = open_repository(".")
        outputs = read_outputs(repository)
        run = FinishedProfile(profile, repository, outputs, context, claims, owner)
        run.files(results)
        run._refuse_outdated_results()
        return run

    @property
    def paths(self) -> Paths:
        return Paths(self.profile)

    def models(self) -> list[Model]:
        """Return the trained models; raise UserError if results are of others, or there is none."""
        trained = [
            model
            for model in models(load_params().grid, self.profile)
            if str(self.paths.reward_model(model)) in self.outputs
        ]
        if not trained:
            raise UserError(
                f"dvc.lock: no reward model of {self.profile} in it: "
                f"`dvc repro report@{self.profile}`"
            )
        for trio in trios_of(trained):
            self._refuse_evaluated_with_others(trio)
        return trained

    def _refuse_evaluated_with_others(self, trio: Trio) -> None:
        """Raise UserError if a trio's rewards are of other files than the recorded outputs."""
        # a folder of several outputs: none of them has its md5
        folder, sums = f"{self.paths.reward_models(trio)}", {}
        for path in filter(lambda path: path.startswith(f"{folder}/"), self.outputs):
            with explained(path):  # DVC reads dvc.yaml, too
                for address in self.repository.find(f"/{path}", dvc_only=True):
                    md5 = self.repository.info(address)["dvc_info"]["md5"]
                    sums[address.removeprefix(f"/{folder}/")] = md5
        self._refuse_outdated(self.paths.rewards(trio), {folder: md5_of_folder(sums)})

    def _refuse_outdated_results(self) -> None:
        """Raise UserError if results are of other rewards, or the like, than are recorded."""
        folders: dict[str, dict[str, str]] = defaultdict(dict)
        for path, output in self.outputs.items():
            place = PurePosixPath(path)
            folders[str(place.parent)][place.name] = output["md5"]
        made = {folder: md5_of_folder(sums) for folder, sums in folders.items()}
        self._refuse_outdated(self.paths.results, made)

    def _refuse_outdated(self, output: Path, folders: Mapping[str, str]) -> None:
        """Raise UserError if an output is of others than are recorded; `folders` hold several."""
        made = {path: recorded["md5"] for path, recorded in self.outputs.items()} | {**folders}
        deps = self.outputs.get(str(output), {}).get("deps", {})
        for path, md5 in deps.items():
            if made.get(path, md5) != md5:
                raise UserError(
                    f"dvc.lock: {output} is of another {path} than was made since: "
                    f"`dvc repro report@{self.profile}`"
                )

    def evaluated(self, trained: list[Model]) -> list[Trio]:
        """Return the trios of some models that have rewards."""
        return [trio for trio in trios_of(trained) if str(self.paths.rewards(trio)) in self.outputs]

    def name(self, model: Model) -> str:
        """Return the name of a model's repository on the hub."""
        return f"{self.dataset_name}-{model.key}"

    @property
    def dataset_name(self) -> str:
        """Return the name of the data set's repository on the hub."""
        return f"rm-tension-{self.profile}"

    def checkpoint_files(self, model: Model) -> dict[str, Path]:
        """Return a checkpoint's files by name; raise UserError if dvc.lock records others."""
        folder = find_checkpoint(model.key, self.profile)
        return self.files(self.paths.reward_model(model), folder)

    def files(self, output: Path, folder: Path | None = None) -> dict[str, Path]:
        """Return the files of an output folder by their path in it; `folder`: where it lies.

        Raise UserError if dvc.lock records others.
        """
        folder = folder or output
        files = {
            path.relative_to(folder).as_posix(): path
            for path in sorted(folder.rglob("[!.]*"))
            if path.is_file()
        }
        sums = {name: file_md5(path) for name, path in files.items()}
        self._refuse_other(output, md5_of_folder(sums), folder)
        return files

    def file(self, output: Path) -> Path:
        """Return the file of an output; raise UserError if dvc.lock records another."""
        self._refuse_other(output, file_md5(output) if output.is_file() else "", output)
        return output

    def _refuse_other(self, output: Path, md5: str, place: Path) -> None:
        if md5 != self.outputs.get(str(output), {}).get("md5"):
            raise UserError(
                f"{place}: not what dvc.lock records: `dvc checkout --force {place}`, "
                "or remove the files that are not of it"
            )

    def setting(self, output: Path, name: str) -> Any:
        """Return profiles.<profile>.<name> of params.yaml as an output was made with it."""
        return recorded_setting(self.outputs, output, f"profiles.{self.profile}.{name}")

    def repositories(self) -> dict[str, Any] | None:
        """Return repo and revision of the hub by data set; None if others were taken for them.

        The revision is the commit that was loaded, where it is known.
        """
        source = self.setting(self.paths.data, "data")["source"]
        if source["kind"] != "hub" or self.context.stand_ins:
            return None
        loaded = read_json(self.paths.results / "provenance.json", Provenance).data
        commits = {file.repo: {"revision": file.commit} for file in loaded if file.commit}
        return {
            name: repo | commits.get(repo["repo"], {})
            for name, repo in source["repositories"].items()
        }


def trios_of(trained: list[Model]) -> list[Trio]:
    """Return the trios of some models, each once."""
    return list(dict.fromkeys(model.trio for model in trained))
