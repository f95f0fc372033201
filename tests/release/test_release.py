"""Cards say what was recorded and nothing that was not; checkpoints go to the hub with them, once."""

import shutil
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import yaml
from analysed_run import NAME, REWARDS, read_lock, write_lock
from huggingface_hub import ModelCard, parse_eval_result_entries

from rm_tension import cli
from rm_tension.base.errors import UserError
from rm_tension.release import command as release
from rm_tension.release.profile import FinishedProfile
from small_repository import KEY, PLACE, REPOSITORY, STAGE, listed

pytestmark = pytest.mark.slow

REPO = f"someone/{NAME}"


def card_of():
    release.prepare(profile="mini")
    return ModelCard.load(f"dist/release/mini/models/{NAME}/README.md")


def test_the_card_of_a_miniature_has_its_recorded_recipe_and_claims_nothing_official(
    analysed, params
):
    folder = analysed(title="the miniature: not the paper's numbers")
    shutil.rmtree(folder / PLACE)  # no checkpoint is needed
    stages = read_lock(folder)
    stages[STAGE]["params"]["params.yaml"]["profiles.mini.train"]["learning_rate"] = 0.125
    write_lock(folder, stages)
    card = card_of()
    claimed = {"language", "library_name", "license", "pipeline_tag", "tags"}
    assert card.data.to_dict().keys() == claimed
    assert card.data.pipeline_tag == "text-classification"
    assert "**Profile mini: the miniature: not the paper's numbers.**" in card.text
    assert "knows no\n> language" in card.text
    recipe = card.text.split("## Recipe\n\n")[1].split("\n\n")[0].splitlines()
    assert all(line.startswith("| ") for line in recipe[2:])
    assert recipe[2] == "| backbone | Mini-GPT2-S, random weights |"
    assert "| learning_rate | 0.125 |" in recipe
    settings = set(params.profiles["mini"].train.model_dump())
    assert settings <= {line.split(" | ")[0][2:] for line in recipe}
    assert "Of their 1 parts, 0 hold, 0 are contradicted, 1 are open." in card.text
    assert f"`{PLACE}` with md5 `{listed(folder)['']}`" in card.text
    paper = pd.read_csv("reference/published.csv").query("table in ('13', '14')")
    paper = paper.set_index(["backbone", "objective", "task"])["value"].sort_index()[
        "gpt2-small", "helpful"
    ]
    accuracies = card.text.split("## Accuracy")[1].replace(" ", "")
    assert "|HH-RLHFtest,ownfiles|30|70.5||\n" in accuracies
    assert f"|Safety|30|61.2|{paper['safety']:.1f}|\n" in accuracies
    assert f"|Math|30|50.5|{paper['math']:.1f}|\n" in accuracies
    assert "**notcomparable**" in accuracies


def test_the_card_of_real_data_has_the_hubs_metadata_with_revisions(analysed, params):
    analysed("paper", comparable=True)
    card = card_of()
    assert card.data.base_model == "openai-community/gpt2"
    assert card.data.datasets == ["Anthropic/hh-rlhf"]
    assert card.data.license == "mit"
    repositories = params.profiles["paper"].data.source.repositories
    suite, hh = repositories["reward-bench-2"], repositories["hh-rlhf"]
    published = FinishedProfile.open("mini").repositories()
    assert published["hh-rlhf"] == hh.model_dump(mode="json")
    assert published["rm-bench"]["revision"] == "c" * 40  # that main was when it was loaded
    results = {(one.dataset_type, one.dataset_config): one for one in card.data.eval_results}
    assert results.keys() == {(hh.repo, "own test files"), (suite.repo, "safety")}
    safety = results[suite.repo, "safety"]
    assert (safety.metric_value, safety.dataset_revision) == (61.25, suite.revision)
    pairs = "helpful-base, helpful-online"
    assert f"Anthropic/hh-rlhf at {hh.revision}: {pairs}" in card.text
    assert "not comparable" not in card.text
    files = Path(f"dist/release/mini/models/{NAME}/.eval_results").iterdir()
    entries = {path.name: yaml.safe_load(path.read_text()) for path in files}
    assert entries.keys() == {"reward-bench-2.yaml", "hh-rlhf.yaml"}
    (entry,) = parse_eval_result_entries(entries["reward-bench-2.yaml"])
    assert (entry.dataset_id, entry.dataset_revision) == (suite.repo, suite.revision)
    assert (entry.task_id, entry.value) == ("safety", 61.25)
    assert entry.source_url == "https://huggingface.co/datasets/ORG/rm-tension-mini"


def test_stand_ins_are_not_called_by_the_official_names(analysed):
    analysed("paper", stand_ins="samples of them")
    card = card_of()
    assert not {"base_model", "datasets", "model-index"} & card.data.to_dict().keys()
    assert "Stand-ins were taken for official files: samples of them." in card.text
    (backbone,) = [line for line in card.text.splitlines() if line.startswith("| backbone |")]
    assert backbone.endswith("; stand-ins: samples of them |")
    assert f"| loaded for it | model.safetensors, 1234 bytes, sha256 `{'ab' * 32}` |" in card.text


