"""Every number of the report, as tidy CSVs, from the rewards and activations of the trios that there are."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rm_tension.activations.sums import load_activations
from rm_tension.analyse.bootstrap import RESAMPLES, Replicates
from rm_tension.analyse.claims import decide_all
from rm_tension.analyse.comparison import compared
from rm_tension.analyse.context import Context
from rm_tension.analyse.evidence import grid_evidence, trio_evidence
from rm_tension.analyse.example import candidates, choose
from rm_tension.analyse.files import REFERENCE, read_tables, write_tables
from rm_tension.analyse.means import Tables, means_tables
from rm_tension.analyse.neuron_evidence import neuron_evidence
from rm_tension.analyse.neurons import Neurons, neuron_table
from rm_tension.analyse.outcomes import outcomes, prompts, read_layout, read_scored
from rm_tension.analyse.published_evidence import published_evidence
from rm_tension.analyse.robustness import ablation_verdicts, verdict_table
from rm_tension.analyse.score_shift import (
    Curve,
    curves,
    density_table,
    retained,
    sides,
    suite_rewards,
    task_rewards,
)
from rm_tension.analyse.tables import backbone_tables, grid_tables, trio_tables
from rm_tension.analyse.training_curves import MEASURES, training_curve
from rm_tension.base.config import EvaluateConfig, MiniatureData, Profile, TestFiles
from rm_tension.base.errors import UserError
from rm_tension.base.files import read_json, whole, write_json
from rm_tension.base.grid import Paths, Trio, trios
from rm_tension.base.job import Job
from rm_tension.base.provenance import LoadedData, LoadedWeights, Provenance
from rm_tension.base.runs import record
from rm_tension.base.tables import TEXTS, read_table
from rm_tension.paper.tasks import TASKS


def main(*, profile: str) -> None:
    """Run the stage on one cell of params.yaml's grid."""
    run(Job.open(profile))


def run(job: Job) -> None:
    """rewards/, activations/, runs/*/steps/, data/, models/*/provenance/ -> results/<P>/: tables, neurons, JSON."""
    paths, config = job.paths, job.profile.evaluate
    present = [
        trio for trio in trios(job.params.grid, paths.profile) if paths.rewards(trio).exists()
    ]
    if not present:
        folder = paths.rewards(Trio("*", 0)).parent
        raise UserError(
            f"{folder}: no rewards of any trio; run `dvc repro evaluate@{paths.profile}-...` first"
        )
    with record(paths.run("analyse"), dict(job.cell)) as metrics:
        layout = read_layout(paths, job.params.grid)
        files = job.params.grid.test_files
        found = {
            trio: _of_trio(paths.rewards(trio), trio, layout, files, config.task_percent)
            for trio in present
        }
        neuron_tables = _neuron_tables(paths, present, config.task_percent)
        neurons = {backbone: Neurons.of_table(table) for backbone, table in neuron_tables.items()}
        tables = _joined(results.tables for results in found.values())
        tables |= _joined(_of_backbone(backbone, one, config) for backbone, one in neurons.items())
        tables["reward_density"] = density_table(
            curve for results in found.values() for curve in results.curves
        )
        tables |= grid_tables(tables, config.task_percent)
        tables["training_curves"] = _training_curves(job, present)
        reference = read_tables(paths.root / "reference", REFERENCE)
        means = compared(means_tables(tables, config.task_percent), reference)
        examples = {trio: results.examples for trio, results in found.items()}
        example = choose(examples, read_table(paths.texts("benchmarks"), TEXTS))
        replicates = Replicates.draw(present, np.random.default_rng(0), RESAMPLES)
        of_neurons = neuron_evidence(neurons, config.task_percent, replicates)
        of_trios = grid_evidence(
            {trio: results.evidence for trio, results in found.items()}, replicates
        )
        evidence, published = of_trios.join(of_neurons), published_evidence(reference)
        claims = decide_all(evidence, published, job.profile.required_claims)
        verdicts = [
            verdict_table(neurons, replicates),
            ablation_verdicts(of_trios, config.task_percent),
        ]
        tables["verdicts_by_score"] = pd.concat(verdicts, ignore_index=True)
        provenance, stand_ins = _provenance(paths, present)
        context = _context(job, present, tables["accuracy"], stand_ins)
        with whole(paths.results) as folder:
            write_tables(tables, folder)
            write_tables(means, folder / "means")
            pd.concat(neuron_tables.values()).to_parquet(folder / "neurons.parquet", index=False)
            write_json(folder / "example.json", asdict(example))
            write_json(folder / "claims.json", list(map(asdict, claims)))
            write_json(folder / "context.json", asdict(context))
            write_json(folder / "provenance.json", asdict(provenance))
        metrics |= {
            "trios": len(present),
            **{f"{name}_rows": len(table) for name, table in tables.items()},
        }


