"""params.yaml is read once and strictly."""

import copy
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rm_tension.base.config import ROLES, load_params, parse_params
from rm_tension.base.errors import UserError
from rm_tension.base.grid import models, trios
from rm_tension.report.latex import PACKAGES, escape

RAW = yaml.safe_load(Path("params.yaml").read_text())
MIXED = RAW["objectives"]["mixed"]


def changed(path, value):
    raw = copy.deepcopy(RAW)
    node = raw
    *parents, last = path.split(".")
    for key in parents:
        node = node[int(key) if isinstance(node, list) else key]
    node[int(last) if isinstance(node, list) else last] = value
    return raw


def test_the_grid_has_54_models_in_18_trios_and_mixed_is_the_union_of_both():
    params = load_params()
    for profile in ("mini", "paper"):
        assert len({model.key for model in models(params.grid, profile)}) == 54
        assert len({trio.key for trio in trios(params.grid, profile)}) == 18
    assert [trio.key for trio in trios(params.grid, "evening")] == ["smollm2-135m-0"]
    for split in ("train", "test"):
        helpful, harmless, mixed = (getattr(params.objectives[name], split) for name in ROLES)
        assert mixed == helpful + harmless


MINI, PAPER = "profiles.mini", "profiles.paper"
WEIGHTS, SOURCE = f"{MINI}.backbones.gpt2-small.weights", f"{MINI}.data.source"
REFUSED = [
    (f"{MINI}.evaluate.hh_percents.random.2", 120, "less than or equal to 100 (got 120)"),
    (f"{MINI}.evaluate.hh_percents.random", [10, 5, 10], "10 given twice: leave one out"),
    (f"{MINI}.evaluate.task_percents.size", [10], "no score of neurons: there are random, change"),
    (f"{MINI}.evaluate.task_percent", 20, "20, which tables show, is not in task_percents.magn"),
    (f"{MINI}.required_claims", ["C2", "C22"], "or 'C21' (got 'C22')"),
    (f"{MINI}.threads", 100000, "less than or equal to 1024 (got 100000)"),
    ("grid.full.seeds.1", 2**32, "less than 4294967296 (got 4294967296)"),
    ("grid.full.seeds.1", -1, "greater than or equal to 0 (got -1)"),
    ("grid.full.seeds", [], "empty, but mini, paper must have at least one"),
    ("grid.objectives.1", "Honest", "should match pattern"),
    ("objectives.honest", MIXED | {"role": None}, "must be of helpful, harmless, mixed"),
    ("objectives.mixed.role", None, "of role mixed: none; must be one"),
    ("objectives.mixed.role", "helpful", "of role helpful: helpful, mixed; must be one"),
    ("styles.mixed.color", "yellow", "should match pattern"),
    ("objectives.helpful.test", [], "at least 1 item"),
    ("objectives.harmless.train.0", "harmless-online", "not a source of paper/pairs.csv"),
    ("grid.profiles", ["mini"], "mini: full and subset have mini, paper, evening"),
    ("grid.not_ablated", ["reward-bench/hepp-*"], "'reward-bench/hepp-*' fits no part of a suite"),
    ("grid.not_ablated", ["*"], "leaves no task to ablate neurons on"),
    (f"{MINI}.train.lr", 0.1, "Extra inputs are not permitted (got 0.1)"),
    (f"{MINI}.train.learning_rate", "1e-4", "valid number (got '1e-4')"),
    (f"{MINI}.train.learning_rate", -1.0, "greater than 0"),
    (f"{MINI}.train.weights", "float16", "'float32' or 'bfloat16'"),
    (f"{PAPER}.train.precision", "float32", "float32: weights in bfloat16 are multiplied in bf"),
    (f"{MINI}.backbones", {}, "of : must be of smollm2-135m, smollm2-360m"),
    (f"{MINI}.epochs", {"helpful": 1}, "of helpful: must be of helpful, harmless, mixed"),
    (f"{SOURCE}.kind", "disk", "'kind'"),
    (f"{SOURCE}.train_pairs", {"helpful-base": 9}, "of helpful-base: must be of helpful-base, hel"),
    (f"{PAPER}.data.source.stand_ins", "", "nothing to print"),
    (f"{PAPER}.data.source.repositories.rm-bench.repo", "../RM-Bench", "not the OWNER/NAME of a repository"),
    (f"{PAPER}.data.source.repositories.rm-bench.revision", "", "should match pattern"),
    (f"{MINI}.title", "helpful \u2192 harmless", "'\u2192' cannot be printed"),
    (f"{MINI}.title", "\u0126ar\u0167um", "'\u0126', '\u0167' cannot be printed"),
    (f"{MINI}.backbones.gpt2-small.name", "GPT$_2$", "'$' cannot be printed"),
    (f"{MINI}.backbones.gpt2-small.tokenizer", "bert", "'bert' is not one of miniature"),
    (f"{PAPER}.tokens.tokenizers.gpt2", {"kind": "trained", "vocabulary": 1024},
     "'gpt2' is trained here: weights of the hub know their own ids"),
    (f"{MINI}.tokens.tokenizers.miniature.vocabulary", 10**12, "less than or equal to 1048576"),
    (f"{WEIGHTS}.heads", 5, "32 must be a multiple of twice the heads (5)"),
    (f"{WEIGHTS}.pretraining.length", 1025, "1025 tokens, but the backbone has 1024 positions"),
    (f"{PAPER}.tokens.template", "{answer}{prompt}", "once each (got '{answer}{prompt}')"),
]  # fmt: skip
# at a key that goes with the changed one: the union's, what the heads divide, the tokenizer's user
NAMED_AT = {f"{SOURCE}.kind": SOURCE, f"{WEIGHTS}.heads": f"{WEIGHTS}.width"}
NAMED_AT |= dict.fromkeys(("objectives.honest", "objectives.mixed.role"), "objectives")
NAMED_AT[f"{PAPER}.tokens.tokenizers.gpt2"] = f"{PAPER}.backbones.gpt2-small.tokenizer"


