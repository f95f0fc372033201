"""The columns of results/<profile>/*.csv and of reference/*.csv, and how they are read."""

from collections.abc import Mapping
from pathlib import Path

from rm_tension.analyse.means import Tables
from rm_tension.base.tables import damaged, read_table
from rm_tension.paper.tasks import BY_KEY

DIGITS = "%.10g"  # of every number of results/
RESULTS = {
    "accuracy": "backbone seed objective kind percent task items correct ties accuracy",
    "group_accuracy": "backbone seed objective kind percent group accuracy tasks",
    "hh_accuracy": "backbone seed objective kind percent subset items correct ties accuracy",
    "math_components": "backbone seed objective kind percent suite items accuracy chance",
    "retention": "backbone seed kind percent task retention mixed_vs_helpful mixed_vs_harmless retention_as_published",
    "retention_after_ablation": "task column corrected as_published",
    "ablation_by_score": "objective backbone seed score percent group delta tasks",
    "ablation_magnitude": "objective backbone seed percent task baseline_accuracy ablated_accuracy delta",
    "ablation_shared_sets": "ablated_set backbone seed percent task baseline_accuracy ablated_accuracy delta",
    "suites": "backbone seed objective suite part metric value",
    "ties": "backbone seed objective dataset subset items accuracy ties accuracy_bfloat16 ties_bfloat16",
    "rmsd": "backbone objective rmsd mean_top_score",
    "backbone_overlap": "backbone objective seed jaccard",
    "neuron_depth": "backbone objective seed variant third neurons all_neurons share",
    "neuron_overlap": "backbone variant objective_a objective_b jaccard intersection union",
    "neuron_overlap_by_score": "backbone score percent objective_a objective_b jaccard",
    "neuron_retention": "backbone variant retention",
    "neuron_sets": "backbone seed percent ablated_set corrected as_published blocks",
    "reward_density": "figure variant panel curve reward density",
    "training_curves": "backbone seed objective progress loss accuracy margin",
    "verdicts_by_score": "score percents id effect low high verdict",
}
REFERENCE = {
    "accuracy": "table backbone objective task accuracy seed_std",
    "accuracy_smollm2-135m": "table backbone objective task accuracy seed_std",
    "hh_accuracy": "table backbone objective accuracy",
    "figure_05": "objective percent accuracy",
    "retention": "table backbone task retention seed_std",
    "retention_after_ablation": "table task baseline helpful_only harmless_only shared",
    "retention_pairwise_gpt2-large": "backbone task mixed_vs_harmless mixed_vs_helpful",
    "ablation_magnitude_p10": "table backbone objective task baseline_accuracy delta",
    "ablation_magnitude_p10_average": "table objective task baseline_accuracy delta",
    "ablation_shared_sets": "table ablated_set task value",
    "rmsd": "table backbone objective rmsd",
    "neuron_overlap_p10": "backbone objective_a objective_b jaccard intersection union",
}


def read_tables(folder: Path, files: Mapping[str, str]) -> Tables:
    """By file name; UserError names one that is missing, lacks a column or has something else in it than it should."""
    tables = {
        name: read_table(folder / f"{name}.csv", columns.split()) for name, columns in files.items()
    }
    for name, table in tables.items():
        unknown = set(table.get("task", [])) - {*BY_KEY, "average"}
        if unknown:
            raise damaged(folder / f"{name}.csv", f"no task of the paper: {min(unknown)}")
    return tables


def write_tables(tables: Tables, folder: Path) -> None:
    """A CSV file each, in a new folder."""
    folder.mkdir()
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, float_format=DIGITS)
