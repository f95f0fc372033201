"""The kit says of each checkpoint what was recorded and nothing that was not."""

import json
import shutil

import pandas as pd
import pytest
from analysed_run import NAME, read_lock, write_lock
from huggingface_hub import ModelCard

from rm_tension.base.errors import UserError
from rm_tension.release.kit import prepare
from small_repository import KEY, PLACE, STAGE, listed


def card_of(params, profile="mini"):
    folder = prepare(params.grid, profile)
    return ModelCard.load(folder / "models" / NAME / "README.md")


def test_the_card_of_a_miniature_says_so_and_claims_no_official_model_or_data(analysed, params):
    folder = analysed(title="the miniature: not the paper's numbers")
    card = card_of(params)
    assert card.data.to_dict().keys() == {
        "language",
        "library_name",
        "license",
        "pipeline_tag",
        "tags",
    }
    assert card.data.pipeline_tag == "text-classification"
    assert "**Profile mini: the miniature: not the paper's numbers.**" in card.text
    assert "knows no\n> language" in card.text
    assert "random weights" in card.text
    assert "Of their 1 parts, 0 hold, 0 are contradicted, 1 are open." in card.text
    md5 = listed(folder)[""]
    assert f"`models/mini/reward/{KEY}` with md5 `{md5}`" in card.text


def test_the_card_has_own_accuracy_beside_the_papers(analysed, params):
    analysed()
    card = card_of(params)
    paper = pd.read_csv("reference/published.csv").query("table == '14'")
    paper = paper.set_index(["backbone", "objective", "task"])["value"]
    published = paper["gpt2-small", "helpful", "safety"]
    assert f"| Safety | 30 | 61.2 | {published:.1f} |" in card.text
    assert "| HH-RLHF test, own files | 30 | 70.5 | |" in card.text
    assert "11.5" not in card.text
    assert "12.5" not in card.text
    assert "**not comparable**" in card.text


def test_the_card_of_real_data_has_the_hubs_metadata_with_revisions(analysed, params):
    analysed("pilot", comparable=True)
    card = card_of(params)
    assert card.data.base_model == "openai-community/gpt2"
    assert card.data.datasets == ["Anthropic/hh-rlhf"]
    assert card.data.license == "mit"
    source = params.profiles["pilot"].data.source
    found = {(one.dataset_type, one.dataset_config): one for one in card.data.eval_results}
    assert found.keys() == {
        (source.hh_rlhf.repo, "own test files"),
        (source.reward_bench_2.repo, "safety"),
    }
    safety = found[source.reward_bench_2.repo, "safety"]
    assert (safety.metric_value, safety.dataset_revision) == (61.25, source.reward_bench_2.revision)
    assert "**Content warning.** HH-RLHF" in card.text
    assert (
        f"Anthropic/hh-rlhf at {source.hh_rlhf.revision}: helpful-base, helpful-online" in card.text
    )
    assert "not comparable" not in card.text


def test_stand_ins_are_not_called_by_the_official_names(analysed, params):
    analysed("pilot", stand_ins="samples of them")
    card = card_of(params)
    assert not {"base_model", "datasets", "model-index"} & card.data.to_dict().keys()
    assert "Stand-ins were taken for official files: samples of them." in card.text
    (backbone,) = [line for line in card.text.splitlines() if line.startswith("| backbone |")]
    assert backbone.endswith("; stand-ins: samples of them |")
    assert f"| loaded for it | model.safetensors, 1234 bytes, sha256 `{'ab' * 32}` |" in card.text


def test_the_recipe_is_the_recorded_one_not_todays(analysed, params):
    folder = analysed()
    stages = read_lock(folder)
    stages[STAGE]["params"]["params.yaml"]["profiles.mini.train"]["learning_rate"] = 0.125
    write_lock(folder, stages)
    assert "| learning_rate | 0.125 |" in card_of(params).text


def test_the_kit_holds_notes_citation_index_and_what_is_left_for_a_person(analysed, params):
    folder = analysed()
    kit = prepare(params.grid, "mini")
    names = {path.relative_to(kit).as_posix() for path in kit.rglob("*") if path.is_file()}
    assert names == {
        f"models/{NAME}/README.md",
        "checkpoints.json",
        "RELEASE_NOTES.md",
        "CITATION.cff",
        "STEPS.txt",
    }
    assert json.loads((kit / "checkpoints.json").read_text()) == {
        NAME: listed(folder)[""].removesuffix(".dir")
    }
    assert (kit / "RELEASE_NOTES.md").read_text().startswith("## 0.1.0")
    steps = (kit / "STEPS.txt").read_text()
    for step in ("git tag", "DOI", "dvc push", f"hf://ORG/{NAME}@COMMIT", "Profile mini: a title."):
        assert step in steps
    (kit / "left over").touch()
    assert not (prepare(params.grid, "mini") / "left over").exists()


def test_no_checkpoint_is_needed_for_the_cards(analysed, params):
    folder = analysed()
    shutil.rmtree(folder / PLACE)
    shutil.rmtree(folder / ".dvc" / "cache")
    assert KEY in card_of(params).text


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda stages: stages.pop(STAGE), "no reward model of mini in it"),
        (lambda stages: stages.pop("analyse@mini"), "results/mini: not in dvc.lock"),
        (lambda stages: stages.pop("tokens@mini"), "tokens of mini has no profiles.mini.tokens"),
        (
            lambda stages: stages["evaluate@mini-gpt2-small-0"].update(
                deps=[{"path": str(PLACE), "md5": f"{'0' * 32}.dir"}]
            ),
            f"gpt2-small-0 was evaluated with another {PLACE} than was made since: `dvc repro report@mini`",
        ),
    ],
)
def test_what_was_not_run_as_a_whole_is_refused(analysed, params, damage, message):
    folder = analysed()
    stages = read_lock(folder)
    damage(stages)
    write_lock(folder, stages)
    with pytest.raises(UserError, match=message):
        prepare(params.grid, "mini")
    assert not (folder / "dist" / "release" / "mini").exists()


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("CHANGELOG.md", "## 0.1.0", "## 0.0.9", "no section `## 0.1.0`"),
        (
            "CITATION.cff",
            "version: 0.1.0",
            "version: 0.2.0",
            "version 0.2.0, but pyproject.toml has 0.1.0",
        ),
    ],
)
def test_notes_and_citation_must_be_of_the_version(analysed, params, name, old, new, message):
    path = analysed() / name
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        prepare(params.grid, "mini")
