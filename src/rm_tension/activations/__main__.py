"""Sum the MLP activations of a trio's reward models, each over its own training pairs, beside its backbone's."""

import shutil

from rm_tension.activations.stats import collect
from rm_tension.activations.sums import Activations, load_activations, save_activations
from rm_tension.base.config import Objective
from rm_tension.base.job import Job, main
from rm_tension.base.parts import parts_folder
from rm_tension.base.runs import record
from rm_tension.model.device import Budget, make_accelerator
from rm_tension.model.reward_model import load_reward_model
from rm_tension.model.rows import Item

CODE = ("activations", "backbone/neurons.py", "model")  # that parts belong to


def run(job: Job) -> None:
    """Three checkpoints and their backbone -> activations/<P>/<b>-<s>.safetensors."""
    config, trio = job.profile.activations, job.trio
    accelerator = make_accelerator(config.autocast)
    weights, budget = job.profile.train.weights, Budget(job.fitting(config.tokens_per_batch))
    parameters = job.parameters("activations") | {"weights": weights}
    state = job.paths.state("activations", trio.key)
    inputs = [*job.checkpoint_files(), job.tokens("train")]
    with record(job.paths.run("activations", trio.key), parameters) as metrics:
        parts = parts_folder(state, CODE, parameters, inputs)
        # rounded as the RMs' initial weights were, so that the rounding does not count as change
        backbone = load_reward_model(job.paths.backbone(trio.backbone), weights).float().to(accelerator.device)
        found: dict[str, Activations] = {}
        for objective in job.params.grid.objectives:
            part, key = parts / f"{objective}.safetensors", trio.model(objective)
            if not part.exists():
                model = load_reward_model(job.paths.reward_model(key)).to(accelerator.device)
                label = f"{key.key} activations"
                sums = collect(model, backbone, _pairs(job, objective), accelerator, budget, label)
                save_activations(part, {objective: sums})
            found |= load_activations(part)
            metrics[f"{objective}_tokens"] = sum(side.tokens for side in found[objective].sides)
        metrics["tokens_per_batch"] = budget.tokens
        save_activations(job.paths.activations(trio), found)
    shutil.rmtree(state)


def _pairs(job: Job, objective: Objective) -> list[Item]:
    """The training pairs of an objective, or a sample of them that depends on the seed."""
    pairs = job.pairs("train", objective)
    cap = job.profile.activations.max_pairs
    if cap is not None and cap < len(pairs):
        pairs = pairs.sample(cap, random_state=job.trio.seed)
    items: list[Item] = pairs["answers"].tolist()
    return items


if __name__ == "__main__":
    main(run, "backbone", "seed")
