"""What was made passes; what was forged after it, with dvc.lock rewritten to its md5, is caught and named."""

import hashlib
import json
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rm_tension import cli
from rm_tension.activations.sums import load_activations
from rm_tension.analyse.outcomes import SCORED
from rm_tension.base.grid import Model, Paths, Trio
from rm_tension.base.lockfile import file_md5
from rm_tension.base.runs import machine_of
from rm_tension.evaluate.conditions import Condition
from rm_tension.evaluate.evaluation import NeuronSets, Texts, evaluate
from rm_tension.model.device import Budget
from rm_tension.model.reward_model import load_reward_model
from rm_tension.report import document
from rm_tension.score.loading import Place
from small_repository import md5s

KEY, TRIO = "gpt2-small-helpful-0", Trio("gpt2-small", 0)
PATHS = Paths("mini")
SEED_OF_RANDOM = 3  # by which random 30% is drawn


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    """They take seconds, and are not compared."""
    monkeypatch.setattr(
        document, "save", lambda figure, folder: (folder / f"{figure.name}.svg").touch()
    )


@pytest.fixture
def check(monkeypatch, capsys):
    """Runs the command; returns its output, and what it ended with: None if nothing was wrong."""

    def run(*arguments, models=("--model", KEY)):
        ended = None
        try:
            cli.main(["spotcheck", "--profile", "mini", *map(str, [*models, *arguments])])
        except SystemExit as exit_:
            ended = exit_.code
        return capsys.readouterr().out, ended

    return run


@contextmanager
def forged(out):
    """Change within the block what a stage made; then dvc.lock knows nothing else, as after `dvc commit`."""
    before = md5_of(out)
    yield
    lock = Path("dvc.lock")
    text = lock.read_text()
    assert before in text
    lock.write_text(text.replace(before, md5_of(out)))


def md5_of(out):
    if out.is_file():
        return file_md5(out)
    written = json.dumps([{"md5": md5, "relpath": name} for name, md5 in sorted(md5s(out).items())])
    return hashlib.md5(written.encode(), usedforsecurity=False).hexdigest() + ".dir"


@contextmanager
def changed(path):
    """A table of rewards/ or results/, as a frame to be changed in place."""
    read, write = (
        (pd.read_parquet, pd.DataFrame.to_parquet)
        if path.suffix == ".parquet"
        else (pd.read_csv, pd.DataFrame.to_csv)
    )
    table = read(path)
    yield table
    write(table, path, index=False)


def test_what_was_made_passes_and_is_used_where_it_lies(tree, check):
    said, ended = check("--seed", 1, models=("--models", 2))
    assert ended is None
    assert re.search(r"^seed 1: gpt2-small-\w+-\d+, gpt2-small-\w+-\d+$", said, re.MULTILINE)
    assert (
        len(
            re.findall(
                r"(?m)^gpt2-small-.*: largest difference .*, 0 of \d+ outcomes differ$", said
            )
        )
        == 10
    )
    assert re.search(r"results/mini, rows of gpt2-small-\d+, from rewards: ok\n", said)
    assert (
        "results/mini, averages, from its rows: ok\nreports/mini, from results/mini: ok\n" in said
    )
    assert (
        "were forged, 47 of which were drawn: 1%: 38%, 5%: 91%, 10%: 99%\n" in said
    )  # 25, 25; 20, 25
    assert "of the 6 RMs were forged, 2 of which were drawn: 1%: 2%, 5%: 10%, 10%: 19%\n" in said
    assert "\nfetched 0 files, 0.0 MB, into" in said
    assert said.endswith("spotcheck: all is as it should be\n")
    drawn = re.search(r"^seed 1: (\S+), ", said)[1]
    again, _ = check("--seed", 1, models=("--model", drawn))
    lines = [line for line in said.splitlines() if line.startswith(f"{drawn}, ")]
    assert [line for line in again.splitlines() if line.startswith(f"{drawn}, ")] == lines


def test_a_clean_clone_fetches_what_it_checks_and_no_more(clone, evaluated, cache, check):
    said, ended = check()
    assert ended is None
    fetched = [path for path in cache.glob("*/**/*") if path.is_file()]
    size = sum(path.stat().st_size for path in fetched) / 1e6
    assert f"fetched {len(fetched)} files, {size:.1f} MB, into {cache}" in said
    made, paths = {file_md5(path) for path in fetched}, Paths("mini", evaluated / "origin")
    weights = paths.reward_model(Model("gpt2-small", "helpful", 0)) / "model.safetensors"
    tables = [
        paths.rewards(TRIO),
        *(paths.tokens("gpt2-small", split) for split in SCORED),
        *map(paths.texts, SCORED),
    ]
    assert made >= {file_md5(path) for path in (weights, paths.activations(TRIO), *tables)}
    tables.append(paths.results / "neurons.parquet")
    assert (len(list(cache.glob("*/*.safetensors"))), len(list(cache.glob("*/*.parquet")))) == (
        2,
        len(tables),
    )
    assert not (clone / "models").exists()
    assert "\nfetched 0 files" in check()[0]


