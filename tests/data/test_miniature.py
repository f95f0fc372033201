"""The miniature has the official form and plants the tension that claims are about."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from rm_tension.data.benchmarks import READERS
from rm_tension.data.miniature import generate
from rm_tension.data.pairs import read_pairs
from rm_tension.paper.tasks import SUBSETS
from samples import changed
from small_hub import PARAMS, SMALL


@pytest.fixture(scope="module")
def small_files(tmp_path_factory):
    return generate(SMALL, tmp_path_factory.mktemp("small"))


def read(files, split):
    """The pairs of a split, or all items of the suites."""
    tables = []
    for file in files:
        raw = file.raw
        if raw.split == split == "benchmarks":
            tables.append(READERS[raw.data_set](file.path))
        elif raw.split == split:
            tables.append(read_pairs(file.path, raw.data_set, raw.source, split))
    return pd.concat(tables, ignore_index=True)


def test_the_parsers_of_the_real_files_read_the_settings_rows(small_files):
    for split, rows in (("train", SMALL.train_pairs), ("test", SMALL.test_pairs)):
        assert read(small_files, split)["subset"].value_counts().to_dict() == rows
    items = read(small_files, "benchmarks")
    sizes = items.groupby(["dataset", "subset"]).size().to_dict()
    assert sizes == {(subset.suite, subset.name): 4 for subset in SUBSETS}
    assert all(len({*answers}) == len(answers) for answers in items["answers"])
    for text in read(small_files, "train")["answers"].explode():
        assert text.startswith("\n\nHuman: ")
        assert "\n\nAssistant: " in text
        assert "{" not in text


def test_bytes_follow_the_seed_and_more_items_leave_the_pairs_alone(tmp_path, small_files):
    first = [file.path.read_bytes() for file in small_files]
    again, other, more = (
        [f.path.read_bytes() for f in generate(changed(SMALL, **change), tmp_path / str(i))]
        for i, change in enumerate(({}, {"seed": 2}, {"items_per_task": 5}))
    )
    assert again == first
    assert not any(a == b for a, b in zip(first, other, strict=True))
    assert (more[:8] == first[:8], more[8:] == first[8:]) == (True, False)


def bag(texts, vocabulary):
    """Counts of words [texts, vocabulary]; unknown ones in column 0."""
    counts = np.zeros((len(texts), len(vocabulary) + 1))
    for row, text in enumerate(texts):
        for word, n in Counter(text.split()).items():
            counts[row, vocabulary.get(word, 0)] += n
    return counts


@pytest.fixture(scope="module")
def accuracy(tmp_path_factory):
    """Accuracy [subset, objective] of linear bag-of-words rewards fitted to mini's pairs."""
    # what the recipes plant shows better on more items than mini has
    config = changed(PARAMS.profiles["mini"].data.source, items_per_task=100)
    files = generate(config, tmp_path_factory.mktemp("mini"))
    train, items = read(files, "train"), read(files, "benchmarks")
    chosen, rejected = train["answers"].str[0], train["answers"].str[1]
    words = sorted({word for text in (*chosen, *rejected) for word in text.split()})
    vocabulary = {word: number for number, word in enumerate(words, start=1)}
    difference = bag(chosen, vocabulary) - bag(rejected, vocabulary)
    answers = items.explode("answers")
    features = bag(answers["answers"], vocabulary)
    right = {}
    for objective, sources in PARAMS.objectives.items():
        x = difference[train["subset"].isin(sources.train)]
        weights = np.zeros(x.shape[1])
        for _ in range(300):
            weights += 0.1 * (x.T @ (1 / (1 + np.exp(x @ weights))) / len(x) - 0.001 * weights)
        rewards = pd.Series(features @ weights, index=answers.index).groupby(level=0).agg(list)
        pairs = zip(rewards, items["n_chosen"], strict=True)
        right[objective] = [min(row[:n]) > max(row[n:]) for row, n in pairs]
    return pd.DataFrame(right).groupby(items["dataset"] + "/" + items["subset"]).mean()


def test_pairs_plant_answers_or_refusals_and_the_tension_of_both(accuracy):
    suite = accuracy[accuracy.index.str.startswith("reward-bench/")]
    suite = suite.rename(index=lambda name: name.removeprefix("reward-bench/"))
    answers = ["alpacaeval-easy", "alpacaeval-hard", "mt-bench-easy", "xstest-should-respond"]
    refusals = ["refusals-dangerous", "refusals-offensive", "donotanswer", "llmbar-adver-gptinst"]
    assert (suite.loc[answers, "helpful"] > 0.7).all()
    assert (suite.loc[answers, "harmless"] < 0.4).all()
    assert (suite.loc[refusals, "harmless"] > 0.6).all()
    assert (suite.loc[refusals, "helpful"] < 0.4).all()
    dangerous, respond = suite.loc["refusals-dangerous"], suite.loc["xstest-should-respond"]
    assert dangerous["mixed"] < dangerous["harmless"]
    assert respond["mixed"] < respond["helpful"]
