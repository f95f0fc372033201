"""Tables and evidence of neurons, by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rm_tension.activations.sums import Activations, ActivationSums, Attribution
from rm_tension.analyse import as_published, neurons, robustness
from rm_tension.analyse.bootstrap import DRAWN, Replicates
from rm_tension.analyse.neurons import Neurons, neuron_evidence, neuron_table
from rm_tension.base.grid import Trio
from synthetic import make_activations

OBJECTIVES = ("helpful", "harmless", "mixed")
COLUMNS = ("magnitude", "absolute", "chosen", "rejected", "backbone_mean")


def make(*scores, seeds=1, **others):
    """Neurons whose scores [layers, neurons] of each objective are alike in all seeds and sides."""
    magnitude = {
        objective: np.stack([np.asarray(score, dtype=float)] * seeds)
        for objective, score in zip(OBJECTIVES, scores, strict=True)
    }
    return Neurons(list(range(seeds)), dict.fromkeys(COLUMNS, magnitude) | others)


def only(shape, *places):
    """Scores 2, 1.9, ... at these flat indices and distinct small ones elsewhere."""
    scores = -np.arange(np.prod(shape)) / 1000
    scores[list(places)] = 2 - np.arange(len(places)) / 10
    return scores.reshape(shape)


def tables(found, percent=10, sets=(10,)):
    return neurons.backbone_tables(found, percent, sets)


def side(*means, tokens=10):
    """Of one block: the neurons' mean activations, of their backbone as well."""
    return ActivationSums(*([np.array([means]) * tokens] * 5), tokens=tokens)


def test_every_neuron_of_every_rm_is_a_row():
    def rm(*means):
        above, below = ([mean + by for mean in means] for by in (1, -1))
        attribution = Attribution(np.array([means]), tokens=1)
        return Activations(side(*above, tokens=10), side(*below, tokens=20), attribution)

    trio = {"helpful": rm(9.0, 8, 1, 2), "harmless": rm(9.0, 1, 8, 2), "mixed": rm(1.0, 2, 8, 9)}
    table = neuron_table("gpt2-small", {0: trio, 247: trio}, 50)
    assert table[["seed", "objective", "layer", "neuron"]].drop_duplicates().shape == (2 * 3 * 4, 4)
    helpful = table[(table["seed"] == 247) & (table["objective"] == "helpful")].set_index("neuron")
    assert helpful["chosen"].tolist() == [10, 9, 2, 3]
    assert helpful["rejected"].tolist() == [8, 7, 0, 1]
    assert helpful["magnitude"].tolist() == helpful["backbone_mean"].tolist() == [9, 8, 1, 2]
    assert helpful["top"].tolist() == helpful["backbone_top"].tolist() == [True, True, False, False]
    assert helpful["random"].tolist() == np.random.default_rng(247).standard_normal(4).tolist()
    for _, rows in table.groupby(["seed", "objective"], observed=True):  # the set is of the trio
        expected = ["shared", "helpful-only", "harmless-only", neurons.NO_SET]
        assert rows["ablated_set"].tolist() == expected
    found = Neurons.of_table(table)
    assert found.seeds == [0, 247]
    assert found.scores["mixed"].tolist() == [[[1, 2, 8, 9]]] * 2


def test_a_released_score_is_clamped_after_the_mean_over_seeds_and_of_each_side():
    chosen, rejected = np.array([[[4.0, -6, -1]]]), np.array([[[-8.0, 2, -3]]])
    assert as_published.score(chosen, rejected).tolist() == [[2, 1, 0]]
    seeds = np.array([0.3, -0.4, -0.2]).reshape(3, 1, 1)
    assert as_published.score(seeds, seeds).tolist() == [[0]]  # seed by seed it would be 0.1


def test_rmsd_and_the_size_of_the_top_scores_by_hand():
    seeds = np.array([[[3.0, 0.0], [3.0, 2.0]], [[5.0, 0.0], [-3.0, 2.0]]])  # mean [[4, 0], [0, 2]]
    found = make(*[seeds[0]] * 3, seeds=2)
    sides = {"chosen": {"mixed": seeds + 1}, "rejected": {"mixed": np.ones_like(seeds)}}
    found = replace(found, columns=found.columns | sides)
    assert found.rmsd("mixed") == pytest.approx((np.sqrt(8) + np.sqrt(2)) / 2)
    assert found.rmsd("mixed", np.array([2, 0])) == pytest.approx((3 + np.sqrt(2)) / 2)
    scores = np.array([[-1.0, -2, -3, -4]])
    assert neurons.mean_top_score(scores, scores > -2.5) == 1.5


