"""Fetch (or randomly initialise and pretrain) one backbone, without its language-model head."""

from rm_tension.files import whole
from rm_tension.hub import Hub
from rm_tension.model.backbones import make_backbone, save_backbone
from rm_tension.model.neurons import neuron_shape
from rm_tension.runs import record
from rm_tension.stages.common import Job, main


def run(job: Job) -> None:
    """tokens/<P>/<tokenizer>/ -> models/<P>/backbones/<b>/."""
    name = job.arguments.backbone
    backbone = job.profile.backbones[name]
    files = job.token_files
    with record(job.paths.run("backbone", name), job.parameters("backbones")) as metrics:
        model = make_backbone(backbone.weights, files, job.profile.tokens.max_length, Hub(job.hub_sums))
        with whole(job.paths.backbone(name)) as folder:
            save_backbone(model, folder, files.tokenizer)
        layers, neurons = neuron_shape(model)
        metrics |= {"parameters": model.num_parameters(), "layers": layers, "neurons": layers * neurons}


if __name__ == "__main__":
    main(run, "backbone")
