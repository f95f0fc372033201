"""Compute every number of the report, as tidy CSVs, from the trios that there are."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_tension.activations.sums import Activations, load_activations
from rm_tension.analyse import score_shift
from rm_tension.analyse.averages import Tables, insert_keys
from rm_tension.analyse.bootstrap import RESAMPLES, Replicates, Weights, draw_items
from rm_tension.analyse.claims import decide_all
from rm_tension.analyse.comparison import compared
from rm_tension.analyse.context import Context
from rm_tension.analyse.controls import control_tables, group_effects
from rm_tension.analyse.evidence import grid_evidence, trio_evidence
from rm_tension.analyse.example import candidates, choose
from rm_tension.analyse.explorer import choose_items, explorable
from rm_tension.analyse.means import means_tables
from rm_tension.analyse.metrics import trio_metrics
from rm_tension.analyse.neurons import Neurons, backbone_tables, neuron_evidence, neuron_table
from rm_tension.analyse.outcomes import SCORED, outcomes, read_layout, read_scored
from rm_tension.analyse.published import published_evidence, read_published
from rm_tension.analyse.robustness import ablation_verdicts, neuron_verdicts
from rm_tension.analyse.tables import (
    MEASURES,
    grid_tables,
    training_curve,
    trio_tables,
    write_tables,
)
from rm_tension.analyse.verdicts import DecidedClaim
from rm_tension.base.config import MiniatureData, Params, Profile
from rm_tension.base.errors import UserError
from rm_tension.base.files import atomic_write, read_json, write_json
from rm_tension.base.grid import Trio, trios
from rm_tension.base.job import Job
from rm_tension.base.provenance import LoadedData, LoadedWeights, Provenance
from rm_tension.base.runs import record
from rm_tension.base.tables import TEXTS, read_table
from rm_tension.evaluate.conditions import MARGINS
from rm_tension.paper.tasks import TASKS


def main(*, profile: str) -> None:
    """Run the stage on one cell of params.yaml's grid."""
    run(Job.open(profile))


def run(job: Job) -> None:
    """Make results/<P>/ from what all trios left, data/ and models/*/provenance/."""
    paths, percent = job.paths, job.profile.evaluate.task_percent
    present = [trio for trio in _grid(job) if paths.rewards(trio).exists()]
    if not present:
        folder = paths.rewards(Trio("*", 0)).parent
        raise UserError(
            f"{folder}: no rewards of any trio; run `dvc repro evaluate@{paths.profile}-...` first"
        )
    job.refuse_leftovers(_inputs(job))
    with record(paths.run("analyse"), dict(job.cell)) as metrics:
        layout = read_layout(paths)
        weights = draw_items(layout, RESAMPLES)
        results = {trio: _of_trio(job, trio, layout, weights) for trio in present}
        neuron_tables = _neuron_tables(job, present)
        neurons = {name: Neurons.of_table(table) for name, table in neuron_tables.items()}
        published = read_published(paths.root / "reference" / "published.csv")
        tables = _tables(job, results, neurons)
        claims, decided = _decide(job, results, neurons, published)
        tables |= decided
        means = compared(means_tables(tables, percent), published)
        texts = pd.concat([read_table(paths.texts(s), TEXTS) for s in SCORED], ignore_index=True)
        example = choose(tables.pop("candidates"), texts)
        generated = isinstance(job.profile.data.source, MiniatureData)
        explorer, tables["explorer"] = choose_items(tables.pop("explorable"), texts, generated)
        provenance, stand_ins = _provenance(job, present)
        context = _context(job, present, tables["accuracy"], stand_ins)
        with atomic_write(paths.results) as folder:
            write_tables({name: by_name(t, job.params) for name, t in tables.items()}, folder)
            write_tables(means, folder / "means")
            every_neuron = by_name(pd.concat(neuron_tables.values()), job.params)
            every_neuron.to_parquet(folder / "neurons.parquet", index=False)
            write_json(folder / "example.json", asdict(example))
            write_json(folder / "explorer.json", asdict(explorer))
            write_json(folder / "claims.json", list(map(asdict, claims)))
            write_json(folder / "context.json", asdict(context))
            write_json(folder / "provenance.json", asdict(provenance))
        metrics["trios"] = len(present)
        metrics |= {f"{name}_rows": len(table) for name, table in tables.items()}


def by_name(table: pd.DataFrame, params: Params) -> pd.DataFrame:
    """Return a table with the names of objectives in the place of their roles."""
    names = {role: name for name, role in params.roles.items() if role != name}
    columns = [column for column in table if str(column).startswith("objective")]
    return table.replace(dict.fromkeys(columns, names)) if names else table


def _inputs(job: Job) -> Iterator[Path]:
    """Yield what the stages before have written, cell by cell, into folders that are read here."""
    for trio in _grid(job):
        yield from (job.paths.rewards(trio), job.paths.margins(trio), job.paths.activations(trio))
        yield job.paths.backbone_provenance(trio.backbone)
        yield from map(job.paths.history, trio.models(job.params.grid))


def _grid(job: Job) -> list[Trio]:
    return list(trios(job.params.grid, job.paths.profile))


@dataclass(frozen=True)
class TrioResults:
    """What is kept of one trio, so that memory holds the rewards of one trio at a time."""

    tables: Tables
    curves: dict[score_shift.Curve, NDArray[np.float64]]
    evidence: pd.DataFrame
    correlations: pd.DataFrame  # of `group_effects`


