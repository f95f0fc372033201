"""`rm-tension release`: model cards of a finished profile, and uploads to the hub."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from cyclopts import App, Parameter
from dvc.api import DVCFileSystem
from huggingface_hub import CommitOperationAdd, EvalResult, HfApi, ModelCard, ModelCardData
from jinja2 import Template

from rm_tension.analyse.context import Context
from rm_tension.analyse.tally import summarise
from rm_tension.analyse.verdicts import DecidedClaim
from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.base.files import atomic_write, read_json
from rm_tension.base.grid import Model, Paths, Trio, models
from rm_tension.base.lockfile import file_md5
from rm_tension.base.provenance import Provenance
from rm_tension.base.runs import git_commit
from rm_tension.base.tables import read_table
from rm_tension.paper.pairs import PAIR_FILES
from rm_tension.paper.tasks import BY_KEY
from rm_tension.report.notes import warnings
from rm_tension.score.checkpoints import (
    find_checkpoint,
    md5_of_folder,
    open_repository,
    read_outputs,
    recorded_setting,
)

# of backbones by their owner on the hub (ARTIFACT.md)
LICENCES = {"HuggingFaceTB": "apache-2.0", "openai-community": "mit"}
OUR_LICENCE = "apache-2.0"
PAPER = "arxiv:2606.13209"  # the hub links tags of this form
TEMPLATES = Path(__file__).parent / "templates"

app = App(name="release", default_parameter=Parameter(negative=()))


@app.command
def prepare(*, profile: str = "mini") -> None:
    """Write dist/release/PROFILE: model cards, and the steps to publish; needs no checkpoint.

    Args:
        profile: Of params.yaml.
    """
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    run = FinishedProfile.open(profile)
    trained = run.models()
    steps = Template((TEMPLATES / "STEPS.txt").read_text(encoding="utf-8")).render(
        version=project["version"],
        profile=profile,
        count=len(trained),
        example=run.name(trained[0]),
        warnings=warnings(run.context),
    )
    with atomic_write(Path("dist", "release", profile)) as folder:
        for model in trained:
            card = folder / "models" / run.name(model) / "README.md"
            card.parent.mkdir(parents=True)
            run.card(model).save(card)
        (folder / "STEPS.txt").write_text(steps, encoding="utf-8")
    print(f"dist/release/{profile}: read its STEPS.txt")


@app.command
def push(
    owner: str,
    *,
    profile: str = "mini",
    only: Annotated[list[str] | None, Parameter(name="--model")] = None,
    dry_run: bool = False,
) -> None:
    """Send checkpoints with their cards to the hub, but for files that are there already.

    Args:
        owner: User or organisation on the Hugging Face hub; each checkpoint gets a repository.
        profile: Of params.yaml.
        only: Only this one, such as gpt2-small-helpful-0; repeatable.
        dry_run: Say what would be sent, after all checks but those of the hub.
    """
    run = FinishedProfile.open(profile)
    trained = {model.key: model for model in run.models()}
    if unknown := set(only or ()) - trained.keys():
        raise UserError(f"--model {unknown.pop()}: dvc.lock has {', '.join(trained)}")
    for number, key in enumerate(only or trained, start=1):
        repo = f"{owner}/{run.name(trained[key])}"
        files = run.checkpoint_files(trained[key])
        card = str(run.card(trained[key])).encode()
        size = sum(path.stat().st_size for path in files.values()) / 1e6
        if not dry_run:
            send(repo, {**files, "README.md": card})
        verb = "would be sent" if dry_run else "is there"
        print(f"{number}/{len(only or trained)} {repo}: {verb}, {size:.1f} MB", flush=True)


def send(repo: str, files: Mapping[str, Path | bytes]) -> None:
    """Commit files to a repository of the hub, whose client leaves out what is there."""
    api = HfApi()
    try:
        api.create_repo(repo, exist_ok=True)
        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        api.create_commit(repo, operations, commit_message="Checkpoint and card")
    except Exception as error:  # of the client, HTTP and the disk: they share no other base
        raise UserError(
            f"{repo}: was not sent ({error}); the same command goes on from there"
        ) from error


@dataclass(frozen=True)
class FinishedProfile:
    """What dvc.lock and results/ say of a profile, whatever params.yaml says today."""

    profile: str
    repository: DVCFileSystem
    outputs: Mapping[str, Any]  # of dvc.lock, by path
    context: Context
    claims: list[DecidedClaim]

    @staticmethod
    def open(profile: str) -> "FinishedProfile":
        """Read the profile around the working directory; raise UserError if it was not analysed."""
        load_params().refuse_unknown([profile])
        results = Paths(profile).results
        context = read_json(results / "context.json", Context)
        claims = read_json(results / "claims.json", list[DecidedClaim])
        repository = open_repository(".")
        return FinishedProfile(profile, repository, read_outputs(repository), context, claims)

    def models(self) -> list[Model]:
        """Return the trained models; raise UserError if results are of others, or there is none."""
        grid = load_params().grid
        paths = Paths(self.profile)
        trained = [
            model
            for model in models(grid, self.profile)
            if str(paths.reward_model(model)) in self.outputs
        ]
        if not trained:
            raise UserError(
                f"dvc.lock: no reward model of {self.profile} in it: "
                f"`dvc repro report@{self.profile}`"
            )
        for trio in dict.fromkeys(model.trio for model in trained):
            self._refuse_evaluated_with_others(trio)
        return trained

    def _refuse_evaluated_with_others(self, trio: Trio) -> None:
        """Raise UserError if a trio's rewards are of other files than the recorded outputs."""
        paths = Paths(self.profile)
        made = {path: output["md5"] for path, output in self.outputs.items()}
        folder, sums = f"{paths.reward_models(trio)}", {}  # of several outputs: none has its md5
        for path in filter(lambda path: path.startswith(f"{folder}/"), self.outputs):
            for address in self.repository.find(f"/{path}", dvc_only=True):
                md5 = self.repository.info(address)["dvc_info"]["md5"]
                sums[address.removeprefix(f"/{folder}/")] = md5
        made[folder] = md5_of_folder(sums)
        for path, md5 in self.outputs.get(str(paths.rewards(trio)), {}).get("deps", {}).items():
            if made.get(path, md5) != md5:
                raise UserError(
                    f"dvc.lock: {trio.key} was evaluated with another {path} than was made since: "
                    f"`dvc repro report@{self.profile}`"
                )

    def name(self, model: Model) -> str:
        """Return the name of a model's repository on the hub."""
        return f"rm-tension-{self.profile}-{model.key}"

    def checkpoint_files(self, model: Model) -> dict[str, Path]:
        """Return a checkpoint's files by name; raise UserError if dvc.lock records others."""
        folder = find_checkpoint(model.key, self.profile)
        files = {path.name: path for path in sorted(folder.glob("[!.]*"))}
        recorded = self.outputs[str(Paths(self.profile).reward_model(model))]["md5"]
        if md5_of_folder({name: file_md5(path) for name, path in files.items()}) != recorded:
            raise UserError(
                f"{folder}: not the files that dvc.lock records: `dvc checkout --force {folder}`, "
                "or remove what is not the checkpoint's"
            )
        return files

    def setting(self, output: Path, name: str) -> Any:
        """Return profiles.<profile>.<name> of params.yaml as an output was made with it."""
        return recorded_setting(self.outputs, output, f"profiles.{self.profile}.{name}")

    def card(self, model: Model) -> ModelCard:
        """Return a model's card; the paper's accuracies stand beside those of every profile."""
        paths = Paths(self.profile)
        path = paths.reward_model(model)
        backbones = self.setting(paths.backbone(model.backbone), "backbones")
        data = self.setting(paths.data, "data")
        train = self.setting(path, "train")
        official = data["source"]["kind"] == "hub" and not self.context.stand_ins
        pairs = recorded_setting(self.outputs, path, f"objectives.{model.objective}.train")
        trained_on = {file.dataset: None for file in PAIR_FILES if file.source in pairs}
        accuracies = read_accuracies(paths.results, model)
        weights = backbones[model.backbone]["weights"]
        loaded = read_json(paths.results / "provenance.json", Provenance).backbones
        card: ModelCard = ModelCard.from_template(
            metadata(
                model,
                weights,
                data["source"]["repositories"] if official else None,
                list(trained_on),
                accuracies,
            ),
            template_path=str(TEMPLATES / "card.md"),
            name=self.name(model),
            model=model,
            md5=self.outputs[str(path)]["md5"],
            path=path,
            official=official,
            backbone=backbones[model.backbone],
            loaded=loaded.get(model.backbone),
            claims=summarise(self.claims),
            data=data,
            pairs=pairs,
            trained_on=list(trained_on),
            recipe=train | {"epochs": self.setting(path, f"epochs.{model.objective}")},
            tokens=self.setting(paths.all_tokens, "tokens"),
            context=self.context,
            commit=git_commit(),
            warnings=warnings(self.context),
            accuracies=accuracies,
        )
        return card


