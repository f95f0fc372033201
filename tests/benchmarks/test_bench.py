"""All sides of all tasks give the same numbers, and what is written has all of them. Nothing here depends on time."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import report
from benchmarks.__main__ import _measured
from benchmarks.measure import Target, Task, distance, run
from benchmarks.shared import LIMIT, REAL, TINY_SHAPE, Setting, Texts, make_material, real_shape
from rm_tension.model.rows import prefix_length

TASKS = {"step": 4, "statistics": 1, "benchmarks": 6, "hh": 6, "sweep": 2}  # sides beside ours
OPTIONS = Namespace(repeats=2, precision="float32", memory_gb=8)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What the whole program leaves, at its smallest."""
    folder = tmp_path_factory.mktemp("bench")
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--small",
        "--threads",
        "2",
        "--repeats",
        "1",
        "--out",
        folder,
    ]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return folder


@pytest.fixture(scope="module")
def material():
    return make_material(TINY_SHAPE, Setting("cpu", "float32", threads=1, budget=256))


def test_all_sides_give_our_numbers(written):
    found = json.loads((written / "bench.json").read_text())
    assert {name: len(task["sides"]) - 1 for name, task in found["tasks"].items()} == TASKS
    for task in found["tasks"].values():
        for name, side in task["sides"].items():
            assert side["distance"] <= found["tolerance"], name
            assert (side["distance"] == 0) == (name == "ours"), name
            assert side["tokens"] > 0, name
            assert side["peak_mib"] > 0, name
            assert all(seconds > 0 for seconds in side["cpu_seconds"] + side["wall_seconds"])
        assert all(
            side["tokens"] > task["sides"]["ours"]["tokens"]
            for side in list(task["sides"].values())[1:]
        )
        assert task["sides"]["ours"]["tokens"] < task["tokens"]


def test_each_ratio_and_target_is_written(written):
    found = json.loads((written / "bench.json").read_text())
    for task in found["tasks"].values():
        ours = task["sides"]["ours"]
        for side in task["sides"].values():
            for kind in ("cpu", "wall"):
                ratio = side["ratio"][kind]
                assert ratio["min"] <= ratio["median"] <= ratio["max"]
                assert ratio["median"] == side[f"{kind}_seconds"][0] / ours[f"{kind}_seconds"][0]
        assert task["targets"]
    text = (written / "bench.md").read_text()
    assert report.table(found) in text
    assert report.targets(found) in text
    assert (written / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert (written / "bench.pdf").read_bytes().startswith(b"%PDF")


def test_the_document_has_the_last_table():
    found = json.loads(Path("reports/bench/bench.json").read_text())
    text = Path("docs/PERFORMANCE.md").read_text()
    assert report.table(found) in text
    assert report.targets(found) in text


def side(value):
    def compute(material, clock):
        with clock:
            return {"numbers": np.array([0.0, 1.0, value])}

    return compute


def toy(**others):
    targets = [Target("others", list(others), 1.0)]
    return Task("toy", "a toy", tokens=1, ours=side(2.0), others=others, targets=targets)


def test_no_ratio_is_made_of_other_numbers(material):
    with pytest.raises(SystemExit, match="toy, wrong: not the same numbers"):
        _measured(toy(right=side(2.0), wrong=side(2.001)), material, OPTIONS, "cpu")
    with pytest.raises(SystemExit, match="toy, wrong"):
        _measured(toy(wrong=side(np.nan)), material, OPTIONS, "cpu")


def test_a_side_without_enough_memory_is_left_out(material):
    def hungry(material, clock):
        return {"numbers": torch.ones(2**32).numpy()}

    found = _measured(toy(hungry=hungry), material, OPTIONS, "cpu")
    assert found["sides"]["hungry"] == {"out_of_memory": True}
    assert found["targets"] == []


def test_a_side_that_fails_says_so(material):
    def broken(material, clock):
        raise ValueError("broken")

    with pytest.raises(RuntimeError, match="exit code 1"):
        run(broken, material, 8)


def test_a_side_changes_nothing_for_the_next(material):
    before = material.model.score.weight.clone()

    def changing(material, clock):
        with torch.no_grad():
            material.model.score.weight.zero_()
        return {"sum": material.model.score.weight.detach().sum().numpy()}

    assert run(changing, material, 8).numbers["sum"] == 0
    assert torch.equal(material.model.score.weight, before)


def test_distance_is_a_share_of_how_the_numbers_vary():
    numbers = {"a": np.array([1000.0, 1001.0]), "b": np.array(2.0)}
    assert distance(numbers, numbers) == 0
    assert distance({**numbers, "b": np.array(2.2)}, numbers) == pytest.approx(0.1)
    assert distance({**numbers, "a": np.array([1000.0, 1001.1])}, numbers) == pytest.approx(
        0.1 / np.sqrt(0.5)
    )
    with pytest.raises(ValueError, match="not the same numbers"):
        distance({"a": numbers["a"]}, numbers)


def test_texts_have_the_published_lengths():
    texts = Texts(REAL, real_shape(None).vocabulary, np.random.default_rng(0))
    pairs = texts.hh_pairs(2000)
    prefixes = [prefix_length(pair) for pair in pairs]
    assert np.mean(prefixes) == pytest.approx(153, rel=0.1)  # of four sources of 124 to 224 tokens
    assert {len(pair) for pair in pairs} == {2}
    items = texts.benchmark_items(200)
    assert {len(item) for item in items} == {2, 4, 6}
    longest = max(len(text) for item in [*pairs, *items] for text in item)
    assert 900 < longest < LIMIT


def test_fewer_blocks_keep_the_proportions():
    whole, part = real_shape(None), real_shape(3)
    assert (part.layers, part.width, part.mlp) == (3, whole.width, whole.mlp)
    assert part.parameters / whole.parameters == pytest.approx(0.1, rel=0.01)
