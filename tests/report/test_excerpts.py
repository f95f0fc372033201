"""How texts are cut for the page's explorer, and the rewards beside them."""

from types import SimpleNamespace

import pandas as pd
import pytest

from rm_tension.analyse.explorer import Explorer, ShownItem
from rm_tension.report.explorer import CUT, excerpts, explorer
from rm_tension.report.page import outcome


def test_a_text_is_cut_between_words():
    (short,) = excerpts([" a\n b "], 10)
    assert short == "a b"
    (long,) = excerpts(["one two three four"], 10)
    assert long == f"one two {CUT}"
    (unbroken,) = excerpts(["x" * 50], 10)
    assert unbroken == f"{'x' * 10} {CUT}"


SAME = ("word " * 100).strip()


@pytest.mark.parametrize(
    ("texts", "most", "ends"),
    [
        ([f"{SAME} yes", f"{SAME} no"], 60, ["word yes", "word no"]),
        ([SAME, f"{SAME} and more"], 60, ["word", "word and more"]),  # one goes on
        (["字" * 300 + "是", "字" * 300 + "否"], 260, ["字是", "字否"]),  # without spaces
    ],
)
def test_texts_that_begin_alike_are_shown_where_they_differ(texts, most, ends):
    for shown, end in zip(excerpts(texts, most), ends, strict=True):
        assert shown.startswith(CUT)
        assert shown.endswith(end)
        assert len(shown) < most


def test_close_rewards_are_right_or_wrong_as_in_the_analysis():
    item = ShownItem("rm-bench", "math", "math/5", "a prompt", "yes", "no")
    key = ("gpt2-small", 0, item.dataset, item.subset, item.item_id, "mixed")
    columns = ["backbone", "seed", "dataset", "subset", "item_id", "objective", "kind"]
    rows = [(*key, "none", 0.610060, 0.610052), (*key, "magnitude", 0.1, 0.2)]
    source = SimpleNamespace(
        record=lambda *_: Explorer("a rule", True, [item]),
        by_role=lambda *_: pd.DataFrame(rows, columns=[*columns, "chosen", "rejected"]),
        backbones={"gpt2-small": "GPT-2"},
        task_percent=10,
    )
    (rewards,) = explorer(source).rewards["gpt2-small-0"]
    assert [outcome(numbers) for numbers in rewards] == ["–", "–", "✓✗"]