def test_the_kit_holds_cards_and_what_is_left_for_a_person(analysed, capsys):
    kit = analysed() / "dist/release/mini"
    cli.main(["release", "prepare"])
    assert capsys.readouterr().out == "dist/release/mini: read its STEPS.txt\n"
    names = {path.relative_to(kit).as_posix() for path in kit.rglob("*") if path.is_file()}
    crate = {"ro-crate-metadata.json", "dvc.yaml", "dvc.lock", "params.yaml"}
    assert names == {
        *(f"models/{NAME}/README.md", "dataset/README.md", "STEPS.txt"),
        *(f"run-crate/{name}" for name in crate),
    }
    steps = (kit / "STEPS.txt").read_text()
    for step in ("git tag", "DOI", "dvc push", f"hf://ORG/{NAME}@COMMIT", "Profile mini: a title."):
        assert step in steps


def without(stage):
    return lambda stages: stages.pop(stage)


def evaluated_with_another(stages):
    dep = {"path": str(PLACE.parent), "md5": f"{'0' * 32}.dir"}
    stages["evaluate@mini-gpt2-small-0"]["deps"] = [dep]


def analysed_with_others(stages):
    stages["analyse@mini"]["deps"][0]["md5"] = f"{'0' * 32}.dir"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without(STAGE), "no reward model of mini in it"),
        (without("tokens@mini"), "tokens/mini has no profiles.mini.tokens on record"),
        (
            evaluated_with_another,
            f"gpt2-small-0.parquet is of another {PLACE.parent} than was made since",
        ),
        (analysed_with_others, "results/mini is of another rewards/mini than was made since"),
    ],
)
def test_what_was_not_run_to_the_end_is_refused(analysed, damage, message):
    folder = analysed()
    stages = read_lock(folder)
    damage(stages)
    write_lock(folder, stages)
    with pytest.raises(UserError, match=message):
        release.prepare(profile="mini")
    assert not (folder / "dist" / "release" / "mini").exists()


@pytest.mark.parametrize("owner", ["", "org/name", "/org", ".."])
def test_what_is_no_owner_is_refused(owner):
    for step in (release.push, release.every_eval_ever):
        with pytest.raises(UserError, match="not a user or organisation of the Hugging Face hub"):
            step(owner)


@pytest.mark.parametrize("name", ["dvc.yaml", "results/mini/context.json"])
def test_a_damaged_file_is_named(analysed, name):
    path = analysed() / name
    path.write_text(path.read_text()[:20])
    with pytest.raises(UserError, match=name):
        release.prepare(profile="mini")


def test_citation_and_changelog_are_of_the_version():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert citation["version"] == project["version"]
    assert f"\n## {project['version']} " in changes


def commits(hub):
    return sum(path.endswith("/commit/main") for _, path in hub.requests)


def test_a_checkpoint_and_its_card_go_to_the_hub_in_one_commit_and_once(hub, capsys):
    (PLACE / ".DS_Store").touch()
    release.push("someone", only=[KEY], dry_run=True)
    assert f"1/1 {REPO}: would be sent, " in capsys.readouterr().out
    assert not hub.requests
    release.push("someone", only=[KEY])
    assert f"1/1 {REPO}: is there, " in capsys.readouterr().out
    checkpoint = {path.name: path.read_bytes() for path in PLACE.glob("[!.]*")}
    card = hub.repos[REPO].pop("README.md")
    assert hub.repos.keys() == {REPO}
    assert hub.repos[REPO] == checkpoint
    assert card.decode() == str(card_of()).replace("ORG/", "someone/")
    hub.repos[REPO]["README.md"] = card
    assert commits(hub) == 1
    release.push("someone", only=[KEY])
    assert commits(hub) == 1
    hub.repos[REPO]["model.safetensors"] = b"damaged"
    release.push("someone", only=[KEY])
    assert commits(hub) == 2
    assert hub.repos[REPO]["model.safetensors"] == checkpoint["model.safetensors"]


def test_one_collection_holds_the_models_and_the_data(hub, capsys):
    for _ in range(2):
        release.push("someone")
        assert "2/2 someone/rm-tension-mini: is there, " in capsys.readouterr().out
        (items,) = hub.collections.values()
        assert items == [
            {"id": REPO, "type": "model"},
            {"id": "someone/rm-tension-mini", "type": "dataset"},
        ]


def test_after_an_error_the_same_command_goes_on(hub):
    hub.refused.add(NAME)
    with pytest.raises(UserError, match=f"(?s){REPO}: was not sent .* the same command goes on"):
        release.push("someone")
    hub.refused.clear()
    release.push("someone")
    assert len(hub.repos[REPO]) == 6


def test_what_is_not_recorded_is_not_sent(hub):
    recorded = [PLACE / "model.safetensors", Path("data/mini/test.parquet"), Path(REWARDS)]
    for path in (*recorded, PLACE / "notes.txt", Path("results/mini/accuracy.csv")):
        before = path.read_bytes() if path.exists() else None
        path.write_bytes((before or b"") + b"\n")
        hub.repos.clear()
        with pytest.raises(UserError, match=r": not what dvc\.lock records"):
            release.push("someone")
        assert not hub.repos.keys() & {"datasets/someone/rm-tension-mini"}
        assert path.parts[0] in ("data", "rewards") or not hub.repos
        path.unlink()
        if before:
            path.write_bytes(before)
    hub.repos.clear()
    with pytest.raises(UserError, match=f"--model gpt2-small: dvc.lock has {KEY}"):
        release.push("someone", only=["gpt2-small"])
    assert not hub.repos
