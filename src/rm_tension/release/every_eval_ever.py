"""Export of right and wrong items in the schema of Every Eval Ever, version 0.3.0.

One pair of files for each reward model and benchmark, without ablation:
data/BENCHMARK/OWNER/MODEL/UUID.json has the accuracy of each subset, UUID_samples.jsonl the
rewards of each item. Texts of prompts and answers are left out: `sample_hash` is the sha256 of
them (`dataset.sha256_of`), and an answer goes by its index.
"""

import hashlib
import json
import math
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rm_tension.analyse.outcomes import STYLES, outcomes, read_layout, read_scored
from rm_tension.base.grid import Model
from rm_tension.evaluate.conditions import NONE
from rm_tension.paper.tasks import SUITES
from rm_tension.release.dataset import item_table
from rm_tension.release.profile import FinishedProfile, trios_of

SCHEMA = "0.3.0"
LABELS = {**SUITES, "hh-rlhf": "HH-RLHF test"}


@dataclass(frozen=True)
class Source:
    """What all evaluations of an export share."""

    run: FinishedProfile
    owner: str  # of the models on the hub
    version: str  # of the project
    written: int  # seconds since 1970

    def model_id(self, model: Model) -> str:
        return f"{self.owner}/{self.run.name(model)}"


def export(run: FinishedProfile, folder: Path, owner: str, version: str, written: int) -> None:
    """Write the evaluations of a profile below a folder; `written` is the time to record."""
    source = Source(run, owner, version, written)
    items = item_table(run)
    layout = read_layout(run.paths)
    trained = run.models()
    for trio in trios_of(trained):
        scored = read_scored(run.file(run.paths.rewards(trio)), layout)
        judged = judge(scored[scored["kind"] == NONE.kind], items)
        for model in trained:
            if model.trio == trio:
                own = judged[judged["objective"] == model.objective]
                for suite, part in own.groupby("dataset", sort=False, observed=True):
                    write_evaluation(source, folder, model, str(suite), part)