@dataclass(frozen=True)
class TrioResults:
    """What is kept of one trio's rewards, so that memory holds the rewards of one trio at a time."""

    tables: Tables
    curves: list[Curve]
    examples: pd.DataFrame
    evidence: pd.DataFrame


def _of_trio(
    path: Path, trio: Trio, layout: pd.DataFrame, files: TestFiles, percent: int
) -> TrioResults:
    scored = read_scored(path, layout, files)
    items, on_tasks = outcomes(scored), task_rewards(scored, percent)
    found = list(sides(on_tasks))
    tables = trio_tables(scored, items, files)
    for table in tables.values():
        table.insert(0, "backbone", trio.backbone)
        table.insert(1, "seed", trio.seed)
    evidence = trio_evidence(items, found, percent, prompts(layout), files, RESAMPLES)
    drawn = list(curves({"corrected": found, "as_published": retained(suite_rewards(scored))}))
    return TrioResults(tables, drawn, candidates(on_tasks), evidence)


def _neuron_tables(paths: Paths, present: list[Trio], percent: int) -> dict[str, pd.DataFrame]:
    """By backbone, from the activations of its trios."""
    if missing := [
        str(paths.activations(trio)) for trio in present if not paths.activations(trio).exists()
    ]:
        raise UserError(
            f"{missing[0]}: missing, although its trio's rewards exist; run `dvc repro` for its stage"
        )
    trios_of: dict[str, list[Trio]] = {}
    for trio in present:
        trios_of.setdefault(trio.backbone, []).append(trio)
    return {
        backbone: neuron_table(
            backbone,
            {trio.seed: load_activations(paths.activations(trio)) for trio in own},
            percent,
        )
        for backbone, own in trios_of.items()
    }


def _of_backbone(backbone: str, neurons: Neurons, config: EvaluateConfig) -> Tables:
    tables = backbone_tables(neurons, config.task_percent, config.set_percents)
    for table in tables.values():
        table.insert(0, "backbone", backbone)
    return tables


def _training_curves(job: Job, present: list[Trio]) -> pd.DataFrame:
    curves = []
    for model in (
        trio.model(objective) for trio in present for objective in job.params.grid.objectives
    ):
        curve = training_curve(read_table(job.paths.history(model), MEASURES))
        curves.append(
            curve.assign(backbone=model.backbone, seed=model.seed, objective=model.objective)
        )
    table = pd.concat(curves, ignore_index=True)
    keys = ["backbone", "seed", "objective"]
    return table[[*keys, *table.columns.drop(keys)]]


def _joined(parts: Iterable[Tables]) -> Tables:
    parts = list(parts)
    return {name: pd.concat([part[name] for part in parts]) for name in parts[0]}


def _provenance(paths: Paths, present: list[Trio]) -> tuple[Provenance, str | None]:
    """What was loaded, and what was taken for official files, if any was.

    Of weights it is not known whether they are the official ones where stand-ins are accepted. The bytes of generated
    files depend on the machine's libraries, and are left out.
    """
    data = read_json(paths.provenance, LoadedData)
    backbones = dict.fromkeys(trio.backbone for trio in present)
    weights = {
        name: read_json(paths.backbone_provenance(name), LoadedWeights) for name in backbones
    }
    sentences = [data.stand_ins, *(loaded.stand_ins for loaded in weights.values())]
    stand_ins = next(filter(None, sentences), None)
    return Provenance([file for file in data.files if file.commit], weights), stand_ins


def _context(
    job: Job, present: list[Trio], task_accuracy: pd.DataFrame, stand_ins: str | None
) -> Context:
    found = set(task_accuracy["task"])
    return Context(
        profile=job.paths.profile,
        title=job.profile.title,
        task_percent=job.profile.evaluate.task_percent,
        comparable=_is_full(job.profile) and not stand_ins,
        stand_ins=stand_ins,
        trios=[trio.key for trio in present],
        missing_trios=[
            trio.key for trio in trios(job.params.grid, job.paths.profile) if trio not in present
        ],
        missing_tasks=[task.key for task in TASKS if task.key not in found],
    )


def _is_full(profile: Profile) -> bool:
    """Whether the profile takes all of the real data, so that its numbers may be held against the paper's."""
    data = profile.data
    caps = (data.max_train_pairs, data.max_test_pairs, data.max_items_per_task)
    return not isinstance(data.source, MiniatureData) and not any(caps)
