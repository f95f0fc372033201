"""Model cards and their metadata: model-index, and the hub's `.eval_results/`."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from huggingface_hub import (
    EvalResult,
    EvalResultEntry,
    ModelCard,
    ModelCardData,
    eval_result_entries_to_yaml,
)

from rm_tension.analyse.tally import summarise
from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.base.files import read_json
from rm_tension.base.grid import Model
from rm_tension.base.provenance import Provenance
from rm_tension.base.runs import git_commit
from rm_tension.base.tables import read_table
from rm_tension.paper.pairs import PAIR_FILES
from rm_tension.paper.tasks import BY_KEY
from rm_tension.release.profile import FinishedProfile
from rm_tension.report.notes import warnings
from rm_tension.score.checkpoints import recorded_setting

# of backbones by their owner on the hub (ARTIFACT.md)
LICENCES = {"HuggingFaceTB": "apache-2.0", "openai-community": "mit"}
OUR_LICENCE = "apache-2.0"
PAPER = "arxiv:2606.13209"  # the hub links tags of this form
TEMPLATES = Path(__file__).parent / "templates"
HUB = "https://huggingface.co"


def card_files(run: FinishedProfile, model: Model) -> dict[str, bytes]:
    """Return the card of a model and its `.eval_results/`, by their path in its repository."""
    card = model_card(run, model)
    files = {"README.md": str(card).encode()}
    by_suite: dict[str, list[EvalResultEntry]] = defaultdict(list)
    for result in card.data.get("eval_results") or ():
        entry = EvalResultEntry(
            dataset_id=result.dataset_type,
            task_id=result.dataset_config,
            value=result.metric_value,
            dataset_revision=result.dataset_revision,
            source_url=f"{HUB}/datasets/{run.owner}/{run.dataset_name}",
            source_name="Reward of each answer",
            notes="accuracy (%), reward model",
        )
        by_suite[result.dataset_type.partition("/")[2]].append(entry)
    for suite, entries in by_suite.items():
        text = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False)
        files[f".eval_results/{suite}.yaml"] = text.encode()
    return files


def model_card(run: FinishedProfile, model: Model) -> ModelCard:
    """Return a model's card; the paper's accuracies stand beside those of every profile."""
    paths = run.paths
    path = paths.reward_model(model)
    backbones = run.setting(paths.backbone(model.backbone), "backbones")
    repositories = run.repositories()
    pairs = recorded_setting(run.outputs, path, f"objectives.{model.objective}.train")
    trained_on = list(dict.fromkeys(file.dataset for file in PAIR_FILES if file.source in pairs))
    accuracies = read_accuracies(paths.results, model)
    weights = backbones[model.backbone]["weights"]
    loaded = read_json(paths.results / "provenance.json", Provenance).backbones
    epochs = {"epochs": run.setting(path, f"epochs.{model.objective}")}
    card: ModelCard = ModelCard.from_template(
        metadata(model, weights, repositories, trained_on, accuracies),
        template_path=str(TEMPLATES / "card.md"),
        run=run,
        name=run.name(model),
        model=model,
        md5=run.outputs[str(path)]["md5"],
        path=path,
        official=repositories is not None,
        backbone=backbones[model.backbone],
        loaded=loaded.get(model.backbone),
        claims=summarise(run.claims),
        data=run.setting(paths.data, "data"),
        pairs=pairs,
        trained_on=trained_on,
        recipe=run.setting(path, "train") | epochs,
        tokens=run.setting(paths.all_tokens, "tokens"),
        commit=git_commit(),
        warnings=warnings(run.context),
        accuracies=accuracies,
    )
    return card


def read_accuracies(results: Path, model: Model) -> list[dict[str, Any]]:
    """Return label, items, accuracy (percent) and the paper's of each task, without ablation."""
    columns = ["backbone", "objective", "seed", "kind", "accuracy"]
    own = read_table(results / "hh_accuracy.csv", columns).query("subset == 'own'")
    tasks = pd.concat([own, read_table(results / "accuracy.csv", columns)])
    tasks = tasks[(tasks["backbone"] == model.backbone) & (tasks["seed"] == model.seed)]
    tasks = tasks[(tasks["objective"] == model.objective) & (tasks["kind"] == "none")]
    means = read_table(
        results / "means" / "accuracy.csv", ["objective", "backbone", "task", "paper"]
    )
    paper = means.set_index(["objective", "backbone", "task"])["paper"].dropna().to_dict()
    role = load_params().roles.get(model.objective)  # by which the paper's numbers go
    accuracies = []
    for row in tasks.to_dict("records"):
        task = BY_KEY.get(row["task"])
        numbers = {name: row[name] for name in ("items", "accuracy")}
        numbers["paper"] = paper.get((role, model.backbone, row["task"]))
        label = task.label if task else "HH-RLHF test, own files"
        accuracies.append({"task": task.key if task else None, "label": label, **numbers})
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
        raise UserError(
            f"{weights['repo']}: its licence is not in LICENCES of release/cards.py: add it"
        )
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
