"""How texts are cut for the page's explorer."""

from rm_tension.report.explorer import CUT, excerpts


def test_a_text_is_cut_between_words():
    (short,) = excerpts([" a\n b "], 10)
    assert short == "a b"
    (long,) = excerpts(["one two three four"], 10)
    assert long == f"one two {CUT}"
    (unbroken,) = excerpts(["x" * 50], 10)
    assert unbroken == f"{'x' * 10} {CUT}"


def test_texts_that_begin_alike_are_shown_where_they_differ():
    same = "word " * 100
    first, second = excerpts([f"{same}yes", f"{same}no"], 60)
    assert first.startswith(CUT)
    assert first.endswith("word yes")
    assert second.endswith("word no")
    assert len(first) < 60
