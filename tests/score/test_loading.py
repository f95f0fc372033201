"""A loaded reward model gives the pipeline's own rewards, whatever it is asked together with."""

import shutil
from pathlib import Path

import pytest
import torch

from hub_models import stock
from rm_tension import load_reward_model
from rm_tension.base.errors import UserError
from small_repository import KEY, PLACE

ITEMS = [
    ("How do I boil an egg?", ["Seven minutes.", "No.", "Seven minutes!"]),
    ("Why?", ["Because."]),
    (" a {prompt}\n", ["{answer}", "ünïcode 🙂"]),
]
DIALOGUE = "\n\nHuman: Why?\n\nAssistant: Because."


@pytest.fixture(scope="module")
def origin(trained):
    return trained / "origin"


@pytest.fixture(scope="module")
def loaded(origin):
    return load_reward_model(KEY, profile="mini", repo=origin, device="cpu")


def test_rewards_are_those_of_plain_transformers(loaded, origin):
    for prompt, answers in ITEMS:
        texts = [f"Human:{prompt}\n\nAssistant:{answer}" for answer in answers]
        rewards = loaded.score(prompt, answers)
        assert rewards == pytest.approx(stock(origin / PLACE, texts), abs=1e-5)
        assert all(type(reward) is float for reward in rewards)
        assert len(set(rewards)) == len(rewards)
    expected = pytest.approx(stock(origin / PLACE, [DIALOGUE]), abs=1e-5)
    assert loaded.score_all([DIALOGUE, *ITEMS])[0] == expected
    assert loaded.score(None, [DIALOGUE]) == expected


def test_a_folder_that_was_copied_elsewhere_is_enough(loaded, origin, tmp_path, monkeypatch):
    shutil.copytree(origin / PLACE, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    for name in ("./copy", Path("copy")):
        copied = load_reward_model(name, device="cpu")
        assert copied.settings.key == KEY
        assert copied.score_all(ITEMS) == loaded.score_all(ITEMS)
    with pytest.raises(UserError, match=r"scoring\.json: says template and dtype"):
        load_reward_model("./copy", device="cpu", dtype="float32")
    (tmp_path / "copy" / "scoring.json").write_text('{"key": "x"}')
    with pytest.raises(UserError, match=r"scoring\.json: damaged \(profile: Field required"):
        load_reward_model("./copy", device="cpu")


def test_another_params_yaml_changes_no_reward_of_a_checkpoint(loaded, origin, tmp_path):
    copy = shutil.copytree(origin, tmp_path / "copy", ignore=shutil.ignore_patterns("cache"))
    params = copy / "params.yaml"
    params.write_text(params.read_text().replace("Human:{prompt}", "User:{prompt}"))
    params.write_text(params.read_text().replace("learning_rate:", "lr:"))  # refused by load_params
    again = load_reward_model(KEY, profile="mini", repo=copy, device="cpu")
    assert again.score_all(ITEMS) == loaded.score_all(ITEMS)


def test_rewards_do_not_depend_on_what_is_scored_together(loaded):
    answers = [f"Answer {i}" + "!" * (i % 7) for i in range(300)]
    items = [*ITEMS, ("Why?", answers)]
    alone = [[loaded.score(prompt, [text])[0] for text in texts[:20]] for prompt, texts in items]
    for together in (loaded.score_all(items), loaded.score_all(items[::-1])[::-1]):
        for expected, rewards in zip(alone, together, strict=True):
            assert rewards[:20] == pytest.approx(expected, abs=1e-5)
    assert loaded.score_all([]) == []
    rewards = loaded.score("Why?", ["Yes.", "No, never.", "Yes.", "Perhaps.", "No, never."])
    assert rewards[0] == rewards[2]
    assert rewards[1] == rewards[4]


@pytest.mark.filterwarnings("error")
def test_a_cut_is_said_and_is_no_exception_where_warnings_are(loaded, caplog):
    long = "x" * 200
    items = [("Q", ["x"]), (long, ["yes", "no"]), (long, ["yes"]), ("Q", [long])]
    (_, (first, second), *_) = loaded.score_all(items)
    assert first == second
    assert caplog.messages == [
        "4 texts are longer than 64 tokens: cut, as in the evaluation",
        "up to there the answers of item 2, 3 are the same, or not seen",
    ]


def test_what_cannot_be_scored(loaded, origin):
    with pytest.raises(UserError, match=r"item 4: .*not blank"):
        loaded.score_all([*ITEMS, ("why?", [" "])])
    broken = load_reward_model(origin / PLACE, device="cpu")
    with torch.no_grad():
        broken.model.score.weight[:] = torch.nan
    with pytest.raises(UserError, match=f"{PLACE}: rewards are not finite"):
        broken.score("why?", ["so"])
    for name in ("quantum", "cuda:99"):
        with pytest.raises(UserError, match=f"device '{name}' cannot be used; the best one here"):
            load_reward_model(origin / PLACE, device=name)
