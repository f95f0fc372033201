"""A dissection gives transformers' rewards and the pipeline's numbers, and goes on where it was."""

import json
import re
from functools import partial

import numpy as np
import pandas as pd
import pytest

from hub_models import CHAT, HARMLESS, HELPFUL, TEMPLATE, save, stock
from rm_tension import cli, load_reward_model
from rm_tension.activations.sums import load_activations
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Model, Paths
from rm_tension.base.tables import TEXTS, read_table
from rm_tension.dissect.parts import Parts
from rm_tension.evaluate.controls import CONTROLS, Control
from rm_tension.evaluate.mean_ablation import mean_activation, set_to
from rm_tension.evaluate.scores import SCORES, Score, neuron_scores
from rm_tension.evaluate.scoring import Scorer

pytestmark = pytest.mark.slow

FILES = {
    *("controls.csv", "curves.csv", "overlap.csv", "rewards.parquet", "neurons.parquet"),
    *("figures", "index.html", "numbers.json", "parts"),
}


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def dissect(tmp_path, capsys):
    """Call the command on two small text sets, and return what it printed."""
    sets = {"helpful": HELPFUL, "harmless": HARMLESS}
    texts = [
        f"{name}={write_lines(tmp_path / f'{name}.jsonl', lines)}" for name, lines in sets.items()
    ]

    def call(folder, *arguments):
        always = ["--model", str(folder), "--out", str(tmp_path / "out"), "--texts", *texts]
        cli.main(["dissect", *always, "--device", "cpu", "--dtype", "float32", *arguments])
        return capsys.readouterr().out

    return call


def part(table, dataset, text_set, kind, percent):
    """The rows of a condition on a data set."""
    labels = {"dataset": dataset, "text_set": text_set, "kind": kind, "percent": percent}
    return table[(table[list(labels)] == pd.Series(labels)).all(axis=1)]


@pytest.mark.parametrize(
    ("model_type", "chat"), [("gpt2", None), ("llama", CHAT), ("mistral", None)]
)
def test_tiny_models_of_the_hub_are_dissected(model_type, chat, dissect, tmp_path):
    folder, out = save(tmp_path / "model", model_type, chat=chat), tmp_path / "out"
    options = [] if chat else ["--template", TEMPLATE]
    printed = dissect(folder, *options, "--percents", "10", "30")
    assert ("separate sequences" if model_type == "mistral" else "shared-prefix rows") in printed
    assert {path.name for path in out.iterdir()} == FILES
    rewards = pd.read_parquet(out / "rewards.parquet")
    kinds = {"none", *SCORES, "shared", "helpful-only", "harmless-only", "mean-ablation"}
    kinds |= {f"depth-matched/{draw}" for draw in range(1, 6)}
    assert set(rewards["kind"]) == kinds - {"change"}

    def margins(text_set, kind, percent):
        pairs = part(rewards, "helpful", text_set, kind, percent)["reward"].to_numpy()
        return pairs.reshape(-1, 2)

    before = margins("", "none", 0)
    if not chat:
        filled = [TEMPLATE.replace("{prompt}", pair["prompt"]) for pair in HELPFUL]
        texts = [
            text.replace("{answer}", pair[side])
            for text, pair in zip(filled, HELPFUL, strict=True)
            for side in ("chosen", "rejected")
        ]
        assert before.ravel() == pytest.approx(stock(folder, texts), abs=2e-5)
    rm = load_reward_model(
        folder, device="cpu", dtype="float32", template=None if chat else TEMPLATE
    )
    found = rm.neurons(harmless=HARMLESS)
    own = margins("harmless", "magnitude", 30)
    with rm.ablated(found.top("magnitude", 30)):
        np.testing.assert_allclose(own, rm.score_all(HELPFUL), rtol=0, atol=1e-5)
    values = mean_activation(found.statistics["harmless"])
    with set_to(rm.model, found.top("magnitude", 10).mask, values):
        mean = margins("harmless", "mean-ablation", 10)
        np.testing.assert_allclose(mean, rm.score_all(HELPFUL), rtol=0, atol=1e-5)

    curves = pd.read_csv(out / "curves.csv", keep_default_na=False)
    row = part(curves, "helpful", "harmless", "magnitude", 30).iloc[0]
    margin = own[:, 0] - own[:, 1]
    assert row["margin"] == pytest.approx(margin.mean(), abs=1e-5)
    assert row["accuracy"] == pytest.approx(100 * (margin > 0).mean())
    change = (margin - (before[:, 0] - before[:, 1])).mean()
    assert row["margin_change"] == pytest.approx(change, abs=1e-5)
    assert row["neurons"] == len(found.top("magnitude", 30))
    overlap = pd.read_csv(out / "overlap.csv").query("score == 'magnitude' and percent == 10")
    shared = curves.loc[curves["kind"] == "shared", "neurons"].iloc[0]
    assert overlap["shared"].tolist() == [shared]
    assert json.loads((out / "numbers.json").read_text())["curves"][0]["kind"] == "none"
    assert (out / "index.html").read_text().count("data:image/svg+xml") == 3


