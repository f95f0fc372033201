"""Fetch (or randomly initialise and pretrain) one backbone, without its language-model head."""

from dataclasses import asdict

from rm_tension.backbone.backbones import make_backbone, save_backbone
from rm_tension.backbone.neurons import neuron_shape
from rm_tension.base.files import atomic_write, write_json
from rm_tension.base.job import Job
from rm_tension.base.provenance import LoadedWeights
from rm_tension.base.runs import record


def main(*, profile: str, backbone: str) -> None:
    """Run the stage on one cell of params.yaml's grid."""
    run(Job.open(profile, backbone=backbone))


def run(job: Job) -> None:
    """Read tokens/<P>/<b>/; write models/<P>/backbones/<b>/ and models/<P>/provenance/<b>.json."""
    backbone = job.backbone
    config = job.profile.backbones[backbone]
    with record(job.paths.run("backbone", backbone), job.parameters("backbones")) as metrics:
        model, loaded = make_backbone(
            config.weights,
            job.paths.tokenizer(backbone),
            job.tokens("train"),
            job.profile.tokens.max_length,
        )
        with atomic_write(job.paths.backbone(backbone)) as folder:
            save_backbone(model, folder, job.paths.tokenizer(backbone))
        provenance = LoadedWeights(loaded, job.stand_ins if loaded else None)
        write_json(job.paths.backbone_provenance(backbone), asdict(provenance))
        layers, neurons = neuron_shape(model)
        metrics |= {
            "parameters": model.num_parameters(),
            "layers": layers,
            "neurons": layers * neurons,
        }
