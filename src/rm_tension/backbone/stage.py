"""Fetch (or randomly initialise and pretrain) one backbone, without its language-model head."""

from dataclasses import asdict

from rm_tension.backbone.backbones import make_backbone, save_backbone
from rm_tension.backbone.neurons import neuron_shape
from rm_tension.base.files import whole, write_json
from rm_tension.base.hub import Hub
from rm_tension.base.job import Job, main
from rm_tension.base.provenance import LoadedWeights
from rm_tension.base.runs import record


def run(job: Job) -> None:
    """tokens/<P>/<b>/ -> models/<P>/backbones/<b>/ and models/<P>/provenance/<b>.json, what it was loaded from."""
    name = job.arguments.backbone
    backbone = job.profile.backbones[name]
    with record(job.paths.run("backbone", name), job.parameters("backbones")) as metrics:
        model, loaded = make_backbone(
            backbone.weights,
            job.paths.tokenizer(name),
            job.tokens("train"),
            job.profile.tokens.max_length,
            Hub(job.hub_sums),
        )
        with whole(job.paths.backbone(name)) as folder:
            save_backbone(model, folder, job.paths.tokenizer(name))
        provenance = LoadedWeights(loaded, job.stand_ins if loaded else None)
        write_json(job.paths.backbone_provenance(name), asdict(provenance))
        layers, neurons = neuron_shape(model)
        metrics |= {"parameters": model.num_parameters(), "layers": layers, "neurons": layers * neurons}


if __name__ == "__main__":
    main(run, "backbone")
