"""What was made passes; what was forged after it is caught and named."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from bad_remotes import damage
from checkout import serve
from rm_tension import cli
from rm_tension.base.grid import Model, Paths, Trio
from rm_tension.base.lockfile import file_md5
from rm_tension.model.device import Compute
from rm_tension.spotcheck import KEYS, compare
from small_repository import copy_repository, stored

pytestmark = pytest.mark.slow

HELPFUL = Model("gpt2-small", "helpful", 0)
KEY, TRIO = HELPFUL.key, Trio("gpt2-small", 0)
PATHS = Paths("mini")


@pytest.fixture
def check(capsys):
    """Run the command; return its output, and what it ended with: None if nothing was wrong."""

    def run(*arguments, models=("--model", KEY)):
        ended = None
        try:
            cli.main(["spotcheck", "--profile", "mini", *map(str, [*models, *arguments])])
        except SystemExit as exit_:
            ended = exit_.code
        return capsys.readouterr().out, ended

    return run


def forge(change):
    """Change the rewards in the working tree by a function of the table."""
    path = PATHS.rewards(TRIO)
    change(pd.read_parquet(path)).to_parquet(path, index=False)


def add(which):
    """Return a change that adds to those rewards."""
    return lambda table: table.assign(reward=table["reward"] + np.where(which(table), 0.5, 0.0))


def test_what_was_made_passes_where_it_lies_and_a_seed_repeats_it(tree, check):
    said, ended = check("--seed", 1, models=("--models", 2))
    assert ended is None
    drawn = re.match(r"seed 1: (gpt2-small-\w+-0), (gpt2-small-\w+-0)\n", said).groups()
    assert len(set(drawn)) == 2
    lines = re.findall(r"(?m)^gpt2-small-\w+-0, [\w/-]+ \d+%: \d+ rewards, \d+% equal", said)
    assert len(lines) == 6
    assert said.endswith("fetched 0 files, 0.0 MB\nspotcheck: all is as it should be\n")
    again, _ = check("--seed", 1, models=("--model", drawn[0]))
    assert set(again.splitlines()[1:]) <= set(said.splitlines())
    assert check("--items", 10)[0].splitlines()[0] != check("--items", 10)[0].splitlines()[0]


def test_a_clean_clone_fetches_what_it_checks_and_no_more(evaluated, tmp_path, monkeypatch, check):
    made = Paths("mini", evaluated / "origin")
    tokens = [made.tokens(TRIO.backbone, split) for split in ("test", "benchmarks")]
    needed = [made.activations(TRIO), made.rewards(TRIO), *tokens]
    needed += made.reward_model(HELPFUL).iterdir()
    remote, requests = shutil.copytree(evaluated / "remote", tmp_path / "remote"), []
    with serve(remote, requests) as url:
        clone = copy_repository(evaluated / "origin", tmp_path / "clone", url)
        monkeypatch.chdir(clone)
        said, ended = check()
        assert ended is None
        assert f"fetched {len(needed)} files, " in said
        fetched = {path for method, path in requests if method == "GET" and path[-4:] != ".dir"}
        assert fetched == {f"/{stored('', file_md5(path))}" for path in needed}
        assert not (clone / "models").exists()
        damage(stored(remote, file_md5(made.rewards(TRIO))), "corrupted")
        assert re.search(rf"error: {PATHS.rewards(TRIO)} \(md5 .*damaged", check()[1])


@pytest.mark.parametrize(
    ("change", "cached"),
    [
        (add(lambda table: (table["kind"] == "none") & (table["dataset"] != "hh-rlhf")), r"\S+"),
        (add(lambda table: (table["kind"] == "none") & (table["dataset"] == "hh-rlhf")), r"\S+"),
        (add(lambda table: (table["kind"] != "none") & (table["answer_index"] == 0)), r"\S+"),
        (lambda table: table[table["answer_index"] == 0], "nan"),
    ],
    ids=["benchmarks", "test pairs", "ablated", "not there"],
)
def test_forged_rewards(tree, check, change, cached):
    forge(change)
    said, ended = check()
    assert re.search(
        rf"FAILED: {KEY}: \d+ of \d+ rewards are more than 0\.001 sd from what checkpoint and texts "
        rf"give .*; the farthest, [\w-]+ \S+, answer \d, [\w/-]+ \d+%: {cached} cached, \S+ scored",
        ended,
    )
    assert "as it should be" not in said


def test_rewards_of_another_checkpoint(tree, check):
    folder = PATHS.reward_model(HELPFUL)
    shutil.rmtree(folder)
    shutil.copytree(PATHS.reward_model(TRIO.model("harmless")), folder)
    assert f"FAILED: {KEY}: " in check()[1]


def test_params_yaml_of_another_day_is_no_forgery(tree, check):
    params = yaml.safe_load((tree / "params.yaml").read_text(encoding="utf-8"))
    params["profiles"]["mini"]["evaluate"]["precision"] = "bfloat16"
    params["profiles"]["mini"]["evaluate"]["hh_percents"] = {"random": [70]}
    (tree / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    assert check("--seed", 2)[1] is None


@pytest.mark.parametrize(
    ("device", "precision", "distances", "passes"),
    [
        ("cpu", "float32", [9e-4], True),
        ("cpu", "float32", [2e-3], False),
        ("cpu", "tf32", [2.9e-2, 0.3, 0.3], True),
        ("cpu", "tf32", [0.6], False),
        ("cpu", "bfloat16", [0.2, 0.2, 0.2], False),
        ("meta", "float32", [0.1, 0.2], True),
        ("meta", "float32", [0.1, 0.1, 0.1], False),
        ("cpu", "tf32", [np.nan], False),
    ],
)
def test_how_many_rewards_may_be_how_far_apart(device, precision, distances, passes):
    """Of 2,000 rewards with a standard deviation of 1, some are moved."""
    rewards = np.tile([-1.0, 1.0], 1000) * np.sqrt(1999 / 2000)
    rows = pd.DataFrame(dict.fromkeys(KEYS, "x"), index=range(2000))
    rows = rows.assign(kind="none", percent=0, again=rewards, cached=rewards)
    rows.loc[: len(distances) - 1, "cached"] += distances
    compute = Compute(torch.device(device), precision)
    assert (list(compare(rows, HELPFUL, compute)) == []) == passes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "gpt2-small-helpful-1"), rf"--model gpt2-small-helpful-1: .*are: {KEY}"),
        (("--models", "7"), "--models 7: dvc.lock has 3 evaluated RMs of up to 600 MB"),
        (("--models", "0"), "--models 0: "),
        (("--max-mb", "0"), "--models 2: dvc.lock has 0 evaluated RMs of up to 0 MB; larger"),
        (("--items", "9"), "--items 9: must be at least 10"),
    ],
)
def test_what_cannot_be_checked(tree, check, arguments, message):
    assert re.match(f"error: {message}", check(models=arguments)[1])
