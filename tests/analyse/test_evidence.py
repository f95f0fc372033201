"""Row 0 of the evidence is what the tables say; the other rows share the draws of the items."""

import numpy as np
import pandas as pd
import pytest

from rm_tension.analyse.bootstrap import Replicates, draw_items
from rm_tension.analyse.evidence import grid_evidence, trio_evidence
from rm_tension.analyse.metrics import RETENTION, trio_metrics
from rm_tension.analyse.outcomes import answer_layout, outcomes, score
from rm_tension.analyse.tables import grid_tables, trio_tables
from rm_tension.base.grid import Trio
from synthetic import make_benchmarks, make_preferences, make_rewards, small_params

TRIOS = [Trio("gpt2-small", 0), Trio("gpt2-small", 247), Trio("smollm2-135m", 0)]
PARAMS = small_params(set_percents=[5, 10, 20])
FILES = PARAMS.test_files
BENCHMARKS, PREFERENCES = make_benchmarks(without=["rm-bench/math"]), make_preferences()
LAYOUT = answer_layout(pd.concat([BENCHMARKS, PREFERENCES], ignore_index=True))
WEIGHTS = draw_items(LAYOUT, 20)


def scored_of(trio):
    return score(make_rewards(PARAMS, trio, BENCHMARKS, PREFERENCES), LAYOUT)


def evidence_of(items):
    metrics = trio_metrics(items, WEIGHTS, FILES)
    return trio_evidence(metrics.tasks, metrics.hh, 10)


@pytest.fixture(scope="module")
def grid():
    """Tables and evidence of each trio, whose benchmarks lack half of Math."""
    found = {}
    for trio in TRIOS:
        scored = scored_of(trio)
        items = outcomes(scored)
        metrics = trio_metrics(items, WEIGHTS, FILES)
        tables = trio_tables(scored, items, metrics)
        tables = {name: table.assign(backbone="b", seed=0) for name, table in tables.items()}
        found[trio] = tables, evidence_of(items)
    return found


def drops(tables):
    """Points of accuracy on the objective's HH-RLHF files; index objective, kind, percent."""
    own = tables["hh_accuracy"].query("subset == 'own'")
    own = own.set_index(["objective", "kind", "percent"])["accuracy"]
    ablated = own[own.index.get_level_values("kind") != "none"]
    whole = own.xs(("none", 0), level=["kind", "percent"])
    return whole.reindex(ablated.index, level="objective") - ablated


def test_the_first_row_is_what_the_tables_say(grid):
    tables, frame = grid[TRIOS[0]]
    estimate = frame.iloc[0]
    plain = tables["accuracy"].query("kind == 'none'")
    assert len(plain) == 3 * 24
    for row in plain.itertuples():
        assert estimate["accuracy", row.objective, "none", row.task, 0] == row.accuracy
    depth = pd.DataFrame(columns=["objective", "seed", "variant", "third", "neurons", "share"])
    depth = depth.assign(backbone="", all_neurons=0)
    made = grid_tables(tables | {"neuron_depth": depth}, 10)
    for row in made["ablation_magnitude"].query("percent == 10").itertuples():
        change = estimate["delta", row.objective, "magnitude", row.task, 0]
        assert change == pytest.approx(row.delta)
    assert set(made["ablation_shared_sets"]["percent"]) == {5, 10, 20}
    for row in made["ablation_shared_sets"].query("percent == 10").itertuples():
        change = estimate["delta", "mixed", row.ablated_set, row.task, 0]
        assert change == pytest.approx(row.delta)
    for row in tables["retention"].query("kind == 'none'").to_dict("records"):
        for measure in RETENTION:
            assert estimate[measure, "mixed", "none", row["task"], 0] == row[measure]
    assert not [column for column in estimate.index if column[3] == "math"]


def test_hh_drops_are_of_each_objective_and_their_mean(grid):
    tables, frame = grid[TRIOS[0]]
    estimate, found = frame.iloc[0], drops(tables)
    for (objective, kind, percent), drop in found.items():
        assert estimate["hh_delta", objective, kind, "", percent] == pytest.approx(-drop)
    mean = found.xs(("change", 10), level=["kind", "percent"]).mean()
    assert estimate["hh_delta", "", "change", "", 10] == pytest.approx(-mean)


def test_drops_of_a_backbone_are_means_over_its_seeds(grid):
    replicates = Replicates.draw(TRIOS, np.random.default_rng(0), 20)
    frame = grid_evidence({trio: frame for trio, (_, frame) in grid.items()}, replicates)
    of_trio = {
        trio: drops(tables).xs(("magnitude", 10), level=["kind", "percent"]).mean()
        for trio, (tables, _) in grid.items()
    }
    small = np.mean([of_trio[TRIOS[0]], of_trio[TRIOS[1]]])
    estimate = -frame.sort_index(axis=1).iloc[0]["hh_delta", "", "magnitude"]
    assert estimate["gpt2-small", 10] == pytest.approx(small)
    assert estimate["smollm2-135m", 10] == pytest.approx(of_trio[TRIOS[2]])
    assert estimate["", 10] == pytest.approx((small + of_trio[TRIOS[2]]) / 2)
    assert (frame["hh_delta", "", "magnitude"].iloc[1:].std() > 0).all()


def test_trios_share_the_draws_of_the_items_that_they_have():
    items = outcomes(scored_of(TRIOS[0]))
    task = ("accuracy", "helpful", "none", "focus", 0)
    turned = items.assign(correct=~items["correct"])
    both = evidence_of(items)[task] + evidence_of(turned)[task]
    assert both.to_numpy() == pytest.approx(100)
    own = items.query("subset == 'focus' and objective == 'helpful' and kind == 'none'")
    first, *rest = own["item"]
    counts = WEIGHTS[:, np.array(rest) // 3]
    right = own.set_index("item")["correct"][rest].to_numpy(float)
    expected = 100 * (counts @ right) / counts.sum(axis=1)
    found = evidence_of(items[items["item"] != first])[task]
    assert found.to_numpy() == pytest.approx(expected, nan_ok=True)
