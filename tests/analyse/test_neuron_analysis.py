from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rm_tension.activations.sums import Activations, ActivationSums
from rm_tension.analyse import neurons, robustness
from rm_tension.analyse.bootstrap import Replicates
from rm_tension.analyse.neurons import Neurons
from rm_tension.base.grid import Trio

OBJECTIVES = ("helpful", "harmless", "mixed")


def make(scores, absolute=None):
    """Neurons of one seed whose scores [layers, neurons] of each objective are those of both sides alike."""
    magnitude = {
        objective: np.array([one], dtype=float)
        for objective, one in zip(OBJECTIVES, scores, strict=True)
    }
    return Neurons([0], magnitude, absolute or magnitude, magnitude, magnitude, magnitude)


def of(trios):
    """Neurons from activations by seed and objective, of which none is in a set."""
    return Neurons.of_table(neurons.neuron_table("gpt2-small", trios, 0))


def only(shape, *places):
    """Scores 2, 1.9, ... at these flat indices and distinct small ones elsewhere."""
    scores = -np.arange(np.prod(shape)) / 1000
    scores[list(places)] = 2 - np.arange(len(places)) / 10
    return scores.reshape(shape)


def side(*means, tokens=10):
    """Of one block: the neurons' mean activations, of their backbone as well."""
    return ActivationSums(*([np.array([means]) * tokens] * 4), tokens=tokens)


def test_every_neuron_of_every_rm_is_a_row():
    def one(*means):
        return Activations(
            side(*(mean + 1 for mean in means), tokens=10),
            side(*(mean - 1 for mean in means), tokens=20),
        )

    trio = {"helpful": one(9.0, 8, 1, 2), "harmless": one(9.0, 1, 8, 2), "mixed": one(1.0, 2, 8, 9)}
    table = neurons.neuron_table("gpt2-small", {0: trio, 247: trio}, 50)
    assert table[["seed", "objective", "layer", "neuron"]].drop_duplicates().shape == (2 * 3 * 4, 4)
    helpful = table[(table["seed"] == 247) & (table["objective"] == "helpful")].set_index("neuron")
    assert helpful["chosen"].tolist() == [10, 9, 2, 3]
    assert helpful["rejected"].tolist() == [8, 7, 0, 1]
    assert helpful["magnitude"].tolist() == helpful["backbone_mean"].tolist() == [9, 8, 1, 2]
    assert helpful["top"].tolist() == helpful["backbone_top"].tolist() == [True, True, False, False]
    assert helpful["random"].tolist() == np.random.default_rng(247).standard_normal(4).tolist()
    sets = ["shared", "helpful-only", "harmless-only", neurons.NO_SET]
    for objective in OBJECTIVES:  # the set is of the trio
        assert (
            table[(table["seed"] == 0) & (table["objective"] == objective)]["ablated_set"].tolist()
            == sets
        )
    found = Neurons.of_table(table)
    assert found.seeds == [0, 247]
    assert found.magnitude["mixed"].tolist() == [[[1, 2, 8, 9]]] * 2


def test_a_released_score_is_clamped_after_the_mean_over_seeds_and_of_each_side():
    one = Activations(side(4.0, -6.0, -1.0), side(-8.0, 2.0, -3.0))
    found = of({0: dict.fromkeys(OBJECTIVES, one)})
    assert found.magnitude["mixed"].tolist() == [[[-2, -2, -2]]]
    assert neurons.as_published_score(found, "mixed").tolist() == [[2, 1, 0]]
    seeds = {
        seed: Activations(side(mean, -9.0), side(mean, -9.0))
        for seed, mean in enumerate((0.3, -0.4, -0.2))
    }
    found = of({seed: dict.fromkeys(OBJECTIVES, one) for seed, one in seeds.items()})
    assert neurons.as_published_score(found, "mixed").tolist() == [
        [0, 0]
    ]  # seed by seed it would be 0.1