def test_a_tampered_parquet(tree, check):
    with forged(PATHS.rewards(TRIO)), changed(PATHS.rewards(TRIO)) as rewards:
        own = (
            (rewards["objective"] == "helpful")
            & (rewards["dataset"] != "hh-rlhf")
            & (rewards["kind"] == "none")
        )
        rewards.loc[own & (rewards["answer_index"] == 0), "reward"] += 5
    said, ended = check()
    assert re.search(
        rf"FAILED: rewards/mini/{TRIO.key}\.parquet: {KEY}, none 0%, \d+ items of benchmarks: ",
        ended,
    )
    assert re.search(
        r"the farthest, [\w-]+ \S+, answer 0: \d\.\d+ cached, -?\d\.\d+ scored again", ended
    )
    assert "of test" not in ended
    assert "FAILED: results/mini/accuracy.csv: correct of " in ended
    assert f"but rewards/mini/{TRIO.key}.parquet gives" in ended
    assert re.search(r"results/mini, rows of gpt2-small-0, from rewards: \d+ failures", said)


def test_rewards_that_are_not_there(tree, check):
    path = PATHS.rewards(TRIO)
    with forged(path):
        rewards = pd.read_parquet(path)
        rewards[rewards["kind"] != "none"].to_parquet(path)
    _, ended = check()
    assert re.search(
        rf"FAILED: {path}: {KEY}, \w+ \d+%, 20 items of test: no reward for 40 answers", ended
    )


def test_a_swapped_checkpoint(tree, check):
    place, other = (PATHS.reward_model(Model("gpt2-small", "helpful", seed)) for seed in (0, 247))
    lock = Path("dvc.lock").read_text()
    before = md5_of(place)
    with forged(place):
        shutil.rmtree(place)
        shutil.copytree(other, place)
    _, ended = check()
    assert f"{KEY}, none 0%, 20 items of test: 40 of 40 rewards differ" in ended
    assert "dvc.lock" not in ended
    place_of_out = lock.index(before, lock.index(f"train@mini-{KEY}:"))
    Path("dvc.lock").write_text(
        lock[:place_of_out] + md5_of(place) + lock[place_of_out + len(before) :]
    )
    said = f"evaluate@mini-{TRIO.key} read a {place} of md5 {before}, but made was {md5_of(place)}"
    assert f"FAILED: dvc.lock: {said}" in check()[1]


def test_a_wrong_seed(tree, check):
    """Rewards under ablation of the random neurons of another seed."""
    objective, condition = "helpful", Condition("random", 30)
    model = load_reward_model(PATHS.reward_model(Model("gpt2-small", objective, 0)))
    pairs = pd.read_parquet(PATHS.tokens("gpt2-small", "test")).query("subset == 'helpful-base'")
    texts = Texts.lay_out(pairs, Budget(4096))
    sets = NeuronSets(load_activations(PATHS.activations(TRIO)), seed=1)
    (wrong,) = evaluate(
        model, objective, KEY, [(texts, [condition])], sets, Place(torch.device("cpu"), None)
    )
    with forged(PATHS.rewards(TRIO)), changed(PATHS.rewards(TRIO)) as rewards:
        own = (
            (rewards["objective"] == objective)
            & (rewards["kind"] == "random")
            & (rewards["percent"] == 30)
        )
        rewards.loc[own, "reward"] = wrong["reward"].to_numpy()
    _, ended = check("--seed", SEED_OF_RANDOM)
    assert (
        f"FAILED: rewards/mini/{TRIO.key}.parquet: {KEY}, random 30%, 20 items of test: 40 of 40 rewards"
        in ended
    )
    assert "none 0%" not in ended