def _of_trio(job: Job, trio: Trio, layout: pd.DataFrame, weights: Weights) -> TrioResults:
    roles, percent = job.params.roles, job.profile.evaluate.task_percent
    scored = read_scored(job.paths.rewards(trio), layout)
    scored["objective"] = scored["objective"].cat.rename_categories(roles)
    files = {roles[name]: own for name, own in job.params.test_files.items()}
    items = outcomes(scored)
    metrics = trio_metrics(items, weights, files)
    rewards, right = score_shift.task_rewards(scored, percent), score_shift.right_items(items)
    sides = list(score_shift.sides(rewards, right))
    of_suites = score_shift.retained(score_shift.suite_rewards(scored), right)
    curves = score_shift.curves("corrected", sides)
    curves |= score_shift.curves("as_published", of_suites)
    shifts = score_shift.log_ratios(sides, weights)
    evidence = trio_evidence(metrics.tasks, metrics.hh, percent).join(shifts)
    margins = read_table(job.paths.margins(trio), MARGINS).replace({"objective": roles})
    drops, correlations = group_effects(margins, layout, weights)
    tables = trio_tables(scored, items, metrics) | {
        "group_effects": drops,
        "candidates": candidates(rewards),
        "explorable": explorable(scored, percent),
    }
    for table in tables.values():
        insert_keys(table, backbone=trio.backbone, seed=trio.seed)
    return TrioResults(tables, curves, evidence, correlations)


def _neuron_tables(job: Job, present: list[Trio]) -> dict[str, pd.DataFrame]:
    """Return `neuron_table` by backbone."""
    sums: dict[str, dict[int, dict[str, Activations]]] = {}
    for trio in present:
        read = load_activations(job.paths.activations(trio))
        by_role = {job.params.roles[name]: of_rm for name, of_rm in read.items()}
        sums.setdefault(trio.backbone, {})[trio.seed] = by_role
    percent = job.profile.evaluate.task_percent
    return {backbone: neuron_table(backbone, own, percent) for backbone, own in sums.items()}


def _tables(
    job: Job, results: Mapping[Trio, TrioResults], neurons: Mapping[str, Neurons]
) -> Tables:
    """Return the tables of results/<P>/ but for those of `_decide`, by file name."""
    config = job.profile.evaluate
    of_backbones = []
    for backbone, own in neurons.items():
        made = backbone_tables(own, config.task_percent, config.set_percents)
        for table in made.values():
            insert_keys(table, backbone=backbone)
        of_backbones.append(made)
    tables = _joined(result.tables for result in results.values()) | _joined(of_backbones)
    curves = [result.curves for result in results.values()]
    tables["reward_density"] = score_shift.density_table(curves)
    tables |= grid_tables(tables, config.task_percent)
    tables["training_curves"] = _training_curves(job, list(results))
    return tables


def _decide(
    job: Job,
    results: Mapping[Trio, TrioResults],
    neurons: Mapping[str, Neurons],
    published: pd.DataFrame,
) -> tuple[list[DecidedClaim], Tables]:
    """Return claims.json, and the tables that have intervals, by file name."""
    percent = job.profile.evaluate.task_percent
    replicates = Replicates.draw(list(results), np.random.default_rng(0), RESAMPLES)
    evidence = {trio: result.evidence for trio, result in results.items()}
    of_rewards = grid_evidence(evidence, replicates)
    ours = of_rewards.join(neuron_evidence(neurons, percent, replicates))
    claims = decide_all(ours, published_evidence(published), job.profile.required_claims)
    by_score = [neuron_verdicts(neurons, replicates), ablation_verdicts(of_rewards, percent)]
    correlations = {trio: result.correlations for trio, result in results.items()}
    roles = job.params.roles.values()
    controls = control_tables(of_rewards, correlations, replicates, roles, percent)
    return claims, {"verdicts_by_score": pd.concat(by_score, ignore_index=True), **controls}


def _joined(parts: Iterable[Tables]) -> Tables:
    parts = list(parts)
    return {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in parts[0]}


def _training_curves(job: Job, present: list[Trio]) -> pd.DataFrame:
    curves = []
    for trio in present:
        for name, role in job.params.roles.items():
            curve = training_curve(read_table(job.paths.history(trio.model(name)), MEASURES))
            insert_keys(curve, backbone=trio.backbone, seed=trio.seed, objective=role)
            curves.append(curve)
    return pd.concat(curves, ignore_index=True)


def _provenance(job: Job, present: list[Trio]) -> tuple[Provenance, str | None]:
    """Return what was loaded, and a sentence on what was taken for official files, if any was.

    Of weights it is not known whether they are the official ones where stand-ins are accepted. The
    bytes of generated files depend on the machine's libraries, and are left out.
    """
    data = read_json(job.paths.provenance, LoadedData)
    weights = {
        name: read_json(job.paths.backbone_provenance(name), LoadedWeights)
        for name in dict.fromkeys(trio.backbone for trio in present)
    }
    sentences = [data.stand_ins, *(loaded.stand_ins for loaded in weights.values())]
    stand_ins = next(filter(None, sentences), None)
    return Provenance([file for file in data.files if file.commit], weights), stand_ins


def _context(
    job: Job, present: list[Trio], accuracy: pd.DataFrame, stand_ins: str | None
) -> Context:
    scored = set(accuracy["task"])
    return Context(
        profile=job.paths.profile,
        title=job.profile.title,
        task_percent=job.profile.evaluate.task_percent,
        comparable=_is_full(job.profile) and not stand_ins,
        stand_ins=stand_ins,
        trios=[trio.key for trio in present],
        missing_trios=[trio.key for trio in _grid(job) if trio not in present],
        missing_tasks=[task.key for task in TASKS if task.key not in scored],
    )


def _is_full(profile: Profile) -> bool:
    """Return whether all of the real data is taken, so that the paper's numbers are comparable."""
    data = profile.data
    caps = (data.max_train_pairs, data.max_test_pairs, data.max_items_per_task)
    return not isinstance(data.source, MiniatureData) and not any(caps)
