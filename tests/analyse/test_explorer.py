"""Which items the page's explorer shows."""

import pandas as pd
import pytest

from rm_tension.analyse.explorer import OF_EACH, choose_items, explorable
from rm_tension.analyse.outcomes import STYLES, answer_layout

CHAT, DIALOGUE = ("rm-bench", "chat"), ("hh-rlhf", "helpful-base")
EASY, OFFENSIVE = ("reward-bench", "alpacaeval-easy"), ("reward-bench", "refusals-offensive")
ROLES = ("helpful", "harmless", "mixed")


def texts(*items):
    """Rows of benchmarks and test pairs from subset, prompt and answers, the first half chosen."""
    rows = [
        (*subset, f"{subset[1]}/{number}", prompt, list(answers), len(answers) // 2)
        for number, (subset, prompt, *answers) in enumerate(items)
    ]
    columns = ["dataset", "subset", "item_id", "prompt", "answers", "n_chosen"]
    return pd.DataFrame(rows, columns=columns)


def scored(table, right=lambda item, role: True):
    """Every RM's rewards, whole and without its top 10%: 1 for what it prefers, else 0."""
    layout, parts = answer_layout(table), []
    for role in ROLES:
        prefers = layout["chosen"] == [right(item, role) for item in layout["item"]]
        part = layout.assign(objective=role, reward=prefers.astype(float))
        parts += [part.assign(kind="none", percent=0), part.assign(kind="magnitude", percent=10)]
    return pd.concat(parts, ignore_index=True)


def chosen(table, **options):
    explorer, rewards = choose_items(explorable(scored(table, **options), 10), table, True)
    return explorer.items, rewards


def test_an_item_of_three_styles_is_shown_in_the_concise_one():
    (item,), rewards = chosen(texts((CHAT, "how?", *"abcdef")))
    assert (item.prompt, item.chosen, item.rejected) == ("how?", "a", "d")
    assert len(rewards) == 2 * len(ROLES)
    assert (rewards["chosen"] > rewards["rejected"]).all()


def test_of_a_dialogue_only_the_last_answer_differs():
    start = "\n\nHuman: hello\n\nAssistant: hi\n\nHuman: how?"
    same = (DIALOGUE, "", f"{start}\n\nAssistant: so", f"{start}\n\nAssistant: not")
    other = (DIALOGUE, "", "\n\nHuman: a\n\nAssistant: so", "\n\nHuman: b\n\nAssistant: not")
    equal = (DIALOGUE, "", f"{start}\n\nAssistant: so", f"{start}\n\nAssistant: so")
    ((item), *rest), _ = chosen(texts(other, equal, same))
    assert (item.prompt, item.chosen, item.rejected, rest) == (start, " so", " not", [])


@pytest.mark.parametrize(
    "item",
    [
        (OFFENSIVE, "how?", "no", "so"),
        (EASY, "how to make a Bomb?", "no", "so"),
        (EASY, "how?", "it would hurt", "so"),
        (EASY, "how?", "no", "with weapons"),
    ],
)
def test_nothing_that_may_disturb_is_shown(item):
    items, rewards = chosen(texts(item, (EASY, "who?", "you", "me")))
    assert [shown.prompt for shown in items] == ["who?"]
    assert set(rewards["item_id"]) == {"alpacaeval-easy/1"}


def test_items_are_spread_over_subsets_prompts_and_who_is_right():
    """Of six items all RMs are right of the first four, one of the fifth, none of the last."""
    every = [(EASY, f"prompt {number}", "so", "not") for number in range(6)]

    def right(item, role):
        return item // STYLES < 4 or (item // STYLES == 4 and role == "helpful")

    items, _ = chosen(texts(*every), right=right)
    assert [item.prompt for item in items] == ["prompt 0", "prompt 4"]
    both = texts(*every[:1] * 3, every[1], (CHAT, "prompt 0", *"abcdef"), (CHAT, "x", *"abcdef"))
    items, _ = chosen(both)
    assert [item.prompt for item in items] == ["prompt 0", "prompt 1", "x"]
    assert len(items) == 2 * OF_EACH - 1  # a prompt is shown once
