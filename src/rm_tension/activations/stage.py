"""Sum the MLP activations of a trio's reward models, each over its objective's pairs, beside its backbone's."""

import shutil
from collections.abc import Iterator
from functools import reduce
from itertools import compress
from operator import add
from pathlib import Path
from typing import cast

import pandas as pd

from rm_tension.activations.stats import collect
from rm_tension.activations.sums import Activations, load_activations, save_activations
from rm_tension.base.config import Objective
from rm_tension.base.job import Job
from rm_tension.base.parts import parts_folder
from rm_tension.base.runs import record
from rm_tension.model.device import Budget, Place, profile_device
from rm_tension.model.reward_model import load_reward_model

CODE = ("activations", "backbone/neurons.py", "model")  # that parts belong to


def main(*, profile: str, backbone: str, seed: int) -> None:
    """Run the stage on one cell of params.yaml's grid."""
    run(Job.open(profile, backbone=backbone, seed=seed))


def run(job: Job) -> None:
    """Three checkpoints and their backbone -> activations/<P>/<b>-<s>.safetensors.

    The pairs are all of the objective's training split, those that training drops for their length cut (METHOD.md
    section 4). A pair goes once through the backbone and through each RM of its objectives: the mixed one, and its own.
    """
    config, trio = job.profile.activations, job.trio
    place = Place(profile_device(job.paths.profile, job.profile.gpu), config.precision)
    weights, budget = job.profile.train.weights, Budget(job.fitting(config.tokens_per_batch))
    parameters = job.parameters("activations") | {"weights": weights}
    state = job.paths.state("activations", trio.key)
    inputs = [*job.checkpoint_files(), job.tokens("train")]
    with record(job.paths.run("activations", trio.key), parameters) as metrics:
        parts = parts_folder(state, CODE, parameters, inputs)
        # rounded as the RMs' initial weights were, so that the rounding does not count as change
        backbone = (
            load_reward_model(job.paths.backbone(trio.backbone), weights).float().to(place.device)
        )
        found: dict[str, list[Activations]] = {
            objective: [] for objective in job.params.grid.objectives
        }
        for objectives, pairs in _pairs_by_objectives(job):
            name = "+".join(objectives)
            part = parts / f"{name}.safetensors"
            if not part.exists():
                folders: dict[str, Path] = {
                    one: job.paths.reward_model(trio.model(one)) for one in objectives
                }
                models = {
                    one: load_reward_model(folder).to(place.device)
                    for one, folder in folders.items()
                }
                sums = collect(
                    models, backbone, pairs["answers"].tolist(), place, budget, f"{trio.key} {name}"
                )
                save_activations(part, sums)
            for objective, summed in load_activations(part).items():
                found[objective].append(summed)
        totals = {objective: reduce(add, sums) for objective, sums in found.items()}
        metrics |= {
            f"{objective}_tokens": sum(side.tokens for side in one.sides)
            for objective, one in totals.items()
        }
        metrics |= {"tokens_per_batch": budget.tokens, "computes_in": place.computes_in}
        save_activations(job.paths.activations(trio), totals)
    shutil.rmtree(state)


def _pairs_by_objectives(job: Job) -> Iterator[tuple[tuple[Objective, ...], pd.DataFrame]]:
    """Yield training pairs, or samples of them that depend on the seed, by the objectives whose RMs see them."""
    cap, objectives = job.profile.activations.max_pairs, job.params.grid.objectives
    table = job.pairs("train")
    seen = pd.DataFrame(index=table.index)
    for objective in objectives:
        pairs = job.pairs("train", objective)
        drawn = (
            pairs
            if cap is None or cap >= len(pairs)
            else pairs.sample(cap, random_state=job.trio.seed)
        )
        seen[objective] = seen.index.isin(drawn.index)
    for key, group in table[seen.any(axis=1)].groupby(
        [seen[objective] for objective in objectives], sort=False
    ):
        yield tuple(compress(objectives, cast(tuple[bool, ...], key))), group