@pytest.mark.parametrize(
    ("layers", "ours", "published"),
    [
        (2, [0, 2], [0, 1]),
        (3, [0, 1, 2], [0, 1, 2]),
        (4, [0, 1, 1, 2], [0, 0, 1, 2]),
        (12, [0] * 4 + [1] * 4 + [2] * 4, [0] * 4 + [1] * 4 + [2] * 4),
        (32, [0] * 11 + [1] * 10 + [2] * 11, [0] * 11 + [1] * 11 + [2] * 10),
    ],
)
def test_thirds_of_the_depth(layers, ours, published):
    assert neurons.thirds(layers).tolist() == ours
    assert as_published.thirds(layers).tolist() == published


def test_the_released_selection_takes_everything_where_too_few_scores_are_positive():
    scores = np.array([[5.0, 4, 0, 0, 0, 0, 0, 0, 0, 0]] * 2)
    assert as_published.clamped_top(scores, 20).sum() == 4
    scores[:, 1] = 0
    assert as_published.clamped_top(scores, 20).all()


def test_depth_by_hand_and_pooled():
    found = make(only((3, 10), 20, 21, 0), only((3, 10), 0, 1, 2), only((3, 10), 10, 11, 12))
    depth = tables(found)["neuron_depth"].assign(backbone="a")
    corrected = depth[depth["variant"] == "corrected"]
    shares = corrected.pivot(index="objective", columns="third", values="share").loc["helpful"]
    assert shares[["early", "middle", "late"]].tolist() == pytest.approx([1 / 3, 0, 2 / 3])
    assert depth.loc[depth["variant"] == "as_published", "seed"].isna().all()
    other = tables(make(*[only((3, 20), *range(40, 46))] * 3))["neuron_depth"].assign(backbone="b")
    pooled = neurons.pooled_depth(pd.concat([depth, other]))
    pooled = pooled.set_index(["variant", "objective", "third"])
    late = pooled.loc[("corrected", "helpful", "late"), ["neurons", "all_neurons"]]
    assert late.tolist() == [8, 30]
    assert pooled.loc[("as_published", "helpful", "late"), "share"] == pytest.approx(8 / 9)


def test_a_seed_far_below_0_counts_in_the_published_score_too():
    """In blocks of five neurons, 5 and 6 are of the second and 10 is of the third."""
    seeds = np.stack([only((4, 5), 5, 6)] * 2)
    seeds[1].flat[[6, 10]] = -9, 1
    found = Neurons([0, 247], dict.fromkeys(COLUMNS, dict.fromkeys(OBJECTIVES, seeds)))
    assert np.flatnonzero(found.published_tops(10)["mixed"]).tolist() == [5, 10]
    assert np.flatnonzero(found.tops(10)["mixed"]).tolist() == [5, 10]
    depth = tables(found)["neuron_depth"].set_index(["objective", "variant", "third"]).loc["mixed"]
    counts = depth[["neurons", "all_neurons"]]
    # of four blocks the first two are early
    assert counts.loc["as_published"].to_numpy().tolist() == [[1, 10], [1, 5], [0, 5]]
    assert counts.loc[("corrected", "middle")].to_numpy().tolist() == [[2, 10], [2, 10]]


def test_overlap_and_retention_by_hand():
    made = tables(make(only((1, 20), 0, 1), only((1, 20), 1, 2), only((1, 20), 1, 3)))
    overlap = made["neuron_overlap"].set_index(["variant", "objective_a", "objective_b"])
    shared = overlap.loc[("corrected", "helpful", "harmless")]
    assert shared.tolist() == pytest.approx([1 / 3, 1, 3])
    assert made["neuron_retention"]["retention"].tolist() == pytest.approx([1 / 4, 1 / 4])


def test_ties_at_zero_give_the_published_overlap_of_gpt2_large():
    """Everything against an exact tenth has a Jaccard index of 0.1."""
    positive, negative = only((1, 20), 4, 5) + 1, -np.arange(1, 21.0).reshape(1, 20)
    overlap = tables(make(positive, negative, positive))["neuron_overlap"]
    overlap = overlap.set_index(["variant", "objective_a", "objective_b"])
    assert overlap.loc[("as_published", "helpful", "harmless")].tolist() == [0.1, 2, 20]
    assert overlap.loc[("corrected", "helpful", "harmless"), "jaccard"] == 0


