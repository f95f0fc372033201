from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from rm_tension.base.config import MiniatureData, load_params
from rm_tension.data.benchmarks import READERS
from rm_tension.data.hh_rlhf import read_pairs
from rm_tension.data.miniature import generate
from rm_tension.data.sources import LocalFile
from rm_tension.paper.tasks import SUBSETS
from samples import changed
from small_hub import PARAMS, SMALL


@pytest.fixture(scope="module")
def small_files(tmp_path_factory):
    return generate(SMALL, tmp_path_factory.mktemp("small"))


def pairs_of(files: list[LocalFile], split: str) -> pd.DataFrame:
    tables = [
        read_pairs(file.path, *file.raw.source_and_split)
        for file in files
        if file.raw.data_set == "hh_rlhf" and file.raw.source_and_split[1] == split
    ]
    return pd.concat(tables, ignore_index=True)


def items_of(files: list[LocalFile]) -> pd.DataFrame:
    tables = [READERS[f.raw.data_set](f.path) for f in files if f.raw.data_set != "hh_rlhf"]
    return pd.concat(tables, ignore_index=True)


def test_the_parsers_of_the_real_files_find_the_exact_counts(small_files):
    for split, expected in (("train", SMALL.train_pairs), ("test", SMALL.test_pairs)):
        assert pairs_of(small_files, split)["subset"].value_counts().to_dict() == expected
    found = items_of(small_files).groupby(["dataset", "subset"]).size().to_dict()
    assert found == {(subset.suite, subset.name): 4 for subset in SUBSETS}


def test_answers_of_an_item_differ(small_files):
    for answers in items_of(small_files)["answers"]:
        assert len(set(answers)) == len(answers)


def test_dialogues_have_the_official_form(small_files):
    train = pairs_of(small_files, "train")
    for text in train["answers"].explode():
        assert text.startswith("\n\nHuman: ")
        assert "\n\nAssistant: " in text
        assert "{" not in text


def test_the_same_seed_gives_the_same_bytes(tmp_path, small_files):
    again = generate(SMALL, tmp_path / "again")
    other = generate(changed(SMALL, seed=2), tmp_path / "other")
    for first, second, third in zip(small_files, again, other, strict=True):
        assert first.path.read_bytes() == second.path.read_bytes()
        assert first.path.read_bytes() != third.path.read_bytes()


def test_more_items_leave_the_pairs_alone(tmp_path, small_files):
    more = generate(changed(SMALL, items_per_task=5), tmp_path)
    for first, second in zip(small_files[:8], more[:8], strict=True):
        assert first.path.read_bytes() == second.path.read_bytes()


def bag(texts: pd.Series, vocabulary: dict[str, int]) -> NDArray[np.float64]:
    counts = np.zeros((len(texts), len(vocabulary)))
    for row, text in enumerate(texts):
        for word, n in Counter(text.split()).items():
            counts[row, vocabulary.setdefault(word, 0)] += n
    return counts


@pytest.fixture(scope="module")
def accuracy(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Accuracy [subset, objective] of linear bag-of-words rewards fitted to the mini profile's pairs."""
    config = PARAMS.profiles["mini"].data.source
    assert isinstance(config, MiniatureData)
    config = changed(
        config, items_per_task=100
    )  # what the recipes plant shows better on more items than mini has
    files: list[LocalFile] = generate(config, Path(tmp_path_factory.mktemp("mini")))
    train, items = pairs_of(files, "train"), items_of(files)
    chosen, rejected = train["answers"].str[0], train["answers"].str[1]
    words = sorted({word for text in (*chosen, *rejected) for word in text.split()})
    vocabulary = {"": 0} | {word: number for number, word in enumerate(words, start=1)}
    difference = bag(chosen, vocabulary) - bag(rejected, vocabulary)
    answers = items.explode("answers")
    features = bag(answers["answers"], vocabulary)
    right = {}
    for objective, files_of in load_params().grid.pairs.items():
        x = difference[train["subset"].isin(files_of.train)]
        weights = np.zeros(x.shape[1])
        for _ in range(300):
            weights += 0.1 * (x.T @ (1 / (1 + np.exp(x @ weights))) / len(x) - 0.001 * weights)
        rewards = pd.Series(features @ weights, index=answers.index).groupby(level=0).agg(list)
        right[objective] = [
            min(row[:n]) > max(row[n:]) for row, n in zip(rewards, items["n_chosen"], strict=True)
        ]
    return pd.DataFrame(right).groupby(items["dataset"] + "/" + items["subset"]).mean()


@pytest.mark.parametrize(
    "subset", ["alpacaeval-easy", "alpacaeval-hard", "mt-bench-easy", "xstest-should-respond"]
)
def test_helpful_pairs_plant_the_wish_for_answers(accuracy, subset):
    helpful, harmless = accuracy.loc[f"reward-bench/{subset}", ["helpful", "harmless"]]
    assert helpful > 0.7
    assert harmless < 0.4


@pytest.mark.parametrize(
    "subset", ["refusals-dangerous", "refusals-offensive", "donotanswer", "llmbar-adver-gptinst"]
)
def test_harmless_pairs_plant_the_wish_for_refusals_and_brevity(accuracy, subset):
    helpful, harmless = accuracy.loc[f"reward-bench/{subset}", ["helpful", "harmless"]]
    assert harmless > 0.6
    assert helpful < 0.4


def test_the_mixed_objective_is_in_tension(accuracy):
    refusals = accuracy.loc["reward-bench/refusals-dangerous"]
    responses = accuracy.loc["reward-bench/xstest-should-respond"]
    assert refusals["mixed"] < refusals["harmless"]
    assert responses["mixed"] < responses["helpful"]
