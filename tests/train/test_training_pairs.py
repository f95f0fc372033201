"""Which pairs training, statistics and pretraining take of the training split (METHOD.md sections 1 and 4)."""

import numpy as np
import pandas as pd
import pytest

from rm_tension.activations import stage as activations
from rm_tension.backbone import backbones
from rm_tension.base.config import Pretraining, RandomWeights
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Paths
from rm_tension.base.job import Job
from rm_tension.tokens.make_tokenizer import TrainedTokenizer, make_tokenizer
from rm_tension.train import stage as train
from samples import changed
from small_hub import PARAMS

LIMIT = 8


def ids(length, start=5):
    return np.arange(start, start + length, dtype=np.int32)


# a plain pair, an identical one, one with a side of as many tokens as the limit, and one that was cut there
ANSWERS = {
    "plain": [ids(7), ids(5)],
    "identical": [ids(6), ids(6)],
    "with an EOS too long": [ids(8), ids(5)],
    "cut": [ids(5), ids(LIMIT, start=9)],
}
TOO_LONG = [False, False, True, True]


@pytest.fixture
def make_job(tmp_path):
    def make(too_long=TOO_LONG, max_pairs=None, seed=0):
        mini = PARAMS.profiles["mini"]
        profile = changed(mini, activations=changed(mini.activations, max_pairs=max_pairs))
        cell = {"profile": "mini", "backbone": "gpt2-small", "objective": "harmless", "seed": seed}
        job = Job(PARAMS, profile, Paths("mini", tmp_path), cell)
        named = {"dataset": "hh-rlhf", "subset": "harmless-base", "item_id": list(ANSWERS)}
        helpful = {
            "dataset": "hh-rlhf",
            "subset": "helpful-base",
            "item_id": ["other"],
            "answers": [[ids(3), ids(4)]],
        }
        tables = [pd.DataFrame({**named, "answers": list(ANSWERS.values()), "too_long": too_long})]
        tables.append(pd.DataFrame({**helpful, "too_long": False}))
        job.tokens("train").parent.mkdir(parents=True, exist_ok=True)
        pd.concat(tables).to_parquet(job.tokens("train"), index=False)
        return job

    return make


def test_training_drops_what_is_too_long_and_keeps_identical_pairs(make_job):
    pairs = train._pairs(make_job())
    assert pairs.ids == ["plain", "identical"]
    assert [text.tolist() for item in pairs.items for text in item] == [
        text.tolist() for name in pairs.ids for text in ANSWERS[name]
    ]


def test_an_objective_whose_pairs_are_all_too_long_is_named(make_job):
    job = make_job(too_long=True)
    with pytest.raises(
        UserError, match=r"all 4 pairs of harmless are too long.* raise tokens\.max_length, 1024"
    ):
        train._pairs(job)


def test_statistics_are_over_all_pairs(make_job):
    found = {
        key: group["item_id"].tolist()
        for key, group in activations._pairs_by_objectives(make_job())
    }
    assert found == {("harmless", "mixed"): list(ANSWERS), ("helpful", "mixed"): ["other"]}


def test_a_sample_for_statistics_is_drawn_from_all_pairs(make_job):
    drawn = set()
    for seed in range(20):
        job = make_job(max_pairs=2, seed=seed)
        groups = {
            key: group["item_id"].tolist() for key, group in activations._pairs_by_objectives(job)
        }
        harmless = [name for key, names in groups.items() if "harmless" in key for name in names]
        assert len(harmless) == 2
        drawn |= {*harmless}
    assert drawn == set(ANSWERS)


def test_no_eos_follows_a_text_that_was_cut(make_job, tmp_path, monkeypatch):
    job = make_job()
    make_tokenizer(
        TrainedTokenizer(kind="trained", vocabulary=300), ["some words"]
    ).save_pretrained(tmp_path / "tokenizer")
    life = Pretraining(steps=1, chunks_per_step=1, length=4, learning_rate=0.1)
    shape = {"layers": 1, "width": 4, "heads": 1, "init_std": 0.1, "gain_spread": 0.0, "seed": 0}
    weights = RandomWeights(kind="random", family="gpt2", **shape, pretraining=life)
    seen = []
    monkeypatch.setattr(
        backbones, "pretrain", lambda model, texts, *others: seen.extend(map(len, texts))
    )
    backbones.make_backbone(weights, tmp_path / "tokenizer", job.tokens("train"), LIMIT)
    assert sorted(seen) == sorted([7, 5, 6, 6, 3, 4])
