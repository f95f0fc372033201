"""A loaded reward model gives the pipeline's own rewards, whatever it is asked together with."""

import shutil
import subprocess
import warnings
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import rm_tension
from rm_tension import load_reward_model
from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Model, Paths, Trio
from rm_tension.model import attention
from rm_tension.score import loading
from small_repository import KEY, PLACE, git

ITEMS = [
    ("How do I boil an egg?", ["Seven minutes.", "No.", "Seven minutes!"]),
    ("Why?", ["Because."]),
    (" a {prompt}\n", ["{answer}", "ünïcode 🙂"]),
]


@pytest.fixture(scope="module")
def origin(trained):
    return trained / "origin"


@pytest.fixture(scope="module")
def loaded(origin):
    return load_reward_model(KEY, profile="mini", repo=origin, device="cpu")


def test_rewards_are_those_of_plain_transformers(loaded, origin):
    model = AutoModelForSequenceClassification.from_pretrained(origin / PLACE, num_labels=1)
    tokenizer = AutoTokenizer.from_pretrained(origin / PLACE)
    for prompt, answers in ITEMS:
        ids = [
            tokenizer(f"Human:{prompt}\n\nAssistant:{answer}", return_tensors="pt")
            for answer in answers
        ]
        with torch.inference_mode():
            expected = [model(**one).logits.item() for one in ids]
        found = loaded.score(prompt, answers)
        assert found == pytest.approx(expected, abs=1e-5)
        assert all(type(reward) is float for reward in found)
        assert len(set(found)) == len(found)


