from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rm_tension.analysis import accuracy
from rm_tension.analysis.bootstrap import Draws
from rm_tension.analysis.evidence import neuron_evidence, published_evidence, trio_evidence
from rm_tension.analysis.neurons import Neurons, depth_table, overlap_table, retention_table, rmsd_table
from rm_tension.analysis.outcomes import answer_layout, outcomes, score
from rm_tension.analysis.retention import retention
from rm_tension.analysis.score_shift import sides, spread_table, task_rewards
from rm_tension.grid import Trio
from synthetic import make_activations, make_benchmarks, make_preferences, make_rewards, small_params

REFERENCE = {path.stem: pd.read_csv(path) for path in (Path(__file__).parents[2] / "reference").glob("*.csv")}
TRIO = Trio("gpt2-small", 0)


@pytest.fixture(scope="module")
def rewards():
    """Items and sides of one synthetic trio, whose benchmarks lack half of Math."""
    benchmarks, preferences = make_benchmarks(without=["rm-bench/math"]), make_preferences()
    table = make_rewards(small_params(), TRIO, benchmarks, preferences)
    scored = score(table, answer_layout(benchmarks, preferences))
    return outcomes(scored), list(sides(task_rewards(scored, 10), 10))


def evidence(rewards, resamples=20):
    return trio_evidence(*rewards, 10, np.random.default_rng(0), resamples)


def test_the_first_row_is_what_the_tables_say(rewards):
    items, found = rewards
    estimate = evidence(rewards).iloc[0]
    tasks = accuracy.task_accuracy(items)
    plain = tasks[tasks["condition"] == "none"].set_index(["objective", "task"])["accuracy"]
    assert len(plain) == 3 * 24
    for (objective, task), value in plain.items():
        assert estimate["accuracy", objective, "none", task] == pytest.approx(value)
    for row in accuracy.changes(tasks.assign(backbone="b", seed=0)).itertuples():
        assert estimate["delta", row.objective, row.kind, row.task] == pytest.approx(row.delta)
    kept = retention(items).query("condition == 'none'").set_index("task")["retention"]
    for task, value in kept.items():
        assert estimate["retention", "mixed", "none", task] == pytest.approx(value)
    own = accuracy.hh_accuracy(items).query("dataset == 'own'").set_index(["objective", "condition"])["accuracy"]
    for objective in ("helpful", "harmless", "mixed"):
        drop = own[objective, "change-10"] - own[objective, "none"]
        assert estimate["hh_delta", objective, "change", ""] == pytest.approx(drop)
    spread = spread_table(found).set_index(["comparison", "objective", "side"])
    for name in ("mean_abs", "std"):
        ratio = spread[name]["retained", "harmless", "mixed"] / spread[name]["retained", "harmless", "single"]
        assert estimate[f"log_{name}", "harmless", "retained", ""] == pytest.approx(np.log(ratio))
    assert not [column for column in estimate.index if column[3] == "math"]


def test_the_same_seed_gives_the_same_resamples(rewards):
    first, second = evidence(rewards), evidence(rewards)
    pd.testing.assert_frame_equal(first, second)
    estimate, spread = first.iloc[0], first.iloc[1:].std()
    for measure, whole in (("accuracy", 100), ("retention", 1)):
        between = estimate[measure].between(0, whole, inclusive="neither")  # none right, or all, resamples to the same
        assert between.sum() > 10
        assert (spread[measure][between] > 0).all()
    assert (spread > 0).mean() > 0.8


def test_neurons_first_row_is_what_the_tables_say():
    trios = [Trio(backbone, seed) for backbone in ("gpt2-small", "smollm2-135m") for seed in (0, 247)]
    found = {
        backbone: Neurons.of((seed, make_activations(Trio(backbone, seed))) for seed in (0, 247))
        for backbone in ("gpt2-small", "smollm2-135m")
    }
    depth = pd.concat([depth_table(one, 10).assign(backbone=backbone) for backbone, one in found.items()])
    frame = neuron_evidence(found, 10, Draws.of(trios, np.random.default_rng(0), 50))
    estimate = frame.iloc[0]
    overlaps = [overlap_table(one, 10).iloc[2]["jaccard"] for one in found.values()]
    assert estimate["jaccard", "helpful-harmless", "", ""] == pytest.approx(np.mean(overlaps))
    kept = [retention_table(one, 10).iloc[0]["retention"] for one in found.values()]
    assert estimate["neuron_retention", "mixed", "", ""] == pytest.approx(np.mean(kept))
    sizes = [rmsd_table(one, 10).set_index("objective").loc["helpful"] for one in found.values()]
    ratios = [one["rmsd"] / one["mean_top_score"] for one in sizes]
    assert estimate["rmsd", "helpful", "", ""] == pytest.approx(np.mean(ratios))
    late = depth[(depth["variant"] == "corrected") & (depth["third"] == "late") & (depth["objective"] == "mixed")]
    assert estimate["late_excess", "mixed", "", "pooled"] == pytest.approx(late["neurons"].sum() / 48 - 1 / 3)
    of_one = depth.query("variant == 'corrected' and third == 'late' and backbone == 'gpt2-small'")
    assert estimate["late_excess", "", "", "gpt2-small"] == pytest.approx(of_one["neurons"].sum() / 72 - 1 / 3)
    assert (frame.std() > 0).all()


def test_published_numbers_are_computed_from_the_reference():
    row = published_evidence(REFERENCE).iloc[0]
    assert row["accuracy", "mixed", "none", "donotanswer"] == 31.17
    assert row["delta", "harmless", "magnitude", "alpacaeval-easy"] == 17.56
    assert row["delta", "mixed", "shared", "donotanswer"] == 6.62
    assert row["retention", "mixed", "none", "focus"] == pytest.approx(0.25, abs=0.01)
    assert row["jaccard", "helpful-harmless", "", ""] == pytest.approx(0.477, abs=0.0005)
    counts = row.index.to_frame()["measure"].value_counts()
    assert counts.to_dict() == {"delta": 150, "accuracy": 75, "retention": 25, "jaccard": 1, "neuron_retention": 1}
