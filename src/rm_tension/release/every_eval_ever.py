"""Export of right and wrong items in the schema of Every Eval Ever, version 0.3.0.

One pair of files for each reward model and benchmark, without ablation:
data/BENCHMARK/OWNER/MODEL/UUID.json has the accuracy of each subset, UUID_samples.jsonl the
rewards of each item. Texts of prompts and answers are left out: `sample_hash` is the sha256 of
them (`dataset.sha256_of`), and an answer goes by its index.
"""

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rm_tension.analyse.outcomes import STYLES, outcomes, read_layout, read_scored
from rm_tension.base.files import write_json
from rm_tension.base.grid import Model
from rm_tension.evaluate.conditions import NONE
from rm_tension.paper.tasks import SUITES
from rm_tension.release.dataset import item_table
from rm_tension.release.profile import FinishedProfile

SCHEMA = "0.3.0"
LABELS = {**SUITES, "hh-rlhf": "HH-RLHF test"}
ACCURACY = {
    "evaluation_description": "Share of items on which the lowest reward of the chosen answers is "
    "above the highest of the rejected ones",
    "metric_name": "Accuracy",
    "lower_is_better": False,
    "score_type": "continuous",
    "min_score": 0.0,
    "max_score": 1.0,
}


def export(run: FinishedProfile, folder: Path, version: str, written: int) -> None:
    """Write the evaluations of a profile below a folder.

    `version` is the project's, `written` the time to record, in seconds since 1970.
    """
    items = item_table(run)
    layout = read_layout(run.paths)
    common = {
        "schema_version": SCHEMA,
        "retrieved_timestamp": str(written),
        "source_metadata": {
            "source_type": "evaluation_run",
            "source_organization_name": run.owner,
            "evaluator_relationship": "first_party",
        },
        "eval_library": {"name": "rm-tension", "version": version},
    }
    trained = run.models()
    for trio in run.evaluated(trained):
        scored = read_scored(run.file(run.paths.rewards(trio)), layout)
        judged = judge(scored[scored["kind"] == NONE.kind], items)
        for model in trained:
            if model.trio == trio:
                own = judged[judged["objective"] == model.objective]
                for _, part in own.groupby("dataset", sort=False, observed=True):
                    write_evaluation(run, folder, model, part, common)


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
    run: FinishedProfile,
    folder: Path,
    model: Model,
    judged: pd.DataFrame,
    common: Mapping[str, Any],
) -> None:
    """Write the two files of one model on one benchmark; `common` is what all of them have."""
    suite, model_id = str(judged["dataset"].iloc[0]), f"{run.owner}/{run.name(model)}"
    checkpoint = run.outputs[str(run.paths.reward_model(model))]["md5"]
    rewards = run.outputs[str(run.paths.rewards(model.trio))]["md5"]
    digest = hashlib.sha256(f"{suite} {model_id} {checkpoint} {rewards}".encode()).digest()
    name = str(uuid.UUID(bytes=digest[:16], version=4))
    path = Path("data", suite, run.owner, run.name(model), name)
    samples_path = path.with_name(f"{name}_samples.jsonl")
    evaluation_id = f"{suite}/{model_id.replace('/', '_')}/{common['retrieved_timestamp']}"
    text = "".join(f"{json.dumps(row)}\n" for row in samples(judged, evaluation_id, model_id))
    model_info = {
        "name": run.name(model),
        "id": model_id,
        "developer": run.owner,
        "additional_details": {
            "deployment_type": "self_deployed",
            "model_availability": "open_weights",
            "dvc_md5": checkpoint,
        },
    }
    detailed = {
        "format": "jsonl",
        "file_path": samples_path.as_posix(),
        "hash_algorithm": "sha256",
        "checksum": hashlib.sha256(text.encode()).hexdigest(),
        "total_rows": len(judged),
    }
    evaluation = {
        **common,
        "evaluation_id": evaluation_id,
        "model_info": model_info,
        "evaluation_results": list(results(run, suite, judged, evaluation_id)),
        "detailed_evaluation_results": detailed,
    }
    write_json(folder / path.with_name(f"{name}.json"), evaluation)
    (folder / samples_path).write_text(text, encoding="utf-8")


def results(
    run: FinishedProfile, suite: str, judged: pd.DataFrame, evaluation_id: str
) -> Iterator[dict[str, Any]]:
    """Yield the accuracy of each subset of a benchmark, a fraction of its items."""
    data = source_data(run, suite)
    for subset, part in judged.groupby("subset", sort=False, observed=True):
        yield {
            "evaluation_result_id": f"{evaluation_id}#{subset}",
            "evaluation_name": f"{LABELS.get(suite, suite)}: {subset}",
            "source_data": data,
            "metric_config": ACCURACY,
            "score_details": {
                "score": float(part["correct"].mean()),
                "uncertainty": {"num_samples": len(part)},
            },
        }


def source_data(run: FinishedProfile, suite: str) -> dict[str, Any]:
    """Return where the benchmark's items are from."""
    repositories = run.repositories()
    if repositories is None:
        name = f"not the official {suite}: {run.context.title}"
        return {"dataset_name": name, "source_type": "other"}
    return {
        "dataset_name": suite,
        "source_type": "hf_dataset",
        "hf_repo": repositories[suite]["repo"],
        "additional_details": {"revision": repositories[suite]["revision"]},
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
