"""What people hand over is read as the same items, whatever holds it, or refused by its number."""

import math

import datasets
import numpy as np
import pandas as pd
import pytest

from rm_tension.base.errors import UserError
from rm_tension.score.items import Item, read_items

DIALOGUE = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Why?\n\nAssistant: "


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return user(text) | {"role": "assistant"}


RECORDS = [
    {"id": 1, "prompt": "Why?", "answers": ["Because.", "No."]},
    {"id": 2, "prompt": "How?", "answers": ["So."]},
]
COLUMNS = {name: [record[name] for record in RECORDS] for name in RECORDS[0]}
PAIRS = [("Why?", ["Because.", "No."]), ("How?", ["So."])]


@pytest.mark.parametrize(
    "data",
    [
        RECORDS,
        COLUMNS,
        pd.DataFrame(RECORDS),
        datasets.Dataset.from_list(RECORDS),
        PAIRS,
        dict(PAIRS),
        {prompt: np.array(answers) for prompt, answers in PAIRS},
        ((prompt, iter(answers)) for prompt, answers in PAIRS),
        (pd.DataFrame(PAIRS).itertuples(index=False)),
    ],
)
def test_tables_records_pairs_and_dicts_are_the_same_items(data):
    assert read_items(data) == [Item("Why?", ["Because.", "No."]), Item("How?", ["So."])]


@pytest.mark.parametrize("wrap", [list, pd.DataFrame, datasets.Dataset.from_list])
@pytest.mark.parametrize(
    ("record", "item"),
    [
        ({"chosen": DIALOGUE + "a", "rejected": DIALOGUE}, Item("", [DIALOGUE + "a", DIALOGUE])),
        ({"prompt": "Q", "chosen": "a", "rejected": "b"}, Item("Q", ["a", "b"])),
        ({"prompt": "Q", "chosen": ["a"], "rejected": ["b", "c"]}, Item("Q", ["a", "b", "c"])),
        ({"messages": [user("Q"), assistant("a")]}, Item("Q", ["a"])),
        (
            {"messages": [user("Q"), assistant("a"), user("R"), assistant("b")]},
            Item("", ["\n\nHuman: Q\n\nAssistant: a\n\nHuman: R\n\nAssistant: b"]),
        ),
        (
            {
                "prompt": "Q",
                "chosen": [user("Q"), assistant("a")],
                "rejected": [user("Q"), assistant("b")],
                "messages": [user("Q"), assistant("a")],
            },
            Item("Q", ["a", "b"]),
        ),
        (
            {"prompt": [user("Q")], "chosen": [assistant("a")], "rejected": [assistant("b")]},
            Item("Q", ["a", "b"]),
        ),
        (
            {"chosen": [user("Q"), assistant("a")], "rejected": [user("R"), assistant("b")]},
            Item("", ["\n\nHuman: Q\n\nAssistant: a", "\n\nHuman: R\n\nAssistant: b"]),
        ),
    ],
)
def test_the_columns_of_preference_data(wrap, record, item):
    assert read_items(wrap([record, record])) == [item, item]
    assert read_items(record) == [item]


def test_dialogues_without_a_prompt():
    expected = [Item("", [DIALOGUE])]
    for prompt in ("", None, math.nan):  # the last is pandas' None
        assert read_items([(prompt, [DIALOGUE])]) == expected
    for data in ([DIALOGUE], [{"answers": [DIALOGUE]}]):
        assert read_items(data) == expected
    assert read_items({"answers": [DIALOGUE, DIALOGUE]}) == [Item("", [DIALOGUE] * 2)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("why?", {"a", "b"}), "answers must be a list of at least one text, not {"),
        (("why?", "yes"), "answers must be a list of texts, not one text"),
        (("why?", []), "answers must be a list of at least one text"),
        (("why?", ["yes", " \n"]), r"every answer must be a text that is not blank, not ' \\n'"),
        (("why?", ["yes", 1]), "must be a text or messages, .* not 1"),
        (("why\ud83d?", ["yes"]), "half a surrogate pair"),
        ((" ", ["yes"]), "the prompt must be a text that is not blank"),
        ("why?", "has no prompt, so that it must be a dialogue .* not 'why"),
        (("a", "b", "c"), "must be a prompt and a list of answers, a dialogue, or a record"),
        (7, "must be a prompt and a list of answers, .* not 7"),
        ({"text": "x", "label": 1}, 'must have "answers", .* it has text, label'),
        ({"messages": [user("Q")]}, "must end with the assistant's"),
        ({"messages": [user("Q"), user("R")]}, "must alternate"),
        ({"messages": [{"role": "system", "content": "x"}, user("Q")]}, "'system', but these"),
        ({"messages": [user("Q"), assistant(None)]}, "content must be a text"),
        ({"messages": []}, "messages must be a list of at least one text"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_its_number(row, message):
    with pytest.raises(UserError, match=f"item 3: .*{message}"):
        read_items([*PAIRS, row])


@pytest.mark.parametrize("data", [{("why?", ("yes",))}, "why?", 7, None])
def test_what_is_no_table_is_refused(data):
    with pytest.raises(UserError, match="the items must be a table or a list"):
        read_items(data)
