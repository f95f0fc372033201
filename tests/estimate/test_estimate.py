"""The bill before the run: its arithmetic by hand, its cells, and what it says of the profiles."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from transformers import AutoModel

from rm_tension import cli
from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Paths, models, trios
from rm_tension.base.runs import machine_of
from rm_tension.estimate import (
    Cost,
    Speed,
    calibrated,
    cells,
    estimate,
    makespan,
    published,
    speeds,
)
from rm_tension.estimate.lengths import FILE, Lengths, workload
from rm_tension.estimate.shapes import FILE as SHAPES
from rm_tension.estimate.shapes import PUBLISHED, Shape, shape_of
from rm_tension.estimate.work import Work, forward, one_pass
from rm_tension.evaluate.conditions import hh_conditions, task_conditions
from samples import POSITIONS, VOCABULARY, changed, make_backbone, random_items

PARAMS = load_params()
UNIT = Speed("a FLOP a second", gpu=True, flops=lambda shape, precision: 1.0)
TINY = Shape("llama", 2, 4, 8, 2, 1, vocabulary=10, positions=16, weight_bytes=4)
TEN = Lengths(rows=8, texts=16, shared=0.0, levels=(0.0, 1.0), tokens=(10.0, 10.0))


def with_profile(name, **changes):
    """params.yaml with other values in one profile."""
    return changed(
        PARAMS, profiles=PARAMS.profiles | {name: changed(PARAMS.profiles[name], **changes)}
    )


def bill(params, profile, speed=UNIT):
    return {cost.stage: cost for cost in estimate(params, profile, speed)}


def hours(costs, kind):
    return sum(cost.seconds for cost in costs if cost.kind == kind) / 3600


def test_the_flop_of_a_tiny_shape():
    assert (
        TINY.block == 4 * 4 + 2 * 4 * 2 + 4 * 4 + 3 * 4 * 8
    )  # q, k and v of one of two heads, o, the MLP's three
    assert forward(TINY, Work(tokens=10, attended=100)) == 2 * 2 * (TINY.block * 10 + 2 * 4 * 100)


def test_a_pass_computes_its_rows_tokens_and_what_they_see():
    assert TEN.seen == 0.25  # two texts of half a row, each half seen
    assert one_pass([TEN], budget=40) == Work(80, 200, 40)
    assert one_pass([TEN], budget=40, rows_per_step=3) == Work(80, 200, 30)
    assert one_pass([TEN], budget=5) == Work(80, 200, 10)
    prefixed = replace(TEN, shared=0.6)  # 6 of 10 tokens, and 2 for each text: 18 + 2 * (2 * 6 + 2)
    assert prefixed.seen == pytest.approx(0.46)


@pytest.mark.parametrize("repo", PUBLISHED)
def test_a_shape_has_the_published_number_of_parameters(repo):
    table = pd.read_csv(SHAPES).set_index("repo")
    assert PUBLISHED[repo].parameters == table.loc[repo, "parameters"]


def test_a_shape_has_as_many_parameters_as_its_model(family, tmp_path):
    model = AutoModel.from_pretrained(make_backbone(family, tmp_path))
    sizes = (3, 16, 64, 2, 2) if family == "gpt2" else (2, 16, 40, 2, 2)
    shape = Shape(family, *sizes, vocabulary=VOCABULARY, positions=POSITIONS, weight_bytes=4)
    assert shape.parameters == model.num_parameters()


def test_a_training_by_hand():
    rows = {"train": dict.fromkeys(PARAMS.grid.pairs["mixed"].train, TEN)}
    backbone = cells._Backbone(PARAMS, "mini", "gpt2-small", UNIT, rows)
    (model,) = [
        model for model in models(PARAMS.grid, "mini") if model.key == "gpt2-small-helpful-247"
    ]
    shape = shape_of(PARAMS.profiles["mini"], "gpt2-small")
    flop = 3 * forward(
        shape, Work(240, 600)
    )  # one epoch of three files of eight rows of ten tokens
    kept = 160 * 4 * 4 * (9 * 32 + 5 * 128)  # of a step's 16 rows; four blocks
    assert backbone._train(model) == Cost(
        stage="train@mini-gpt2-small-helpful-247",
        backbone="gpt2-small",
        seconds=5 + flop,
        memory_gb=pytest.approx(0.6 + (4 * 4 * shape.parameters + kept) / 1e9),
        host_gb=pytest.approx(0.6 + 3 * 4 * shape.parameters / 1e9),
        disk_gb=pytest.approx(4 * shape.parameters / 1e9),
        tokens=240,
        flop=flop,
        after=("backbone@mini-gpt2-small",),
    )


@pytest.mark.parametrize("profile", PARAMS.profiles)
def test_every_cell_of_the_grid_has_a_cost(profile):
    costs = bill(PARAMS, profile)
    trio_keys = [trio.key for trio in trios(PARAMS.grid, profile)]
    keys = {
        "backbone": PARAMS.grid.axes(profile).backbones,
        "train": [model.key for model in models(PARAMS.grid, profile)],
        "activations": trio_keys,
        "evaluate": trio_keys,
    }
    assert set(costs) == {
        PARAMS.grid.stage(stage, profile, key) for stage, ones in keys.items() for key in ones
    }
    for cost in costs.values():
        assert min(cost.seconds, cost.host_gb, cost.disk_gb) > 0
        assert cost.kind == "backbone" or min(cost.tokens, cost.flop, cost.memory_gb) > 0
        assert set(cost.after) <= set(costs)


def test_the_paper_costs_about_what_plain_arithmetic_says():
    """By the tokens of docs/COSTS.md: 6 FLOP for each token and weight of a training, 2 of statistics and scoring."""
    costs = estimate(PARAMS, "paper", published("H100"))
    assert 5 < hours(costs, "train") < 6.5
    assert 2.5 < hours(costs, "activations") < 3.5
    assert 5.5 < hours(costs, "evaluate") < 7
    assert 13 < sum(cost.seconds for cost in costs) / 3600 < 17
    assert sum(cost.disk_gb for cost in costs if cost.kind == "train") == pytest.approx(
        62.3, abs=0.1
    )


def test_memory_is_that_which_was_measured():
    """SmolLM2-135M, float32, 4,096 tokens: 9.5 GB on a CPU (docs/COSTS.md)."""
    train = changed(
        PARAMS.profiles["paper"].train,
        weights="float32",
        precision="float32",
        tokens_per_micro_batch=4096,
    )
    costs = bill(with_profile("paper", train=train), "paper", published("cpu"))
    cost = costs["train@paper-smollm2-135m-mixed-0"]
    assert cost.memory_gb == cost.host_gb == pytest.approx(9.5, abs=0.3)


def test_what_is_more_costs_more():
    pilot = PARAMS.profiles["pilot"]
    data = changed(pilot.data, max_train_pairs=16000, max_test_pairs=2000, max_items_per_task=200)
    less, more = bill(PARAMS, "pilot"), bill(with_profile("pilot", data=data), "pilot")
    for stage in (stage for stage in less if stage.startswith(("train@", "evaluate@"))):
        assert less[stage].tokens < more[stage].tokens
        assert less[stage].flop < more[stage].flop
        assert less[stage].seconds < more[stage].seconds
    assert less["train@pilot-gpt2-large-mixed-0"].tokens == pytest.approx(
        more["train@pilot-gpt2-large-mixed-0"].tokens / 2, rel=0.02
    )
    tokens = [
        one_pass([Lengths(n, n, 0.0, (0.0, 1.0), (1.0, 99.0))], 500).tokens
        for n in (10, 100, 1000, 10000, 100000)
    ]
    assert tokens == sorted(set(tokens))


def test_conditions_and_caps_count(monkeypatch):
    parts = {
        "train": dict.fromkeys(PARAMS.grid.pairs["mixed"].train, TEN),
        "benchmarks": {"a": TEN},
    }
    parts |= {"whole_only": {"a": TEN}, "statistics": parts["train"]}
    parts |= {"test": dict.fromkeys(PARAMS.grid.pairs["mixed"].test, TEN)}
    monkeypatch.setattr(cells, "workload", lambda *_: parts)
    mini = PARAMS.profiles["mini"]
    capped = with_profile("mini", activations=changed(mini.activations, max_pairs=4))
    hh = len(list(hh_conditions(mini.evaluate)))
    tasks = sum(
        len(list(task_conditions(mini.evaluate, objective))) for objective in PARAMS.grid.objectives
    )
    cost = bill(PARAMS, "mini")["evaluate@mini-gpt2-small-0"]
    assert cost.tokens == 80 * (4 * hh + tasks + 3)  # the mixed RM has both test files
    # four files through the backbone, the mixed RM and their own
    assert bill(PARAMS, "mini")["activations@mini-gpt2-small-0"].tokens == 80 * 4 * 3
    assert 3 * 40 * 1.5 < bill(capped, "mini")["activations@mini-gpt2-small-0"].tokens < 3 * 40 * 2


def test_side_by_side_the_longest_goes_first_and_waits_for_what_it_needs():
    def cost(stage, seconds, *after):
        return Cost(stage, "b", seconds, 1, 1, 1, 1, 1.0, after)

    costs = [cost("a", 2), cost("b", 3), cost("c", 2)]
    assert [makespan(costs, jobs) for jobs in (1, 2, 3, 9)] == [7, 4, 3, 3]
    assert makespan([*costs, cost("d", 4, "b")], 2) == 7
    assert makespan([], 2) == 0


def test_lengths_are_counted_where_the_tokens_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths, items = Paths("paper"), random_items(0, 9)
    items[0] = [np.zeros(1, dtype=np.int32), np.arange(1, 3000, dtype=np.int32)]
    table = pd.DataFrame({"dataset": "hh-rlhf", "subset": "harmless-base", "answers": items})
    for split, dataset in (("train", "hh-rlhf"), ("test", "hh-rlhf"), ("benchmarks", "rm-bench")):
        path = paths.tokens("gpt2-large", split)
        path.parent.mkdir(parents=True, exist_ok=True)
        subsets = ["chat"] * 6 + ["code"] * 3 if split == "benchmarks" else "harmless-base"
        table.assign(dataset=dataset, subset=subsets, too_long=[True, *[False] * 8]).to_parquet(
            path
        )
    found = workload(PARAMS.grid, "paper", PARAMS.profiles["paper"], "gpt2-large")
    assert (
        list(found["train"])
        == list(found["test"])
        == list(found["statistics"])
        == ["harmless-base"]
    )
    (trained,), (summed,) = found["train"].values(), found["statistics"].values()
    assert (trained.rows, summed.rows, summed.tokens[-1]) == (8, 9, 3000)
    assert trained.tokens[-1] < 100
    (lengths,) = found["benchmarks"].values()
    assert (lengths.rows, lengths.texts, lengths.tokens[-1]) == (6, 12, 3000)
    assert list(found["benchmarks"]) == list(found["whole_only"]) == ["rm-bench"]


def test_the_quantiles_of_the_lengths_have_their_mean():
    rows = pd.read_csv(FILE, comment="#").query("part == 'row'")
    found = workload(PARAMS.grid, "paper", PARAMS.profiles["paper"], "smollm2-135m")["train"]
    means = rows.query("tokenizer == 'HuggingFaceTB/SmolLM2-135M'").set_index("data")["mean"]
    for source, lengths in found.items():
        assert lengths.sample(1000).mean() == pytest.approx(means[f"hh-rlhf/{source}"], rel=0.03)
    assert sum(lengths.rows for lengths in found.values()) == pytest.approx(159_600, abs=200)


def test_statistics_have_the_pairs_that_training_drops():
    """As the longest measured row: of helpful-online 5.54% of 1,236 tokens, the others 491.5 on average."""
    found = workload(PARAMS.grid, "paper", PARAMS.profiles["paper"], "smollm2-135m")
    assert sum(lengths.rows for lengths in found["statistics"].values()) == 160_800
    online = found["statistics"]["helpful-online"]
    assert online.sample(4000).mean() == pytest.approx(0.9446 * 491.5 + 0.0554 * 1236, rel=0.02)
    assert found["train"]["helpful-online"].rows == round(22_007 * 0.9446)


def test_caps_keep_the_proportion_of_the_files():
    """By hand: 8,000 of 160,800, of which 42,537 are harmless; of the two test files 1,000 of 4,666."""
    found = workload(PARAMS.grid, "pilot", PARAMS.profiles["pilot"], "gpt2-small")
    rows = {
        split: {source: part.rows for source, part in found[split].items()}
        for split in ("statistics", "test")
    }
    expected = {
        "helpful-base": 2181,
        "helpful-online": 1095,
        "helpful-rejection-sampled": 2608,
        "harmless-base": 2116,
    }
    assert rows == {"statistics": expected, "test": {"helpful-base": 505, "harmless-base": 495}}


def test_a_file_of_which_a_cap_leaves_no_pair_costs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths, items = Paths("paper"), random_items(0, 2)
    for split, dataset, subsets in (
        ("train", "hh-rlhf", ["harmless-base", "helpful-base"]),
        ("test", "hh-rlhf", ["harmless-base", "helpful-base"]),
        ("benchmarks", "rm-bench", ["chat", "code"]),
    ):
        for backbone in PARAMS.profiles["paper"].backbones:
            path = paths.tokens(backbone, split)
            path.parent.mkdir(parents=True, exist_ok=True)
            named = {"dataset": dataset, "subset": subsets, "too_long": [False, True]}
            pd.DataFrame({**named, "answers": items}).to_parquet(path)
    found = bill(PARAMS, "paper")
    tokens = {
        name: found[f"train@paper-gpt2-small-{name}-0"].tokens for name in PARAMS.grid.objectives
    }
    assert tokens["helpful"] == 0  # its only pair is too long, which `train` says
    assert 0 < tokens["mixed"] == tokens["harmless"] / 2  # of one epoch and two


def test_what_is_not_known_is_named():
    paper = PARAMS.profiles["paper"]
    other = changed(paper.backbones["gpt2-small"].weights, repo="me/mine")
    backbones = paper.backbones | {
        "gpt2-small": changed(paper.backbones["gpt2-small"], weights=other)
    }
    with pytest.raises(UserError, match=r"shapes\.csv: no shape of me/mine: add a line"):
        estimate(with_profile("paper", backbones=backbones), "paper", UNIT)
    tokenizers = paper.tokens.tokenizers | {"gpt2": other}
    tokens = changed(paper.tokens, tokenizers=tokenizers)
    with pytest.raises(
        UserError,
        match=r"lengths\.csv: no lengths in tokens of me/mine: run the profile's tokens stage",
    ):
        estimate(with_profile("paper", tokens=tokens), "paper", UNIT)
    with pytest.raises(UserError, match=r"speeds\.csv: no speed of cpu in int8"):
        published("cpu").flops(TINY, "int8")


def test_other_devices_reach_the_share_of_their_peak():
    assert published("H100").flops(TINY, "bfloat16") == 400e12
    assert published("A100").flops(TINY, "bfloat16") == pytest.approx(312e12 * 400 / 989.4)
    assert published("H100").gpu
    assert not published("cpu").gpu


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_calibration_measures_each_shape_once(precision, monkeypatch):
    monkeypatch.setattr(speeds, "PATIENCE", 0)
    monkeypatch.setitem(speeds.PASS_FLOP, False, 1)
    speed = calibrated()
    gpt2 = Shape("gpt2", 3, 8, 16, 2, 2, vocabulary=10, positions=16, weight_bytes=4)
    for shape in (TINY, gpt2):
        assert 0 < speed.flops(shape, precision) == speed.flops(shape, precision)


def run(monkeypatch, *arguments):
    cli.main(["cost", *arguments])


def test_the_program_prints_a_table_or_json(monkeypatch, capsys, tmp_path):
    file = tmp_path / "bill.json"
    run(monkeypatch, "--profile", "paper", "--gpu", "A100", "--jobs", "6", "--json", str(file))
    printed = capsys.readouterr().out
    run(monkeypatch, "--profile", "paper", "--gpu", "A100", "--jobs", "6", "--json", "-")
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(file.read_text())
    assert len(found["cells"]) == 96
    assert printed.startswith("A100 at 126 bfloat16, ")
    total = sum(cost["seconds"] for cost in found["cells"])
    assert f"{total / 3600:.2f}" in printed
    assert found["seconds"] >= total / 6
    assert f"6 at a time: {found['seconds'] / 3600:.2f} hours, each with a GPU of " in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--profile", "huge"],
            "error: no profile huge: params.yaml has mini, evening, pilot, paper",
        ),
        (["--profile", "mini", "--jobs", "0"], "error: --jobs 0: at least one device is needed"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message, monkeypatch):
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, *arguments)
    assert stopped.value.code == message


@pytest.mark.pipeline
def test_the_miniature_cost_what_the_estimate_says():
    """Tokens and memory in the order of magnitude; seconds in rank, by stage and objective, for machines differ."""
    costs = estimate(PARAMS, "mini", published("cpu"))
    records = {
        cost.stage: Path("runs", "mini", f"{cost.stage.replace('@mini', '')}.json")
        for cost in costs
    }
    measured = {
        stage: json.loads(path.read_text())["metrics"]
        | json.loads(machine_of(path).read_text())["metrics"]
        for stage, path in records.items()
        if machine_of(path).exists()
    }
    there = [cost for cost in costs if cost.stage in measured]
    assert len(there) == 96
    for cost in there:
        memory = measured[cost.stage]["peak_memory_mib"] * 2**20 / 1e9
        assert memory / 3 < cost.memory_gb < 3 * memory, cost.stage
        if cost.kind == "train":  # the texts' tokens: rows have fewer, batches more
            assert (
                measured[cost.stage]["tokens"] / 2
                < cost.tokens
                < 2 * measured[cost.stage]["tokens"]
            )
    objectives = {
        f"train@mini-{model.key}": model.objective for model in models(PARAMS.grid, "mini")
    }
    columns = ["kind", "objective", "estimate", "measured"]
    rows = [
        (
            cost.kind,
            objectives.get(cost.stage, ""),
            cost.seconds,
            measured[cost.stage]["cpu_seconds"],
        )
        for cost in there
    ]
    medians = pd.DataFrame(rows, columns=columns).groupby(["kind", "objective"]).median()
    assert medians.corr("spearman").loc["estimate", "measured"] > 0.5


@pytest.mark.pipeline
def test_the_miniatures_lengths_are_those_of_its_tokens(tmp_path, monkeypatch):
    mini = PARAMS.profiles["mini"]
    counted = workload(PARAMS.grid, "mini", mini, "gpt2-small")
    monkeypatch.chdir(tmp_path)
    expected = workload(PARAMS.grid, "mini", mini, "gpt2-small")

    def texts(workload, suite):
        """Of both kinds of the suite's items, whose lengths lengths.csv does not tell apart: rows, texts and tokens."""
        parts = [
            workload[one][suite] for one in ("benchmarks", "whole_only") if suite in workload[one]
        ]
        tokens = sum(part.rows * part.sample(500).mean() for part in parts)
        return sum(part.rows for part in parts), sum(part.texts for part in parts), tokens

    for split in ("train", "test"):
        assert set(counted[split]) == set(expected[split])
        for name, part in counted[split].items():
            assert part.rows == pytest.approx(expected[split][name].rows, rel=0.02)
            assert part.sample(500).mean() == pytest.approx(
                expected[split][name].sample(500).mean(), rel=0.1
            )
    for one in ("benchmarks", "whole_only"):
        assert {key: part.rows for key, part in counted[one].items()} == {
            key: part.rows for key, part in expected[one].items()
        }
    for suite in counted["benchmarks"]:
        assert texts(counted, suite) == pytest.approx(texts(expected, suite), rel=0.05)
