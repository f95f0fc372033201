"""Fetch (or randomly initialise and pretrain) one backbone, without its language-model head."""

from rm_tension.backbone.backbones import make_backbone, save_backbone
from rm_tension.backbone.neurons import neuron_shape
from rm_tension.base.files import whole
from rm_tension.base.hub import Hub
from rm_tension.base.job import Job, main
from rm_tension.base.runs import record


def run(job: Job) -> None:
    """tokens/<P>/<b>/ -> models/<P>/backbones/<b>/."""
    name = job.arguments.backbone
    backbone = job.profile.backbones[name]
    with record(job.paths.run("backbone", name), job.parameters("backbones")) as metrics:
        model = make_backbone(
            backbone.weights,
            job.paths.tokenizer(name),
            job.tokens("train"),
            job.profile.tokens.max_length,
            Hub(job.hub_sums),
        )
        with whole(job.paths.backbone(name)) as folder:
            save_backbone(model, folder, job.paths.tokenizer(name))
        layers, neurons = neuron_shape(model)
        metrics |= {"parameters": model.num_parameters(), "layers": layers, "neurons": layers * neurons}


if __name__ == "__main__":
    main(run, "backbone")