def test_an_interrupted_dissection_goes_on_and_other_inputs_begin_anew(
    dissect, tmp_path, monkeypatch
):
    folder = save(tmp_path / "model", "llama")
    calls, score = [], Scorer.score

    def interrupted(self, *arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return score(self, *arguments)

    monkeypatch.setattr(Scorer, "score", interrupted)
    arguments = ("--template", TEMPLATE, "--percents", "10")
    monkeypatch.setattr("rm_tension.score.loading.choose_attention", lambda *_: None)
    monkeypatch.setattr("rm_tension.dissect.command.write_page", lambda *_: None)  # it takes long
    with pytest.raises(SystemExit):  # what cyclopts makes of it
        dissect(folder, *arguments)
    calls[:] = [None] * 9
    assert "(5 parts were there)" in dissect(folder, *arguments)  # two of statistics, three rewards
    numbers, number = tmp_path / "out" / "numbers.json", len(calls)
    first = numbers.read_bytes()
    dissect(folder, *arguments)
    assert len(calls) == number
    assert numbers.read_bytes() == first
    (tmp_path / "out" / "tasks.csv").touch()  # of a run with --tasks
    printed = dissect(folder, "--template", "{prompt} {answer}", *arguments[2:])
    assert "(0 parts were there)" in printed
    assert numbers.read_bytes() != first
    assert not (tmp_path / "out" / "tasks.csv").exists()
    calls.clear()
    dissect(folder, *arguments)
    assert numbers.read_bytes() == first
    assert not calls


def test_parts_of_text_sets_in_another_order_are_not_used(tmp_path):
    inputs = {"texts": {"helpful": "1", "harmless": "2"}}
    Parts(tmp_path / "parts", inputs).rewards("pairs", b"", lambda: np.zeros(1))
    turned = {"texts": {"harmless": "2", "helpful": "1"}}
    assert Parts(tmp_path / "parts", turned).rewards("pairs", b"", lambda: np.ones(1)) == [1]


def test_a_damaged_part_is_named_with_what_to_do(tmp_path):
    parts = Parts(tmp_path, {})
    parts.rewards("pairs", b"", lambda: np.zeros(9))
    (path,) = tmp_path.glob("*/*.npy")
    path.write_bytes(path.read_bytes()[:90])
    (path.parent / "statistics-a.safetensors").write_bytes(b"")
    for step in (partial(parts.rewards, "pairs", b""), partial(parts.statistics, "a")):
        with pytest.raises(UserError, match=r"damaged .*; remove it and run the same again"):
            step(lambda: None)


def test_a_control_and_a_score_of_one_function_are_in_all_that_is_written(
    dissect, tmp_path, monkeypatch, caplog
):
    def two(own, *_):
        return np.arange(own.size).reshape(own.shape) < 2

    monkeypatch.setitem(SCORES, "planted", Score("", lambda *_: two(np.ones((3, 80))) * 1.0))
    monkeypatch.setattr("rm_tension.evaluate.selection.top.__defaults__", (1.0,))
    monkeypatch.setitem(CONTROLS, "first-two", Control("First two", two, drawn=True))
    folder, out = save(tmp_path / "hf:model", "llama"), tmp_path / "out"
    long = [{"prompt": "x" * 2000, "chosen": "a", "rejected": "b"}]
    write_lines(tmp_path / "harmless.jsonl", HARMLESS + long)
    dissect(folder, "--template", TEMPLATE, "--percents", "10", "--draws", "2", "--no-attribution")
    assert {message.split(": ")[0] for message in caplog.messages} == {"harmless"}
    curves = pd.read_csv(out / "curves.csv", keep_default_na=False)
    assert {"planted", "first-two/1", "first-two/2"} <= set(curves["kind"])
    assert "attribution" not in set(curves["kind"])
    draw = part(curves, "helpful", "harmless", "first-two/1", 10).iloc[0]
    table = pd.read_csv(out / "controls.csv").query("ablated == 'First two'")
    row = table.query("dataset == 'helpful' and text_set == 'harmless'").iloc[0]
    assert (draw["neurons"], row["draws"], row["margin_spread"]) == (2, 2, 0)  # the same draws
    assert row["margin_change"] == pytest.approx(draw["margin_change"])
    assert "planted" in pd.read_parquet(out / "neurons.parquet")
    page = (out / "index.html").read_text()
    assert f"<title>{folder}: a dissection" in page
    assert "First two" in page
    assert "NaN" not in (out / "numbers.json").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-pairs=0"], "--max-pairs. Must be > 0"),
        (["--draws=-1"], "--draws. Must be >= 0"),
        (["--texts", "a.jsonl"], r"--texts a\.jsonl: must be NAME=FILE"),
        (["--texts", "a=", "b=c"], "--texts a=: must be NAME=FILE"),
        (["--texts", "a=hf://datasets/x"], "not hf://datasets/ORG/NAME@REV/FILE"),
        (["--texts", "a=nowhere.jsonl"], r"nowhere\.jsonl: cannot be read"),
        (["--percents", "10", "150"], "--percents 150: must be more than 0 and at most 100"),
        (["--percents", "nan"], "--percents nan: must be more than 0"),
        (["--tasks", "{}/own.parquet"], r"own\.parquet: no item of the paper's tasks"),
        (["--backbone", "a-helpful-0", "--profile", "paper"], "paper-a-helpful-0: not in dvc.lock"),
        ([], "nowhere: no config.json"),
    ],
)
def test_what_cannot_be_dissected_is_refused_before_a_model_is_loaded(
    options, message, dissect, tmp_path, capsys
):
    own = [("own", "", "0", "", ["a", "b"], 1)]
    pd.DataFrame(own, columns=TEXTS).to_parquet(tmp_path / "own.parquet")
    with pytest.raises(SystemExit) as ended:
        dissect(tmp_path / "nowhere", *[option.format(tmp_path) for option in options])
    assert re.search(message, f"{ended.value}{capsys.readouterr().err}")