def read_accuracies(results: Path, model: Model) -> list[dict[str, Any]]:
    """Return label, items, accuracy (percent) and the paper's of each task, without ablation."""
    columns = ["backbone", "objective", "seed", "kind", "accuracy"]
    own = read_table(results / "hh_accuracy.csv", columns).query("subset == 'own'")
    tasks = pd.concat([own, read_table(results / "accuracy.csv", columns)])
    its = (tasks["backbone"] == model.backbone) & (tasks["objective"] == model.objective)
    rows = tasks[its & (tasks["seed"] == model.seed) & (tasks["kind"] == "none")].to_dict("records")
    means = read_table(
        results / "means" / "accuracy.csv", ["objective", "backbone", "task", "paper"]
    )
    paper = means.set_index(["objective", "backbone", "task"])["paper"].dropna().to_dict()
    role = load_params().roles.get(model.objective)  # by which the paper's numbers go
    accuracies = []
    for row in rows:
        task = BY_KEY.get(row["task"])
        accuracies.append(
            {
                "task": task.key if task else None,
                "label": task.label if task else "HH-RLHF test, own files",
                "items": row["items"],
                "accuracy": row["accuracy"],
                "paper": paper.get((role, model.backbone, row["task"])),
            }
        )
    return accuracies


def metadata(
    model: Model,
    weights: Mapping[str, Any],
    repositories: Mapping[str, Any] | None,
    trained_on: list[str],
    accuracies: list[dict[str, Any]],
) -> ModelCardData:
    """Return the hub's metadata; without `repositories` the card claims nothing official.

    They are those of all data sets, of which the model was trained on some.
    """
    owner = weights["repo"].partition("/")[0] if weights["kind"] == "hub" else None
    if owner and owner not in LICENCES:
        raise UserError(f"{weights['repo']}: its licence is not in LICENCES of release/cards.py: add it")
    results = list(eval_results(repositories, trained_on, accuracies)) if repositories else []
    return ModelCardData(
        base_model=weights["repo"] if repositories and owner else None,
        datasets=[repositories[name]["repo"] for name in trained_on] if repositories else None,
        language="en",
        library_name="transformers",
        license=LICENCES[owner] if owner else OUR_LICENCE,
        pipeline_tag="text-classification",
        tags=["reward-model", "rm-tension", model.objective, PAPER],
        model_name=model.key if results else None,
        eval_results=results or None,
    )


def eval_results(
    repositories: Mapping[str, Any], trained_on: list[str], accuracies: list[dict[str, Any]]
) -> Iterator[EvalResult]:
    """Yield each accuracy on one data set, with its revision; those of several are left out."""
    for row in accuracies:
        subsets = BY_KEY[row["task"]].subsets if row["task"] else ()
        suites = {subset.suite for subset in subsets} or set(trained_on)
        if len(suites) > 1:
            continue
        suite, part = suites.pop(), row["task"] or "own test files"
        repo = repositories[suite]
        yield EvalResult(
            task_type="text-classification",
            dataset_type=repo["repo"],
            dataset_name=f"{suite} {part}",
            dataset_config=part,
            dataset_revision=repo["revision"],
            metric_type="accuracy",
            metric_value=row["accuracy"],
        )