def test_a_folder_that_was_copied_elsewhere_is_enough(loaded, origin, tmp_path, monkeypatch):
    shutil.copytree(origin / PLACE, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    for name in ("./copy", Path("copy")):
        copied = load_reward_model(name, device="cpu")
        assert copied.settings.key == KEY
        assert copied.score_all(ITEMS) == loaded.score_all(ITEMS)
    (tmp_path / "copy" / "scoring.json").write_text('{"key": "x"}')
    with pytest.raises(UserError, match=r"scoring\.json: damaged \(profile: Field required"):
        load_reward_model("./copy", device="cpu")
    (tmp_path / "copy" / "scoring.json").unlink()
    with pytest.raises(UserError, match=r"scoring\.json: not found, .*train it again"):
        load_reward_model("./copy", device="cpu")


def test_another_template_in_params_yaml_changes_no_reward_of_a_checkpoint(
    loaded, origin, tmp_path
):
    subprocess.run(["git", "clone", "--quiet", origin, tmp_path / "clone"], check=True)
    shutil.copytree(origin / PLACE, tmp_path / "clone" / PLACE)
    params = tmp_path / "clone" / "params.yaml"
    params.write_text(params.read_text().replace("Human:{prompt}", "User:{prompt}"))
    again = load_reward_model(KEY, profile="mini", repo=tmp_path / "clone", device="cpu")
    assert again.score_all(ITEMS) == loaded.score_all(ITEMS)


def test_an_old_revision_whose_params_yaml_todays_code_refuses(
    loaded, origin, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    subprocess.run(["git", "clone", "--quiet", origin, tmp_path / "clone"], check=True)
    params = tmp_path / "clone" / "params.yaml"
    params.write_text(params.read_text().replace("learning_rate:", "lr:"))
    with pytest.raises(UserError, match="lr"):
        load_params(params)
    git(tmp_path / "clone", "commit", "--quiet", "--all", "--message", "as it was once")
    old = load_reward_model(KEY, profile="mini", repo=tmp_path / "clone", rev="HEAD", device="cpu")
    assert old.score_all(ITEMS) == loaded.score_all(ITEMS)


def test_rewards_do_not_depend_on_what_is_scored_together(loaded):
    alone = [loaded.score(prompt, answers) for prompt, answers in ITEMS]
    one_by_one = [
        [loaded.score(prompt, [answer])[0] for answer in answers] for prompt, answers in ITEMS
    ]
    many = loaded.score_all(ITEMS * 40)
    assert len(many) == 40 * len(ITEMS)
    for together in (
        one_by_one,
        many[: len(ITEMS)],
        many[-len(ITEMS) :],
        loaded.score_all(ITEMS[::-1])[::-1],
    ):
        for first, second in zip(alone, together, strict=True):
            assert first == pytest.approx(second, abs=1e-5)
    assert loaded.score_all([]) == []


def test_a_long_text_is_cut_and_said_so(loaded):
    with pytest.warns(
        UserWarning, match="1 texts are longer than 64 tokens: cut, as in the evaluation"
    ):
        (cut, short) = loaded.score("Q", ["x" * 200, "x"])
    with pytest.warns(UserWarning, match="1 texts are longer"):
        assert loaded.score("Q", ["x" * 100])[0] == pytest.approx(cut, abs=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loaded.score("Q", ["x"])[0] == pytest.approx(short, abs=1e-5)


def test_what_can_be_walked_once_is_as_good_as_a_list(loaded):
    prompts, answers = zip(*ITEMS, strict=True)
    assert loaded.score_all(zip(prompts, map(iter, answers), strict=True)) == loaded.score_all(
        ITEMS
    )


def test_a_prompt_that_leaves_no_room_for_an_answer_is_named(loaded):
    with pytest.warns(
        UserWarning, match="the prompt of item 2 alone fills 64 tokens: no answer was seen"
    ):
        (_, (first, second)) = loaded.score_all([("Q", ["x"]), ("x" * 200, ["yes", "no"])])
    assert first == pytest.approx(second, abs=1e-6)


def test_a_thousand_answers_cost_as_much_as_their_tokens_and_get_the_rewards_of_one_by_one(
    loaded, monkeypatch
):
    attended, tokens = [], []

    def watched(query, key, value, spans, scale):
        tokens.append(len(query[0]))
        attended.append(int((spans.own * spans.keys).sum()))
        return kernel(query, key, value, spans, scale)

    kernel = attention.span_by_span
    monkeypatch.setattr(attention, "span_by_span", watched)
    answers = [f"Answer {i}" + "!" * (i % 7) for i in range(1000)]
    together = loaded.score("Why?", answers)
    assert max(tokens) <= loading.TOKENS_PER_BATCH
    layers, longest = loaded.model.config.num_hidden_layers, max(map(len, answers))
    assert sum(tokens) < layers * 1000 * longest  # the prompt but once in a batch
    assert sum(attended) < layers * 1000 * longest * 2 * longest
    assert together[::50] == pytest.approx(
        [loaded.score("Why?", [answer])[0] for answer in answers[::50]], abs=1e-5
    )


def test_equal_answers_get_equal_rewards(loaded):
    answers = [
        "Yes.",
        "No, never.",
        "Yes.",
        "Perhaps, if you ask again tomorrow.",
        "No, never.",
        "Yes.",
    ]
    first, second, *rest = loaded.score("Why?", answers)
    assert [rest[0], rest[3]] == [first, first]
    assert rest[2] == second


@pytest.mark.parametrize(
    ("prompt", "answers", "message"),
    [
        ("", ["yes"], "the prompt must be a text that is not blank: ''"),
        (None, ["yes"], "the prompt must be a text"),
        ("why?", [], "at least one text: 'why[?]'"),
        ("why?", "yes", "answers must be a list"),
        ("why\ud83d?", ["yes"], "half a surrogate pair"),
        ("why?", ["yes", " \n"], "every answer must be a text that is not blank"),
        ("why?", ["yes", 1], "every answer must be a text"),
    ],
)
def test_what_cannot_be_scored(loaded, prompt, answers, message):
    with pytest.raises(UserError, match=message):
        loaded.score(prompt, answers)
    with pytest.raises(UserError, match=message):
        loaded.score_all([*ITEMS, (prompt, answers)])


def test_rewards_that_are_not_finite_are_refused(origin):
    broken = load_reward_model(KEY, profile="mini", repo=origin, device="cpu")
    with torch.no_grad():
        broken.model.score.weight[:] = torch.nan
    with pytest.raises(UserError, match=f"{KEY}: rewards are not finite"):
        broken.score("why?", ["so"])


def test_a_device_that_is_not_there(origin):
    for name in ("quantum", "cuda:99"):
        with pytest.raises(
            UserError, match=f"device '{name}' cannot be used; the best one here is '"
        ):
            load_reward_model(KEY, profile="mini", repo=origin, device=name)


def test_the_package_offers_the_loader_and_nothing_that_it_has_not():
    assert rm_tension.RewardModel.__name__ == "RewardModel"
    with pytest.raises(AttributeError, match="has no attribute 'load'"):
        rm_tension.load  # noqa: B018


@pytest.mark.pipeline
@pytest.mark.parametrize(
    "model",
    [Model("gpt2-small", "mixed", 0), Model("smollm2-360m", "helpful", 247)],
    ids=lambda model: model.key,
)
def test_rewards_are_those_of_the_evaluation(model):
    paths = Paths("mini")
    table = pd.read_parquet(paths.rewards(Trio(model.backbone, model.seed)))
    table = table[(table["objective"] == model.objective) & (table["kind"] == "none")]
    expected = table.set_index(["dataset", "item_id", "answer_index"])["reward"].sort_index()
    items = pd.read_parquet(paths.texts("benchmarks"))
    loaded = load_reward_model(model.key, profile="mini", device="cpu")
    found = loaded.score_all(
        [
            (prompt, list(answers))
            for prompt, answers in zip(items.prompt, items.answers, strict=True)
        ]
    )
    assert len(found) > 900
    for (dataset, item), rewards in zip(
        items[["dataset", "item_id"]].to_numpy(), found, strict=True
    ):
        assert rewards == pytest.approx(expected[dataset, item].tolist(), abs=1e-5)
    item = items.iloc[-1]
    alone = loaded.score(item["prompt"], list(item["answers"]))
    assert alone == pytest.approx(expected[item["dataset"], item["item_id"]].tolist(), abs=1e-5)
