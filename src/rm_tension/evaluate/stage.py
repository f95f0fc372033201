"""Score a trio's reward models on the HH-RLHF test sets and the benchmarks, whole and ablated."""

import shutil

import numpy as np
import pandas as pd

from rm_tension.activations.sums import load_activations
from rm_tension.base.errors import UserError
from rm_tension.base.files import whole
from rm_tension.base.grid import Model
from rm_tension.base.job import Job
from rm_tension.base.parts import parts_folder
from rm_tension.base.runs import record
from rm_tension.base.tables import TOKENS, read_table
from rm_tension.evaluate.conditions import NONE, hh_conditions, task_conditions
from rm_tension.evaluate.evaluation import NeuronSets, Texts, benchmarks, evaluate
from rm_tension.model.device import Budget, Place, profile_device
from rm_tension.model.reward_model import load_reward_model

# that parts belong to
CODE = ("activations/sums.py", "backbone/neurons.py", "evaluate", "model")


def main(*, profile: str, backbone: str, seed: int) -> None:
    """Run the stage on one cell of params.yaml's grid."""
    run(Job.open(profile, backbone=backbone, seed=seed))


def run(job: Job) -> None:
    """Three checkpoints and the trio's activations -> rewards/<P>/<b>-<s>.parquet."""
    config, trio = job.profile.evaluate, job.trio
    place = Place(profile_device(job.paths.profile, job.profile.gpu), config.precision)
    sets = NeuronSets(load_activations(job.paths.activations(trio)), trio.seed)
    budget = Budget(job.fitting(config.tokens_per_batch))
    ablated, whole_only = benchmarks(read_table(job.tokens("benchmarks"), TOKENS), job.params.grid)
    tasks = Texts.lay_out(ablated, budget)
    others = [(Texts.lay_out(whole_only, budget), [NONE])] if len(whole_only) else []
    parameters, state = job.parameters("evaluate"), job.paths.state("evaluate", trio.key)
    inputs = [
        *job.checkpoint_files(),
        job.paths.activations(trio),
        job.tokens("test"),
        job.tokens("benchmarks"),
    ]
    with record(job.paths.run("evaluate", trio.key), parameters) as metrics:
        parts = parts_folder(state, CODE, parameters, inputs)
        for objective in job.params.grid.objectives:
            part = parts / f"{objective}.parquet"
            if part.exists():
                continue
            key = trio.model(objective)
            model = load_reward_model(job.paths.reward_model(key)).to(place.device)
            hh_test = Texts.lay_out(job.pairs("test", objective), budget)
            work = [
                (hh_test, hh_conditions(config)),
                (tasks, task_conditions(config, objective)),
                *others,
            ]
            found = pd.concat(
                evaluate(model, objective, key.key, work, sets, place), ignore_index=True
            )
            _refuse_not_finite(found, key)
            with whole(part) as partial:
                found.to_parquet(partial, index=False)
        tables = [
            pd.read_parquet(parts / f"{objective}.parquet")
            for objective in job.params.grid.objectives
        ]
        rewards = pd.concat(tables, ignore_index=True)
        with whole(job.paths.rewards(trio)) as partial:
            rewards.to_parquet(partial, index=False)
        texts = len(rewards.drop_duplicates(["dataset", "item_id"]))
        metrics |= {
            "rewards": len(rewards),
            "texts": texts,
            "tokens_per_batch": budget.tokens,
            "computes_in": place.computes_in,
        }
    shutil.rmtree(state)


def _refuse_not_finite(rewards: pd.DataFrame, key: Model) -> None:
    bad = rewards[~np.isfinite(rewards["reward"])]
    if len(bad):
        raise UserError(
            f"{key.key}: {len(bad)} rewards are not finite, the first {bad.iloc[0].to_dict()}; "
            "the checkpoint is broken: train it again"
        )