def judge(scored: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """Return one row per item of `outcomes`, with its rewards, `chosen` answers, id and sha256."""
    answers = scored.sort_values("answer_index").groupby(["objective", "item"], observed=True)
    lists = answers.agg(
        answer_index=("answer_index", list), rewards=("reward", list), chosen=("chosen", list)
    )
    known = items.iloc[[item // STYLES for item in lists.index.get_level_values("item")]]
    lists = lists.assign(item_id=known["item_id"].to_numpy(), sha256=known["sha256"].to_numpy())
    return outcomes(scored).merge(lists.reset_index(), on=["objective", "item"])


def write_evaluation(
    source: Source, folder: Path, model: Model, suite: str, judged: pd.DataFrame
) -> None:
    """Write the two files of one model on one benchmark."""
    model_id = source.model_id(model)
    checkpoint = source.run.outputs[str(source.run.paths.reward_model(model))]["md5"]
    rewards = source.run.outputs[str(source.run.paths.rewards(model.trio))]["md5"]
    digest = hashlib.sha256(f"{suite} {model_id} {checkpoint} {rewards}".encode()).digest()
    name = str(uuid.UUID(bytes=digest[:16], version=4))
    place = Path("data", suite, source.owner, source.run.name(model))
    evaluation_id = f"{suite}/{model_id.replace('/', '_')}/{source.written}"
    (folder / place).mkdir(parents=True)
    text = "".join(f"{json.dumps(row)}\n" for row in samples(judged, evaluation_id, model_id))
    samples_path = place / f"{name}_samples.jsonl"
    (folder / samples_path).write_text(text, encoding="utf-8")
    aggregate = {
        "schema_version": SCHEMA,
        "evaluation_id": evaluation_id,
        "retrieved_timestamp": str(source.written),
        "source_metadata": {
            "source_name": "rm-tension",
            "source_type": "evaluation_run",
            "source_organization_name": source.owner,
            "evaluator_relationship": "first_party",
        },
        "eval_library": {"name": "rm-tension", "version": source.version},
        "model_info": {
            "name": source.run.name(model),
            "id": model_id,
            "developer": source.owner,
            "inference_engine": {"name": "transformers", "version": installed("transformers")},
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "open_weights",
                "dvc_md5": checkpoint,
            },
        },
        "evaluation_results": list(results(source, suite, judged, evaluation_id)),
        "detailed_evaluation_results": {
            "format": "jsonl",
            "file_path": samples_path.as_posix(),
            "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(text.encode()).hexdigest(),
            "total_rows": len(judged),
        },
    }
    text = json.dumps(aggregate, indent=2) + "\n"
    (folder / place / f"{name}.json").write_text(text, encoding="utf-8")


def results(
    source: Source, suite: str, judged: pd.DataFrame, evaluation_id: str
) -> Iterator[dict[str, Any]]:
    """Yield the accuracy of each subset, a fraction of its items."""
    data = source_data(source.run, suite)
    for subset, part in judged.groupby("subset", sort=False, observed=True):
        accuracy, items = float(part["correct"].mean()), len(part)
        error = math.sqrt(accuracy * (1 - accuracy) / items)
        yield {
            "evaluation_result_id": f"{evaluation_id}#{subset}",
            "evaluation_name": f"{LABELS.get(suite, suite)}: {subset}",
            "source_data": data,
            "metric_config": {
                "evaluation_description": "Share of items on which the lowest reward of the "
                "chosen answers is above the highest of the rejected ones",
                "metric_id": "accuracy",
                "metric_name": "Accuracy",
                "metric_kind": "accuracy",
                "metric_unit": "proportion",
                "lower_is_better": False,
                "score_type": "continuous",
                "min_score": 0.0,
                "max_score": 1.0,
            },
            "score_details": {
                "score": accuracy,
                "uncertainty": {
                    "standard_error": {"value": error, "method": "analytic"},
                    "num_samples": items,
                },
            },
        }


def source_data(run: FinishedProfile, suite: str) -> dict[str, Any]:
    """Return where the benchmark's items are from."""
    repositories: Mapping[str, Any] | None = run.repositories()
    if repositories is None:
        name = f"not the official {suite}: {run.context.title}"
        return {"dataset_name": name, "source_type": "other"}
    repository = repositories[suite]
    return {
        "dataset_name": suite,
        "source_type": "hf_dataset",
        "hf_repo": repository["repo"],
        "additional_details": {"revision": repository["revision"]},
    }


def samples(judged: pd.DataFrame, evaluation_id: str, model_id: str) -> Iterator[dict[str, Any]]:
    """Yield the instance record of each item."""
    for row in judged.to_dict("records"):
        answers = [str(index) for index in row["answer_index"]]
        best = answers[int(np.argmax(row["rewards"]))]
        style = f"/{row['item'] % STYLES}" if row["dataset"] == "rm-bench" else ""
        yield {
            "schema_version": SCHEMA,
            "evaluation_id": evaluation_id,
            "model_id": model_id,
            "evaluation_name": f"{LABELS.get(row['dataset'], row['dataset'])}: {row['subset']}",
            "evaluation_result_id": f"{evaluation_id}#{row['subset']}",
            "sample_id": f"{row['item_id']}{style}",
            "sample_hash": row["sha256"],
            "interaction_type": "single_turn",
            "input": {
                "raw": f"{row['dataset']}: {row['item_id']}",
                "reference": [
                    answer for answer, chosen in zip(answers, row["chosen"], strict=True) if chosen
                ],
                "choices": answers,
            },
            "output": {"raw": [str(reward) for reward in row["rewards"]]},
            "answer_attribution": [
                {
                    "turn_idx": 0,
                    "source": "output.raw",
                    "extracted_value": best,
                    "extraction_method": "index of the highest reward",
                    "is_terminal": True,
                }
            ],
            "evaluation": {"score": float(row["correct"]), "is_correct": bool(row["correct"])},
        }