@pytest.mark.parametrize("name", ["figures", "index.html"])
def test_what_is_not_of_a_dissection_is_not_replaced(name, dissect, tmp_path):
    (tmp_path / "out" / name).mkdir(parents=True)
    with pytest.raises(SystemExit, match=f"out: has {name}, not of a dissection"):
        dissect(tmp_path / "nowhere")


def test_items_that_are_no_pairs_are_refused(dissect, tmp_path):
    write_lines(tmp_path / "harmless.jsonl", [{"prompt": "Q", "answers": ["a", "b", "c"]}])
    with pytest.raises(SystemExit, match="harmless: item 1 has 3 answers"):
        dissect(save(tmp_path / "model", "llama"), "--template", TEMPLATE)


@pytest.mark.pipeline
def test_the_dissection_of_a_reward_model_of_the_pipeline_gives_the_pipelines_numbers(tmp_path):
    paths, model = Paths("mini"), Model("gpt2-small", "helpful", 0)
    train = read_table(paths.texts("train"))
    pairs = train[train["subset"].str.startswith("helpful")]["answers"]
    lines = [{"chosen": chosen, "rejected": rejected} for chosen, rejected in pairs]
    tasks = read_table(paths.texts("benchmarks")).iloc[::20]
    tasks.to_parquet(tmp_path / "tasks.parquet")
    cli.main(
        [
            *("dissect", "--model", f"./{paths.reward_model(model)}"),
            *("--backbone", f"./{paths.backbone(model.backbone)}"),
            *("--texts", f"helpful={write_lines(tmp_path / 'helpful.jsonl', lines)}"),
            *("--tasks", str(tmp_path / "tasks.parquet"), "--percents", "10", "--draws", "1"),
            "--no-attribution",  # the pipeline's is of a sample of the pairs
            *("--out", str(tmp_path / "out"), "--device", "cpu", "--seed", "0"),
        ]
    )
    neurons = pd.read_parquet(tmp_path / "out" / "neurons.parquet")
    activations = load_activations(paths.activations(model.trio))["helpful"]
    for name in {*neurons} & {*SCORES}:
        expected = neuron_scores(name, activations, model.seed).ravel()
        # batches differ, and a contrast is a small difference of means of about 1
        np.testing.assert_allclose(neurons[name], expected, rtol=1e-4, atol=1e-4, err_msg=name)
    key = ["kind", "dataset", "item_id", "answer_index"]
    scored = pd.read_parquet(tmp_path / "out" / "rewards.parquet")
    scored = scored[scored["dataset"] != "helpful"].set_index(key)["reward"]
    expected = pd.read_parquet(paths.rewards(model.trio)).query("objective == 'helpful'")
    expected = expected[expected["percent"].isin([0, 10])].set_index(key)["reward"]
    for kind in ("none", "magnitude", "backbone"):
        both = pd.concat([scored[kind], expected[kind]], axis=1, join="inner")
        assert len(both) > 100
        np.testing.assert_allclose(both.iloc[:, 0], both.iloc[:, 1], rtol=0, atol=1e-5)