def test_rmsd_by_hand():
    seeds = np.array([[[3.0, 0.0], [3.0, 2.0]], [[5.0, 0.0], [-3.0, 2.0]]])  # mean [[4, 0], [0, 2]]
    rejected = np.ones_like(seeds)
    assert neurons.rmsd(seeds + 1, rejected) == pytest.approx((np.sqrt(8) + np.sqrt(2)) / 2)
    assert neurons.rmsd(seeds + 1, rejected, np.array([2, 0])) == pytest.approx(
        (3 + np.sqrt(2)) / 2
    )


def test_mean_top_score_is_of_absolute_values():
    assert neurons.mean_top_score(np.array([[[-1.0, -2.0, -3.0, -4.0]]]), 50) == 1.5


@pytest.mark.parametrize(
    ("layers", "expected"),
    [(1, [1]), (2, [0, 2]), (3, [0, 1, 2]), (4, [0, 1, 1, 2]), (12, [0] * 4 + [1] * 4 + [2] * 4)],
)
def test_thirds_of_the_depth(layers, expected):
    assert neurons.thirds(layers).tolist() == expected


def test_thirds_of_32_blocks_ours_and_as_published():
    assert np.bincount(neurons.thirds(32)).tolist() == [11, 10, 11]
    assert np.bincount(neurons.thirds_as_published(32)).tolist() == [11, 11, 10]
    assert neurons.thirds_as_published(4).tolist() == [0, 0, 1, 2]
    assert neurons.thirds_as_published(2).tolist() == [0, 1]


def test_the_released_selection_takes_everything_where_too_few_scores_are_positive():
    scores = np.array([[5.0, 4, 0, 0, 0, 0, 0, 0, 0, 0]] * 2)
    assert neurons.clamped_top(scores, 20).sum() == 4
    scores[:, 1] = 0
    assert neurons.clamped_top(scores, 20).all()


def test_depth_by_hand_and_pooled():
    found = make([only((3, 10), 20, 21, 0), only((3, 10), 0, 1, 2), only((3, 10), 10, 11, 12)])
    depth = neurons.depth_table(found, 10).assign(backbone="a")
    shares = depth[depth["variant"] == "corrected"].pivot(
        index="objective", columns="third", values="share"
    )
    assert shares.loc["helpful", ["early", "middle", "late"]].tolist() == pytest.approx(
        [1 / 3, 0, 2 / 3]
    )
    assert depth.loc[depth["variant"] == "as_published", "seed"].isna().all()
    other = neurons.depth_table(make([only((3, 20), *range(40, 46))] * 3), 10).assign(backbone="b")
    pooled = neurons.pooled_depth(pd.concat([depth, other])).set_index(
        ["variant", "objective", "third"]
    )
    assert pooled.loc[("corrected", "helpful", "late"), ["neurons", "all_neurons"]].tolist() == [
        8,
        30,
    ]
    assert pooled.loc[("as_published", "helpful", "late"), "share"] == pytest.approx(8 / 9)


def test_a_seed_far_below_0_counts_in_the_published_score_too():
    seeds = np.stack(
        [only((4, 5), 5, 6)] * 2
    )  # blocks of five neurons: 5 and 6 are of the second, 10 of the third
    seeds[1].flat[[6, 10]] = -9, 1
    magnitude = dict.fromkeys(OBJECTIVES, seeds)
    found = Neurons([0, 247], *[magnitude] * 5)
    tops = neurons.tops_by_variant(found, 10)
    assert np.flatnonzero(tops["as_published"]["mixed"]).tolist() == [5, 10]
    assert np.flatnonzero(tops["corrected"]["mixed"]).tolist() == [5, 10]
    depth = neurons.depth_table(found, 10).set_index(["objective", "variant", "third"]).loc["mixed"]
    published = depth.loc["as_published", ["neurons", "all_neurons"]]
    assert published.to_numpy().tolist() == [
        [1, 10],
        [1, 5],
        [0, 5],
    ]  # of four blocks the first two are early
    assert depth.loc[("corrected", "middle"), ["neurons", "all_neurons"]].to_numpy().tolist() == [
        [2, 10],
        [2, 10],
    ]


