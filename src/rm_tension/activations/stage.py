"""Sum the MLP activations of a trio's reward models, each over its objective's training pairs."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import reduce
from itertools import compress
from operator import add
from typing import cast

import pandas as pd
from transformers import PreTrainedModel

from rm_tension.activations.attribution import attribute
from rm_tension.activations.stats import collect
from rm_tension.activations.sums import Activations, Attribution, save_activations
from rm_tension.base.job import Job
from rm_tension.base.runs import record
from rm_tension.model.device import Compute, TokenBudget, profile_device
from rm_tension.model.reward_model import load_reward_model


def main(*, profile: str, backbone: str, seed: int) -> None:
    """Run the stage on one cell of params.yaml's grid."""
    run(Job.open(profile, backbone=backbone, seed=seed))


def run(job: Job) -> None:
    """Three checkpoints and their backbone -> activations/<P>/<b>-<s>.safetensors.

    The pairs are all of the objective's training split, those that training drops for their length
    cut (METHOD.md section 4). A pair goes once through the backbone and through each RM of its
    objectives: the mixed one, and its own.
    """
    config, trio = job.profile.activations, job.trio
    job.refuse_leftovers(map(job.paths.reward_model, trio.models(job.params.grid)))
    compute = Compute(profile_device(job.paths.profile, job.profile.gpu), config.precision)
    weights, budget = job.profile.train.weights, TokenBudget(config.tokens_per_batch)
    parameters = job.parameters("activations") | {"weights": weights}
    with record(job.paths.run("activations", trio.key), parameters) as metrics:
        # rounded as the RMs' initial weights were, so that the rounding does not count as change
        backbone = load_reward_model(job.paths.backbone(trio.backbone), weights).float()
        backbone = backbone.to(compute.device)
        sums: dict[str, list[Activations]] = {name: [] for name in job.params.grid.objectives}
        of_objective = {name: job.pairs("train", name) for name in sums}
        for objectives, pairs in _by_objectives(job, of_objective):
            models: dict[str, PreTrainedModel] = {
                name: load_reward_model(job.paths.reward_model(trio.model(name))).to(compute.device)
                for name in objectives
            }
            title = f"{trio.key} {'+'.join(objectives)}"
            answers = pairs["answers"].tolist()
            for name, part in collect(models, backbone, answers, compute, budget, title).items():
                sums[name].append(part)
        totals: dict[str, Activations] = {}
        for name, parts in sums.items():
            attribution = _attribution(job, name, of_objective[name], compute)
            totals[name] = replace(reduce(add, parts), attribution=attribution)
        metrics |= {
            f"{name}_tokens": sum(side.tokens for side in total.sides)
            for name, total in totals.items()
        }
        metrics |= {"tokens_per_batch": budget.tokens, "computes_in": compute.computes_in}
        save_activations(job.paths.activations(trio), totals)


def _attribution(job: Job, objective: str, pairs: pd.DataFrame, compute: Compute) -> Attribution:
    """Return that of an RM, over a sample of its training pairs that depends on the seed."""
    config, model = job.profile.activations.attribution, job.trio.model(objective)
    reward_model = load_reward_model(job.paths.reward_model(model)).to(compute.device)
    answers = _sample(pairs, config.pairs, job.trio.seed)["answers"].tolist()
    budget = TokenBudget(config.tokens_per_batch)
    return attribute(reward_model, answers, compute, budget, f"{model.key} attribution")


def _sample(pairs: pd.DataFrame, size: int | None, seed: int) -> pd.DataFrame:
    """Return a sample that depends on the seed, or all pairs if there are no more."""
    if size is None or size >= len(pairs):
        return pairs
    return pairs.sample(size, random_state=seed)


def _by_objectives(
    job: Job, of_objective: Mapping[str, pd.DataFrame]
) -> Iterator[tuple[tuple[str, ...], pd.DataFrame]]:
    """Yield training pairs by the objectives whose RMs see them.

    Where there are more than `max_pairs` of an objective, they are a sample by the seed.
    """
    cap, table = job.profile.activations.max_pairs, job.pairs("train")
    seen = pd.DataFrame(index=table.index)
    for objective, pairs in of_objective.items():
        seen[objective] = seen.index.isin(_sample(pairs, cap, job.trio.seed).index)
    groups = table[seen.any(axis=1)].groupby([seen[name] for name in seen], sort=False)
    for key, group in groups:
        yield tuple(compress(of_objective, cast(tuple[bool, ...], key))), group
