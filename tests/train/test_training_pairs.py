"""Which pairs training and statistics take of the training split (METHOD.md sections 1 and 4)."""

import numpy as np
import pandas as pd
import pytest

from rm_tension.activations import stage as activations
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Paths
from rm_tension.base.job import Job
from rm_tension.train import stage as train
from samples import changed
from small_hub import PARAMS

# a plain pair, an identical one, one with a side of as many tokens as the limit of 8, one cut there
LENGTHS = {"plain": (7, 5), "identical": (6, 6), "with an EOS too long": (8, 5), "cut": (5, 8)}
TOO_LONG = [False, False, True, True]


@pytest.fixture
def make_job(tmp_path):
    def make(too_long=TOO_LONG, max_pairs=None, seed=0):
        mini = PARAMS.profiles["mini"]
        profile = changed(mini, activations=changed(mini.activations, max_pairs=max_pairs))
        cell = {"profile": "mini", "backbone": "gpt2-small", "objective": "harmless", "seed": seed}
        job = Job(PARAMS, profile, Paths("mini", tmp_path), cell)
        answers = [[np.arange(n, dtype=np.int32) for n in pair] for pair in LENGTHS.values()]
        harmless = pd.DataFrame({"item_id": list(LENGTHS), "answers": answers})
        harmless = harmless.assign(subset="harmless-base", too_long=too_long)
        helpful = harmless.head(1).assign(item_id="other", subset="helpful-base")
        job.tokens("train").parent.mkdir(parents=True, exist_ok=True)
        table = pd.concat([harmless, helpful]).assign(dataset="hh-rlhf")
        table.to_parquet(job.tokens("train"), index=False)
        return job

    return make


def test_training_drops_what_is_too_long_and_keeps_identical_pairs(make_job):
    pairs = train._pairs(make_job())
    assert pairs.ids == ["plain", "identical"]
    assert [tuple(map(len, item)) for item in pairs.items] == [(7, 5), (6, 6)]
    message = r"all 4 pairs of harmless are too long.* raise tokens\.max_length, 1024"
    with pytest.raises(UserError, match=message):
        train._pairs(make_job(too_long=True))


def groups_of(job):
    pairs = {name: job.pairs("train", name) for name in job.params.grid.objectives}
    return activations._by_objectives(job, pairs)


def test_statistics_are_over_all_pairs_or_a_sample_of_them(make_job):
    groups = dict(groups_of(make_job()))
    ids = {key: group["item_id"].tolist() for key, group in groups.items()}
    assert ids == {("harmless", "mixed"): list(LENGTHS), ("helpful", "mixed"): ["other"]}
    drawn = set()
    for seed in range(20):
        groups = groups_of(make_job(max_pairs=2, seed=seed))
        harmless = [group["item_id"] for key, group in groups if "harmless" in key]
        names = pd.concat(harmless).tolist()
        assert len(names) == 2
        drawn |= {*names}
    assert drawn == set(LENGTHS)