@pytest.mark.parametrize(("path", "value", "message"), REFUSED)
def test_what_is_wrong_is_refused_with_the_path_of_the_key(path, value, message):
    with pytest.raises(UserError) as caught:
        parse_params(changed(path, value))
    assert message in str(caught.value)
    key = re.escape(NAMED_AT.get(path, path))
    assert re.search(rf"^  {key}(\.[\w-]+)?: ", str(caught.value), re.MULTILINE)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex (make tex)")
def test_latex_prints_every_letter_that_is_not_refused(tmp_path):
    letters = [chr(code) for code in (*range(0x20, 0x180), *range(0x2010, 0x2030))]
    taken = [letter for letter in letters if is_taken(f"a {letter}")]
    # ASCII without $, Latin, dashes, quotes, the ellipsis
    assert len(taken) == 94 + 224 - 9 + 2 + 5 + 1
    body = "\n\n".join(f"x{escape(letter)}x" for letter in taken)
    document = rf"\documentclass{{article}}{PACKAGES}\begin{{document}}{body}\end{{document}}"
    (tmp_path / "letters.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "letters"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")


def is_taken(title):
    try:
        parse_params(changed("profiles.mini.title", title))
    except UserError:
        return False
    return True


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("? [a, b]\n: c", "holds what is no setting: keys must be str"),
        ("grid: &loop [*loop]", "holds what is no setting: Circular reference"),
        ("grid: !!set {a}", "holds what is no setting: Object of type set"),
        ("profiles: {mini: {title: 2026-06-13}}", "holds what is no setting: Object of type date"),
        (f"grid: 1{'0' * 5000}", "not valid YAML: Exceeds the limit"),
        ("grid: 2026-13-13", "not valid YAML: month must be in"),
        ("[" * 1000, "not valid YAML"),
    ],
)
def test_what_yaml_knows_and_no_setting_is_is_refused(tmp_path, written, message):
    path = tmp_path / "params.yaml"
    with pytest.raises(UserError, match=r"params\.yaml: not found; run from the repository root"):
        load_params(path)
    path.write_text(written)
    with pytest.raises(UserError, match=rf"params\.yaml.*{message}"):
        load_params(path)


def test_no_model_is_loaded_to_check_the_settings():
    heavy = "{'torch', 'numpy', 'pandas', 'transformers'}"
    code = f"import sys, rm_tension.base.config; sys.exit(len({heavy} & {{*sys.modules}}))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_numbers_are_read_as_dvc_reads_and_writes_them(tmp_path):
    path, text = tmp_path / "params.yaml", Path("params.yaml").read_text()
    path.write_text(re.sub(r"learning_rate: [\d.]+", "learning_rate: 5e-5", text))
    assert load_params(path).profiles["mini"].train.learning_rate == 5e-5


def test_results_go_by_the_role_of_an_objective_and_a_role_is_nobody_elses_name():
    raw = copy.deepcopy(RAW)
    raw["grid"]["objectives"][2] = "both"
    for section in ("objectives", "styles"):
        raw[section]["both"] = raw[section].pop("mixed")
    for profile in raw["profiles"].values():
        profile["epochs"]["both"] = profile["epochs"].pop("mixed")
    params = parse_params(raw)
    assert params.with_role("mixed") == "both"
    assert params.roles == {"helpful": "helpful", "harmless": "harmless", "both": "mixed"}
    raw["objectives"] |= {"mixed": MIXED | {"role": None}}
    raw["styles"]["mixed"] = raw["styles"]["both"]
    raw["grid"]["objectives"].append("mixed")
    with pytest.raises(
        UserError, match=r"objectives\.mixed: is called as the role of both: rename"
    ):
        parse_params(raw)


def test_no_profiles_share_a_part_that_dvc_would_change_in_all():
    """DVC's -S writes through YAML anchors: `epochs` of one profile would be those of several."""
    tokens = yaml.scan(Path("params.yaml").read_text())
    assert not [token for token in tokens if isinstance(token, yaml.AliasToken)]
