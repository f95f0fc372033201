"""Score a trio's reward models on HH-RLHF test sets and benchmarks, with and without ablation."""

import numpy as np
import pandas as pd

from rm_tension.activations.sums import load_activations
from rm_tension.base.errors import UserError
from rm_tension.base.files import atomic_write
from rm_tension.base.grid import Trio
from rm_tension.base.job import Job
from rm_tension.base.runs import record
from rm_tension.base.tables import TOKENS, read_table
from rm_tension.evaluate.conditions import MARGINS, NONE, hh_conditions, task_conditions
from rm_tension.evaluate.evaluation import NeuronSets, Texts, benchmarks, evaluate
from rm_tension.evaluate.groups import group_margins
from rm_tension.model.device import Compute, TokenBudget, profile_device
from rm_tension.model.reward_model import load_reward_model


def main(*, profile: str, backbone: str, seed: int) -> None:
    """Run the stage on one cell of params.yaml's grid."""
    run(Job.open(profile, backbone=backbone, seed=seed))


def run(job: Job) -> None:
    """Read a trio's checkpoints and activations; write its rewards and margins."""
    config, trio, params = job.profile.evaluate, job.trio, job.params
    job.refuse_leftovers(map(job.paths.reward_model, trio.models(params.grid)))
    compute = Compute(profile_device(job.paths.profile, job.profile.gpu), config.precision)
    activations = load_activations(job.paths.activations(trio))
    sets = NeuronSets(activations, params, trio.seed)
    budget = TokenBudget(config.tokens_per_batch)
    ablated, unablated = benchmarks(read_table(job.tokens("benchmarks"), TOKENS), params.grid)
    tasks = Texts.lay_out(ablated, budget)
    others = [(Texts.lay_out(unablated, budget), [NONE])] if len(unablated) else []
    with record(job.paths.run("evaluate", trio.key), job.parameters("evaluate")) as metrics:
        tables: list[pd.DataFrame] = []
        margins: list[pd.DataFrame] = []
        for objective in params.grid.objectives:
            key = trio.model(objective)
            model = load_reward_model(job.paths.reward_model(key)).to(compute.device)
            test_pairs = job.pairs("test", objective)
            hh_test = Texts.lay_out(test_pairs, budget)
            work = [
                (hh_test, hh_conditions(config)),
                (tasks, task_conditions(config, params.objectives[objective].role)),
                *others,
            ]
            tables += evaluate(model, objective, key.key, work, sets, compute)
            # the same pairs for all trios, so that the bootstrap may draw items once for all
            size = min(config.groups.pairs, len(test_pairs))
            sample = Texts.lay_out(test_pairs.sample(size, random_state=0), budget)
            of_groups = group_margins(
                model,
                activations[objective],
                trio.seed,
                sample,
                config.groups.number,
                compute,
                key.key,
            )
            margins.append(of_groups.assign(objective=objective)[MARGINS])
        rewards = pd.concat(tables, ignore_index=True)
        _refuse_not_finite(rewards, trio)
        with atomic_write(job.paths.rewards(trio)) as partial:
            rewards.to_parquet(partial, index=False)
        with atomic_write(job.paths.margins(trio)) as partial:
            pd.concat(margins, ignore_index=True).to_parquet(partial, index=False)
        metrics |= {
            "rewards": len(rewards),
            "texts": len(rewards.drop_duplicates(["dataset", "item_id"])),
            "tokens_per_batch": budget.tokens,
            "computes_in": compute.computes_in,
        }


def _refuse_not_finite(rewards: pd.DataFrame, trio: Trio) -> None:
    bad = rewards[~np.isfinite(rewards["reward"])]
    if len(bad):
        first = bad.iloc[0].to_dict()
        raise UserError(
            f"{trio.backbone}-{first['objective']}-{trio.seed}: {len(bad)} rewards are not finite, "
            f"the first {first}; the checkpoint is broken: train it again"
        )