def test_all_items_on_the_same_machine_must_have_the_same_bits(tree, check):
    said, ended = check("--items", 10_000)
    assert ended is None
    assert said.count("largest difference 0 (allowed: 0), 100% equal to the bit") == 5
    with forged(PATHS.rewards(TRIO)), changed(PATHS.rewards(TRIO)) as rewards:
        own = (rewards["objective"] == "helpful") & (rewards["kind"] == "none")
        rewards.loc[own, "reward"] = np.nextafter(rewards.loc[own, "reward"], np.float32(9))
    said, ended = check("--items", 10_000)
    assert (
        f"{KEY}, none 0%, 20 items of test: 40 of 40 rewards differ by more than the 0 that the same batches"
        in ended
    )
    record = machine_of(PATHS.run("evaluate", TRIO.key))
    record.write_text(record.read_text().replace('"host": "', '"host": "not-'))
    said, ended = check("--items", 10_000)
    assert ended is None
    assert ", 0% equal to the bit, 0 of 20 outcomes differ" in said


@pytest.mark.parametrize(
    ("name", "column", "source"),
    [
        ("accuracy", "accuracy", f"rewards/mini/{TRIO.key}.parquet"),
        ("ablation_magnitude", "delta", "the other rows of results/mini"),
        ("means/retention", "mean", "results/mini/*.csv"),
        ("means/agreement", "share", "results/mini/*.csv"),
    ],
)
def test_results_that_do_not_follow(tree, check, name, column, source):
    path = PATHS.results / f"{name}.csv"
    with forged(PATHS.results), changed(path) as table:
        before = table.loc[0, column]
        table.loc[0, column] = before + 0.125
    shown = rf"{before + 0.125:.6g}\d*, but {re.escape(source)} gives {before:.6g}"
    assert re.search(rf"FAILED: {path}: {column} of .* is {shown}", check()[1])


@pytest.mark.parametrize(
    ("path", "damage", "what"),
    [
        (
            PATHS.results / "accuracy.csv",
            lambda text: text[:-9],
            "cannot be read (its last line is cut off)",
        ),
        (
            PATHS.results / "means/accuracy.csv",
            lambda text: text.replace(",mean,", ",m,"),
            "no column mean",
        ),
        (PATHS.results / "context.json", lambda text: text[:40], "not what it should be"),
        (PATHS.run("evaluate", TRIO.key), lambda text: text[:40], "not what it should be"),
    ],
)
def test_a_damaged_file_is_named(tree, check, path, damage, what):
    with forged(path if path.is_relative_to("runs") else PATHS.results):
        path.write_text(damage(path.read_text()))
    _, ended = check()
    line = next(line for line in ended.splitlines() if what in line)
    assert line.startswith(f"FAILED: {path}: ")
    assert f"`dvc checkout {path}`" in line


@pytest.mark.parametrize(
    "name", ["metrics.json", "tables/table_13.tex", "index.html", "plots/accuracy.csv"]
)
def test_a_report_that_does_not_follow(tree, check, name):
    path = PATHS.reports / name
    text = path.read_text(encoding="utf-8")
    number = list(re.finditer(r"\d\.\d", text))[-1]
    new = "7.7" if number[0] != "7.7" else "1.1"
    path.write_text(text[: number.start()] + new + text[number.end() :], encoding="utf-8")
    said, ended = check()
    line = text.count("\n", 0, number.start()) + 1
    assert re.fullmatch(
        rf"FAILED: {path}:{line}: does not follow from results/mini: has .* instead of .*", ended
    )
    assert "reports/mini, from results/mini: 1 failures" in said


def test_what_is_not_there_and_what_is_not_what_dvc_lock_records(tree, check):
    path = PATHS.reports / "claims.md"
    path.unlink()
    assert check()[1] == f"FAILED: {path}: not there, but results/mini gives it"
    with changed(PATHS.rewards(TRIO)) as rewards:
        rewards["reward"] += 1
    assert re.search(
        rf"error: .*rewards/mini: not what dvc.lock records, in {TRIO.key}.parquet; ", check()[1]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--model", "gpt2-small-helpful-1"),
            rf"--model gpt2-small-helpful-1: .* nearest are: {KEY}",
        ),
        (("--models", "7"), "--models 7: dvc.lock has 6 evaluated RMs of mini of up to 600 MB"),
        (("--models", "0"), "--models 0: "),
        (
            ("--max-mb", "0"),
            "--models 2: dvc.lock has 0 evaluated RMs of mini of up to 0 MB; more of them by --max-mb",
        ),
        (("--items", "9"), "--items 9: must be at least 10"),
    ],
)
def test_what_cannot_be_checked(clone, cache, check, arguments, message):
    assert re.match(f"error: {message}", check(models=arguments)[1])
    assert not cache.exists()


def test_another_draw_without_a_seed(tree, check):
    seeds = {check("--items", 10)[0].splitlines()[0] for _ in range(2)}
    assert len(seeds) == 2
