"""Sum the MLP activations of a trio's reward models, each over its own training pairs, beside its backbone's."""

from rm_tension.activation_stats import collect
from rm_tension.activation_sums import Activations, save_activations
from rm_tension.model.device import make_accelerator
from rm_tension.model.reward_model import load_reward_model
from rm_tension.objectives import TRAIN_SOURCES
from rm_tension.runs import record
from rm_tension.stages.common import Job, main


def run(job: Job) -> None:
    """Three checkpoints and their backbone -> activations/<P>/<b>-<s>.safetensors."""
    config, trio = job.profile.activations, job.trio
    accelerator = make_accelerator(config.autocast)
    with record(job.paths.run("activations", trio.key), job.parameters("activations")) as metrics:
        backbone = load_reward_model(job.paths.backbone(trio.backbone)).to(accelerator.device)
        found: dict[str, Activations] = {}
        for objective in job.params.grid.objectives:
            pairs = job.token_files.pairs("train", TRAIN_SOURCES[objective])
            if config.max_pairs is not None and config.max_pairs < len(pairs):
                pairs = pairs.sample(config.max_pairs, random_state=trio.seed)
            items = list(zip(pairs["chosen"], pairs["rejected"], strict=True))
            model = load_reward_model(job.paths.reward_model(trio.model(objective))).to(accelerator.device)
            label = f"{trio.model(objective).key} activations"
            found[objective] = collect(model, backbone, items, accelerator, config.tokens_per_batch, label)
            metrics[objective] = {"pairs": len(items), "tokens": sum(side.tokens for side in found[objective].sides)}
        save_activations(job.paths.activations(trio), found)


if __name__ == "__main__":
    main(run, "backbone", "seed")
