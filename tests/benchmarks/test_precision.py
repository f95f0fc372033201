"""TF32's rounding is that of its ten bits, and a precision changes what it must and no more."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from benchmarks import precision
from benchmarks.precision import Emulated, RoundedProducts, rounded
from rm_tension import cli
from rm_tension.base.grid import Paths
from small_repository import REPOSITORY
from tiny_profile import stages, tiny_params

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, 1.0),
        (1 + 2**-10, 1 + 2**-10),  # the last bit that TF32 has
        (1 + 2**-11, 1.0),  # halfway: to the even
        (1 + 3 * 2**-11, 1 + 2**-9),  # halfway: to the even
        (1 + 2**-11 + 2**-20, 1 + 2**-10),
        (-(1 + 2**-12), -1.0),
        (2 - 2**-12, 2.0),
        (0.0, 0.0),
    ],
)
def test_rounding_to_ten_bits(value, expected):
    assert float(rounded(torch.tensor([value]))) == expected


def test_rounding_is_off_by_no_more_than_half_a_step():
    values = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    apart = (rounded(values) / values - 1).abs().max()
    assert 2**-12 < float(apart) <= 2**-11


def test_products_are_those_of_rounded_operands():
    a, b = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(), RoundedProducts():
        found = torch.nn.functional.linear(a, b), a + b
    assert torch.equal(found[0], torch.nn.functional.linear(rounded(a), rounded(b)))
    assert torch.equal(found[1], a + b)


@pytest.fixture
def trio(tmp_path, monkeypatch):
    """The folder of a tiny trio's models, as the working directory."""
    monkeypatch.chdir(tmp_path)
    text = yaml.safe_dump(tiny_params(["gpt2-small"]), sort_keys=False)
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "reference").mkdir()
    for line in ("data", "tokens", *stages("gpt2-small")[:-2]):
        cli.main([*line.split(), "--profile", "mini"])
    return tmp_path


def test_all_precisions_are_compared(trio, monkeypatch):
    def decide(job):
        """In the analysis' place, whose seconds say nothing of precisions."""
        job.paths.results.mkdir(parents=True)
        (job.paths.results / "claims.json").write_text(
            json.dumps([{"id": "C1", "effect": 1.0, "verdict": "reproduced", "unit": "points"}])
        )

    monkeypatch.setattr(precision.analyse, "run", decide)
    command = ["precision", "--profile", "mini", "--trios", "1", "--json", "found.json"]
    monkeypatch.setattr(sys, "argv", command)
    precision.main()
    found = json.loads((trio / "found.json").read_text())
    assert found["trios"] == ["gpt2-small-0"]
    assert not (trio / "rewards").exists()
    far = {name: one["median_difference_in_sd"] for name, one in found["precisions"].items()}
    assert 1e-6 < far["tf32"] < far["bfloat16"] < 0.1
    for one in found["precisions"].values():
        assert one["claims"]["C1"]["verdict"] == ["reproduced", "reproduced"]
        assert one["changed"] < one["items"] / 10


def test_a_sample_has_the_first_items_of_each_part_whatever_they_are_read_from(trio):
    paths = Paths("mini", trio)
    texts = pd.read_parquet(paths.texts("test"))
    precision.cut(paths, "test", 1)
    parts = [part["item_id"].tolist() for _, part in texts.groupby(["dataset", "subset"])]
    assert max(map(len, parts)) > 1
    for file in (paths.texts("test"), paths.tokens("gpt2-small", "test")):
        assert sorted(pd.read_parquet(file)["item_id"]) == sorted(part[0] for part in parts)


@pytest.mark.parametrize("name", ["precision.json", "precision-smollm2.json"])
def test_the_document_has_the_table_of_the_last_run(name):
    found = json.loads((REPOSITORY / "reports/bench" / name).read_text())
    assert precision.table(found) in (REPOSITORY / "docs/PERFORMANCE.md").read_text()


def test_a_cpu_that_emulates_computes_in_what_it_has():
    compute = Emulated(torch.device("cpu"), "tf32")
    with compute.autocast(), torch.inference_mode():
        product = torch.ones(1, 1) * (1 + 2**-12) @ torch.ones(1, 1)
        with compute.float32():  # which a GPU does in float32
            total = torch.ones(1, 1) * (1 + 2**-12) @ torch.ones(1, 1)
    assert float(product) == 1.0
    assert float(total) == 1 + 2**-12
    assert np.isclose(float(torch.ones(1, 1) * (1 + 2**-12) @ torch.ones(1, 1)), 1 + 2**-12, atol=0)
