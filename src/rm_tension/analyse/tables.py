"""The tidy tables of results/<profile>/: what each trio, each backbone and the whole grid contribute."""

from collections.abc import Iterable

import pandas as pd

from rm_tension.analyse import accuracy, as_published, averages, neurons, robustness
from rm_tension.analyse.means import Tables
from rm_tension.analyse.neurons import Neurons
from rm_tension.analyse.retention import retention
from rm_tension.analyse.suites import suite_metrics
from rm_tension.base.config import TestFiles
from rm_tension.evaluate.conditions import NONE, SETS
from rm_tension.paper.tasks import SUITES


def trio_tables(scored: pd.DataFrame, items: pd.DataFrame, test_files: TestFiles) -> Tables:
    """By file name, from `outcomes.score` and `outcomes.outcomes` of one trio."""
    unablated = scored[scored["kind"] == NONE.kind]
    return {
        "accuracy": accuracy.task_accuracy(items),
        "hh_accuracy": accuracy.hh_accuracy(items, test_files),
        "retention": retention(items),
        "suites": suite_metrics(unablated),
        "math_components": as_published.math_components(items),
        "ties": as_published.ties(unablated[unablated["dataset"].isin(SUITES)]),
    }


def backbone_tables(found: Neurons, percent: int, percents: Iterable[int]) -> Tables:
    """By file name, from the activations of one backbone's RMs."""
    return {
        "rmsd": neurons.rmsd_table(found, percent),
        "neuron_depth": neurons.depth_table(found, percent),
        "neuron_overlap": neurons.overlap_table(found, percent),
        "neuron_retention": neurons.retention_table(found, percent),
        "backbone_overlap": neurons.backbone_table(found, percent),
        "neuron_overlap_by_score": robustness.overlap_table(found),
        "neuron_sets": neurons.sets_table(found, percents),
    }


def grid_tables(tables: Tables, percent: int) -> Tables:
    """What follows from the tables of all trios and backbones: group averages, changes, pooled depth, Table 19."""
    tasks = tables["accuracy"].drop(columns=["items", "correct", "ties"])
    groups = averages.with_groups(tasks, "accuracy")
    changes = accuracy.changes(tasks)
    columns = [
        "backbone",
        "seed",
        "percent",
        "task",
        "baseline_accuracy",
        "ablated_accuracy",
        "delta",
    ]
    magnitude, sets = changes["kind"] == "magnitude", changes["kind"].isin(SETS)
    depth = tables["neuron_depth"]
    return {
        "group_accuracy": groups[~groups["task"].isin(tasks["task"])].rename(
            columns={"task": "group"}
        ),
        "ablation_magnitude": changes.loc[magnitude, ["objective", *columns]],
        "ablation_shared_sets": changes[sets].rename(columns={"kind": "ablated_set"})[
            ["ablated_set", *columns]
        ],
        "neuron_depth": pd.concat([depth, neurons.pooled_depth(depth).assign(backbone="pooled")]),
        "ablation_by_score": robustness.ablation_table(changes),
        "retention_after_ablation": as_published.retention_after_ablation(
            tables["retention"], percent
        ),
    }