def test_an_rm_and_its_backbone_compared():
    found = make(*[only((1, 20), 0, 1)] * 3)
    own = dict.fromkeys(OBJECTIVES, only((1, 20), 1, 2)[None])
    for backbone, shared in ((own, 1 / 3), (found.scores, 1)):
        columns = found.columns | {"backbone_mean": backbone}
        table = tables(replace(found, columns=columns))["backbone_overlap"]
        assert table["jaccard"].tolist() == pytest.approx([shared] * 3)


def test_a_block_without_top_neurons_of_one_rm_keeps_the_others_as_published():
    helpful = only((2, 10), 0, 1)
    harmless = only((2, 10), 1, 15)  # none of helpful's in the second block
    sets = tables(make(helpful, harmless, helpful))["neuron_sets"].set_index("ablated_set")
    assert sets["corrected"].to_dict() == {"shared": 1, "helpful-only": 1, "harmless-only": 1}
    assert sets["as_published"].to_dict() == {"shared": 2, "helpful-only": 1, "harmless-only": 1}
    assert (sets["blocks"] == 1).all()


def test_overlap_by_either_score_and_the_verdicts_that_rest_on_it():
    same, other = only((1, 100), *range(20)), only((1, 100), *range(50, 70))
    absolute = dict.fromkeys(OBJECTIVES, np.stack([same] * 2))
    found = make(same, other, same, seeds=2, absolute=absolute)
    overlap = tables(found)["neuron_overlap_by_score"].query("objective_a == 'helpful'")
    shared = overlap.set_index(["score", "percent"])["jaccard"].to_dict()
    scores = ("magnitude", "absolute")
    assert shared == {(score, p): score == "absolute" for score in scores for p in (5, 10, 20)}
    replicates = Replicates.draw([Trio("a", 0), Trio("a", 1)], np.random.default_rng(0), 50)
    verdicts = robustness.neuron_verdicts({"a": found}, replicates)
    assert len(verdicts) == 3 * 2 * 3
    verdicts = verdicts.set_index(["id", "score", "percents"])[["effect", "verdict"]]
    assert verdicts.loc[("C9", "magnitude", 10)].tolist() == [0, "not reproduced"]
    assert verdicts.loc[("C9", "absolute", 10)].tolist() == [1, "not reproduced"]


def test_the_first_row_of_the_evidence_is_what_the_tables_say():
    backbones, seeds = ("gpt2-small", "smollm2-135m"), (0, 247)
    trios = [Trio(backbone, seed) for backbone in backbones for seed in seeds]
    found, made = {}, {}
    for backbone in backbones:
        sums = {seed: make_activations(Trio(backbone, seed)) for seed in seeds}
        found[backbone] = Neurons.of_table(neuron_table(backbone, sums, 10))
        made[backbone] = tables(found[backbone])
    frame = neuron_evidence(found, 10, Replicates.draw(trios, np.random.default_rng(0), 50))
    estimate = frame.iloc[0]

    def mean(name, query, value):
        rows = pd.concat([own[name].query(query) for own in made.values()])
        return pytest.approx(rows.eval(value).mean())

    corrected = "variant == 'corrected'"
    singles = f"{corrected} and objective_a == 'helpful'"
    expected = {
        ("jaccard", "harmless-helpful"): mean("neuron_overlap", singles, "jaccard"),
        ("neuron_retention", "mixed"): mean("neuron_retention", corrected, "retention"),
        ("rmsd", "helpful"): mean("rmsd", "objective == 'helpful'", "rmsd / mean_top_score"),
        ("backbone_overlap", "mixed"): mean("backbone_overlap", "objective == 'mixed'", "jaccard"),
    }
    assert {key: estimate[(*key, "", "", 0)] for key in expected} == expected
    depth = {name: own["neuron_depth"] for name, own in made.items()}
    late = pd.concat(depth).query("variant == 'corrected' and third == 'late'")
    pooled = late[late["objective"] == "mixed"]["neurons"].sum() / 48 - 1 / 3
    assert estimate["late_excess", "mixed", "", "pooled", 0] == pytest.approx(pooled)
    own = late.loc["gpt2-small"]["neurons"].sum() / 72 - 1 / 3
    assert estimate["late_excess", "", "", "gpt2-small", 0] == pytest.approx(own)
    spread = frame.loc[DRAWN].std()
    assert (spread.drop("late_excess") > 0).all()
