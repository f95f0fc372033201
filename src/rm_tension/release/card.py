"""A reward model's card: README.md with the Hugging Face hub's metadata, from what dvc.lock and results/ say of it."""

from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rm_tension.analyse.context import Context
from rm_tension.analyse.tally import summarise
from rm_tension.analyse.verdicts import DecidedClaim
from rm_tension.base.config import HH
from rm_tension.base.errors import UserError
from rm_tension.base.files import read_json
from rm_tension.base.grid import Model
from rm_tension.base.provenance import Provenance
from rm_tension.base.runs import git_commit
from rm_tension.base.tables import read_table
from rm_tension.paper.tasks import BY_KEY, Task
from rm_tension.release.recorded import Recorded
from rm_tension.report.notes import warnings
from rm_tension.score.checkpoints import Output

LICENCES = {
    "HuggingFaceTB": "apache-2.0",
    "openai-community": "mit",
}  # of backbones by their owner (ARTIFACT.md)
OURS = "apache-2.0"
PAPER = "arxiv:2606.13209"  # the hub links tags of this form
TEMPLATES = Path(__file__).parent / "templates"

Rows = list[dict[Hashable, Any]]  # of a table in results/


def render(template: str, **values: Any) -> str:
    """A file of `templates/`."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701, Markdown and plain text
    )
    return environment.get_template(template).render(values)


class Cards:
    """Of a profile."""

    def __init__(self, recorded: Recorded) -> None:
        self._recorded, results = recorded, recorded.results()
        self.context = read_json(results / "context.json", Context)
        self._claims = read_json(results / "claims.json", list[DecidedClaim])
        self._loaded = read_json(results / "provenance.json", Provenance).backbones
        self._tasks = _unablated(results / "accuracy.csv")
        own = _unablated(results / "hh_accuracy.csv")
        self._own = own[own["subset"] == "own"]
        means = read_table(
            results / "means" / "accuracy.csv", ["objective", "backbone", "task", "paper"]
        )
        self._paper = means.set_index(["objective", "backbone", "task"])["paper"].dropna().to_dict()

    def card(self, model: Model, output: Output, name: str) -> str:
        """The whole README.md of the repository `name`; the paper's numbers stand beside those of every profile."""
        setting, profile = self._recorded.setting, self.context.profile
        backbone = setting("backbone", model, f"profiles.{profile}.backbones")[model.backbone]
        source = setting("data", None, f"profiles.{profile}.data")
        train = setting("train", model, f"profiles.{profile}.train")
        tasks, own = _of(self._tasks, model), _of(self._own, model)
        paper = {task: self._paper.get((model.objective, model.backbone, task)) for task in BY_KEY}
        official = source["source"]["kind"] == "hub" and not self.context.stand_ins
        return render(
            "card.md",
            metadata=_metadata(
                model, backbone["weights"], source["source"] if official else None, tasks, own
            ),
            name=name,
            model=model,
            md5=output.md5,
            path=output.path,
            official=official,
            backbone=backbone,
            claims=summarise(self._claims),
            loaded=self._loaded.get(model.backbone),
            data=source,
            pairs=setting("train", model, f"grid.pairs.{model.objective}.train"),
            recipe=train | {"epochs": train["epochs"][model.objective]},
            tokens=setting("tokens", None, f"profiles.{profile}.tokens"),
            context=self.context,
            commit=git_commit(),
            warnings=warnings(self.context),
            tasks=[
                row | {"label": BY_KEY[row["task"]].label, "paper": paper[row["task"]]}
                for row in tasks
            ],
            own=own,
        )


def _unablated(path: Path) -> pd.DataFrame:
    table = read_table(path, ["backbone", "objective", "seed", "kind", "accuracy"])
    return table[table["kind"] == "none"]


def _of(table: pd.DataFrame, model: Model) -> Rows:
    is_its = (table["backbone"] == model.backbone) & (table["objective"] == model.objective)
    return table[is_its & (table["seed"] == model.seed)].to_dict("records")


def _metadata(
    model: Model, weights: dict[str, Any], source: dict[str, Any] | None, tasks: Rows, own: Rows
) -> str:
    """YAML. Without a `source` on the hub no base model, data set or result: the card must not claim the official."""
    owner = weights["repo"].partition("/")[0] if weights["kind"] == "hub" else None
    if owner and owner not in LICENCES:
        raise UserError(
            f"{weights['repo']}: its licence, which the card of {model.key} must name, is not in LICENCES"
        )
    results = list(_results(source, tasks, own)) if source else []
    return ModelCardData(
        base_model=weights["repo"] if source and owner else None,
        datasets=[source["hh_rlhf"]["repo"]] if source else None,
        language="en",
        library_name="transformers",
        license=LICENCES[owner] if owner else OURS,
        pipeline_tag="text-classification",
        tags=["reward-model", "rm-tension", model.objective, PAPER],
        model_name=model.key if results else None,
        eval_results=results or None,
    ).to_yaml()


def _results(source: dict[str, Any], tasks: Rows, own: Rows) -> Iterator[EvalResult]:
    """Accuracy in percent with the revision of the data; a task of two suites stands in the card's table only."""
    numbers = [(HH, "own test files", row["accuracy"]) for row in own]
    for row in tasks:
        task: Task = BY_KEY[row["task"]]
        suites = {subset.suite for subset in task.subsets}
        numbers += [(suite, task.key, row["accuracy"]) for suite in suites if len(suites) == 1]
    for data_set, part, accuracy in numbers:
        repo = source[data_set.replace("-", "_")]
        yield EvalResult(
            task_type="text-classification",
            dataset_type=repo["repo"],
            dataset_name=f"{data_set} {part}",
            dataset_config=part,
            dataset_revision=repo["revision"],
            metric_type="accuracy",
            metric_value=accuracy,
        )
