"""params.yaml is read once and strictly."""

import copy
import re
import shutil
from pathlib import Path

import pytest
import yaml

from checkout import dvc
from rm_tension.base.config import load_params, parse_params
from rm_tension.base.errors import UserError
from rm_tension.base.grid import models, trios
from small_repository import git

RAW = yaml.safe_load(Path("params.yaml").read_text())


def changed(path, value):
    raw = copy.deepcopy(RAW)
    node = raw
    *parents, last = path.split(".")
    for key in parents:
        node = node[int(key) if isinstance(node, list) else key]
    node[int(last) if isinstance(node, list) else last] = value
    return raw


def test_the_grid_has_54_models_in_18_trios():
    grid = load_params().grid
    for profile in ("mini", "pilot", "paper"):
        assert len({model.key for model in models(grid, profile)}) == 54
        assert len({trio.key for trio in trios(grid, profile)}) == 18
    assert [trio.key for trio in trios(grid, "evening")] == ["smollm2-135m-0"]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("profiles.mini.evaluate.hh_percents.random.2", 120, "less than or equal to 100 (got 120)"),
        ("profiles.mini.evaluate.task_percent", 0, "greater than 0 (got 0)"),
        ("grid.whole.seeds.1", 2**32, "less than 4294967296 (got 4294967296)"),
        ("grid.objectives.1", "honest", "'helpful', 'harmless' or 'mixed' (got 'honest')"),
        ("profiles.mini.train.lr", 0.1, "Extra inputs are not permitted (got 0.1)"),
        ("profiles.mini.train.learning_rate", "1e-4", "valid number (got '1e-4')"),
        ("profiles.mini.train.learning_rate", -1.0, "greater than 0"),
        ("profiles.mini.train.pairs_per_step", 1.5, "valid integer"),
        ("profiles.mini.train.weights", "float16", "'float32' or 'bfloat16'"),
        ("profiles.mini.data.source.kind", "disk", "'kind'"),
        ("profiles.pilot.data.source.stand_ins", True, "valid string"),
        ("profiles.pilot.data.source.stand_ins", "", "should match pattern"),
        ("profiles.mini.title", "helpful \u2192 harmless", "should match pattern"),
        ("profiles.mini.backbones.gpt2-small.name", "\u6a21\u578b", "should match pattern"),
        ("profiles.paper.tokens.template", "{prompt}", "once each"),
        ("profiles.paper.tokens.template", "{answer}{prompt}", "once each"),
    ],
)
def test_what_is_wrong_is_refused_with_the_path_of_the_key(path, value, message):
    with pytest.raises(UserError) as caught:
        parse_params(changed(path, value))
    assert message in str(caught.value)
    named = path.removesuffix(".kind").removesuffix(".template")  # checks of a whole section name the section
    assert f"  {named}" in str(caught.value)


def test_profiles_backbones_and_tokenizers_must_fit_together():
    raw = copy.deepcopy(RAW)
    del raw["profiles"]["mini"]["backbones"]["gpt2-large"]
    with pytest.raises(UserError, match=r"profiles\.mini\.backbones must be smollm2-135m, .*, gpt2-large"):
        parse_params(raw)
    with pytest.raises(UserError, match="'bert' is not one of miniature"):
        parse_params(changed("profiles.mini.backbones.gpt2-small.tokenizer", "bert"))


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"params\.yaml: not found; run from the repository root"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("grid: [")
    with pytest.raises(UserError, match="not valid YAML"):
        load_params(tmp_path / "params.yaml")


def test_numbers_are_read_as_dvc_reads_and_writes_them(tmp_path):
    path = tmp_path / "params.yaml"
    for number in ("5e-5", "5e-05", "0.00005"):
        text = re.sub(r"learning_rate: [\d.]+", f"learning_rate: {number}", Path("params.yaml").read_text())
        path.write_text(text)
        assert load_params(path).profiles["mini"].train.learning_rate == 5e-5


def test_tables_show_a_share_that_is_ablated():
    raw = copy.deepcopy(RAW)
    raw["profiles"]["mini"]["evaluate"]["set_percents"] = [5]
    with pytest.raises(UserError, match=r"profiles\.mini\.evaluate: .* set_percents must hold task_percent, 10"):
        parse_params(raw)


def test_the_mixed_objective_is_the_union_of_both():
    pairs = load_params().grid.pairs
    for split in ("train", "test"):
        helpful, harmless, mixed = (getattr(pairs[name], split) for name in ("helpful", "harmless", "mixed"))
        assert mixed == helpful + harmless


def test_profiles_that_share_a_recipe_are_changed_one_by_one(tmp_path):
    """As DVC's -S changes them, which keeps anchors: it has none to keep."""
    shared = ("train", "tokens", "backbones")
    before = load_params().profiles
    assert all(getattr(before["pilot"], part) == getattr(before["paper"], part) for part in shared)
    assert before["pilot"].data.source == before["paper"].data.source
    shutil.copy("params.yaml", tmp_path)
    stage = {"stages": {"nothing": {"cmd": "true", "params": ["profiles"]}}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(stage))
    git(tmp_path, "init", "--quiet")
    dvc("init", "--quiet", folder=tmp_path)
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "as it is")
    steps = "profiles.mini.backbones.gpt2-small.weights.pretraining.steps=7"
    dvc("exp", "run", "--quiet", "-S", "profiles.paper.train.epochs.mixed=2", "-S", steps, folder=tmp_path)
    after = load_params(tmp_path / "params.yaml").profiles
    assert (after["pilot"], after["paper"].train.epochs["mixed"]) == (before["pilot"], 2)
    pretrained = [backbone.weights.pretraining.steps for backbone in after["mini"].backbones.values()]
    assert pretrained.count(7) == 1