def test_overlap_and_retention_by_hand():
    found = make([only((1, 20), 0, 1), only((1, 20), 1, 2), only((1, 20), 1, 3)])
    overlap = neurons.overlap_table(found, 10).set_index(["variant", "objective_a", "objective_b"])
    assert overlap.loc[("corrected", "helpful", "harmless")].tolist() == pytest.approx(
        [1 / 3, 1, 3]
    )
    retention = neurons.retention_table(found, 10).set_index("variant")["retention"]
    assert retention.to_dict() == pytest.approx({"corrected": 1 / 4, "as_published": 1 / 4})


def test_ties_at_zero_give_the_published_overlap_of_gpt2_large():
    """Everything against an exact tenth has a Jaccard index of 0.1."""
    negative = -np.arange(1, 21.0).reshape(1, 20)
    positive = only((1, 20), 4, 5) + 1
    overlap = neurons.overlap_table(make([positive, negative, positive]), 10).set_index(
        ["variant", "objective_a", "objective_b"]
    )
    assert overlap.loc[("as_published", "helpful", "harmless")].tolist() == [0.1, 2, 20]
    assert overlap.loc[("corrected", "helpful", "harmless"), "jaccard"] == 0


def test_an_rm_and_its_backbone_compared():
    of_rm, of_backbone = only((1, 20), 0, 1), only((1, 20), 1, 2)
    found = make([of_rm] * 3)
    other = replace(found, backbone=dict.fromkeys(OBJECTIVES, of_backbone[None]))
    assert neurons.backbone_table(other, 10)["jaccard"].tolist() == pytest.approx([1 / 3] * 3)
    assert neurons.backbone_table(found, 10)["jaccard"].tolist() == [1, 1, 1]


def test_overlap_by_either_score_and_the_verdicts_that_rest_on_it():
    same, other = only((1, 100), *range(20)), only((1, 100), *range(50, 70))
    found = make([same, other, same], absolute=dict.fromkeys(OBJECTIVES, same[None]))
    overlap = robustness.overlap_table(found)
    of_singles = overlap[(overlap["objective_a"] == "helpful")].set_index(["score", "percent"])[
        "jaccard"
    ]
    assert of_singles.to_dict() == {
        (score, p): score == "absolute" for score in ("signed", "absolute") for p in (5, 10, 20)
    }
    scores = ("magnitude", "absolute", "chosen", "rejected", "backbone")
    two = replace(found, seeds=[0, 1], **{name: twice(getattr(found, name)) for name in scores})
    replicates = Replicates.draw([Trio("a", 0), Trio("a", 1)], np.random.default_rng(0), 50)
    verdicts = robustness.verdict_table({"a": two}, replicates).set_index(
        ["id", "score", "percents"]
    )
    assert len(verdicts) == 3 * 2 * 3
    assert verdicts.loc[("C9", "signed", 10), ["effect", "verdict"]].tolist() == [
        0,
        "not reproduced",
    ]
    assert verdicts.loc[("C9", "absolute", 10), ["effect", "verdict"]].tolist() == [
        1,
        "not reproduced",
    ]


def twice(by_objective):
    return {objective: np.concatenate([one, one]) for objective, one in by_objective.items()}


def test_a_block_without_top_neurons_of_one_rm_keeps_the_others_as_published():
    helpful = only((2, 10), 0, 1)
    harmless = only((2, 10), 1, 15)  # none of helpful's in the second block
    sets = neurons.sets_table(make([helpful, harmless, helpful]), [10]).set_index("ablated_set")
    assert sets["corrected"].to_dict() == {"shared": 1, "helpful-only": 1, "harmless-only": 1}
    assert sets["as_published"].to_dict() == {"shared": 2, "helpful-only": 1, "harmless-only": 1}
    assert (sets["blocks"] == 1).all()
