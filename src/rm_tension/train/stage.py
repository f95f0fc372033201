"""Train one reward model on its objective's pairs; an interrupted training resumes."""

import json
from collections.abc import Sequence
from pathlib import Path

from rm_tension.base.errors import UserError
from rm_tension.base.files import atomic_write
from rm_tension.base.job import Job
from rm_tension.base.runs import machine_of, record, split
from rm_tension.model.device import TokenBudget, make_accelerator, profile_device
from rm_tension.model.reward_model import new_reward_model, save_reward_model
from rm_tension.model.rows import token_count
from rm_tension.model.settings import ScoringSettings
from rm_tension.tracking.live import stream
from rm_tension.train.training import Metrics, Pairs, train


def main(*, profile: str, backbone: str, objective: str, seed: int) -> None:
    """Run the stage on one cell of params.yaml's grid."""
    run(Job.open(profile, backbone=backbone, objective=objective, seed=seed))


def run(job: Job) -> None:
    """Read tokens and backbone; write models/<P>/reward/<b>-<s>/<o>/ and metrics of each step."""
    config, key, seed = job.profile.train, job.model, job.model.seed
    epochs = job.profile.epochs[key.objective]
    device = profile_device(job.paths.profile, job.profile.gpu)
    pairs = _pairs(job)
    state = job.paths.state("train", key.key)
    run_file = job.paths.run("train", key.key)
    parameters = job.parameters("train") | {"epochs": epochs}
    budget = TokenBudget(config.tokens_per_micro_batch)
    with record(run_file, parameters) as metrics, stream(key.key, parameters) as on_step:
        model = new_reward_model(
            job.paths.backbone(key.backbone), seed, config.head_std, config.weights
        )
        history = train(
            model,
            pairs,
            config,
            epochs=epochs,
            seed=seed,
            accelerator=make_accelerator(config.precision, device),
            budget=budget,
            state=state,
            progress=key.key,
            on_step=on_step,
        )
        with atomic_write(job.paths.reward_model(key)) as folder:
            save_reward_model(model, folder, job.paths.tokenizer(key.backbone), _settings(job))
        _write_history(job.paths.history(key), history)
        last_epoch = [step for step in history if step["epoch"] == epochs - 1]
        metrics |= {
            "pairs": len(pairs.ids),
            "steps": len(history),
            # also of the steps before a kill
            "steps_seconds": round(sum(step["seconds"] for step in history), 3),
            "tokens": epochs * token_count(pairs.items),
            "tokens_per_micro_batch": budget.tokens,
            "last_epoch_loss": sum(step["loss"] for step in last_epoch) / len(last_epoch),
            "last_epoch_accuracy": sum(step["accuracy"] for step in last_epoch) / len(last_epoch),
        }
    state.unlink(missing_ok=True)


def _write_history(path: Path, history: Sequence[Metrics]) -> None:
    """Write metrics of the result to `path`, those of the machine to its machine folder."""
    of_result, of_machine = zip(*map(split, history), strict=True)
    for file, steps in ((path, of_result), (machine_of(path.parent) / path.name, of_machine)):
        with atomic_write(file) as partial:
            lines = "".join(json.dumps(step) + "\n" for step in steps)
            partial.write_text(lines, encoding="utf-8")


def _pairs(job: Job) -> Pairs:
    """Return the objective's pairs that are not too long. Raise UserError if all are."""
    table = job.pairs("train", job.model.objective)
    kept = table[~table["too_long"]]
    if kept.empty:
        raise UserError(
            f"{job.tokens('train')}: all {len(table)} pairs of {job.model.objective} are too long "
            f"to train on: raise tokens.max_length, {job.profile.tokens.max_length}, in params.yaml"
        )
    return Pairs(kept["item_id"].tolist(), kept["answers"].tolist())


def _settings(job: Job) -> ScoringSettings:
    """Return what scoring needs; a record, no parameter: a new template must not retrain."""
    tokens = job.profile.tokens
    return ScoringSettings(
        profile=job.paths.profile,
        key=job.model.key,
        template=tokens.template,
        max_length=tokens.max_length,
        precision=job.profile.evaluate.precision,
    )
