"""Figures depend on the numbers alone."""

import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure

from rm_tension.report.drawing import STYLE, Drawing, save
from rm_tension.report.example import visible
from rm_tension.report.figures import curves


def drawn(folder):
    """The files of a figure, drawn as the report draws them."""
    folder.mkdir()
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(2, 1))
        figure.subplots().plot([1, 2], label="a")
        save(Drawing("1", "heading", "note", figure, "alt"), folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_matplotlibrc_changes_nothing(tmp_path):
    settings = {"text.usetex": True, "savefig.facecolor": "black", "savefig.bbox": "tight"}
    plain = drawn(tmp_path / "plain")
    with mpl.rc_context(settings):
        assert drawn(tmp_path / "set up") == plain
    assert set(plain) == {"figure_01.pdf", "figure_01.svg", "figure_01.png"}


def test_ablation_curves_have_the_dashed_line_of_chance():
    """Accuracy that ends above it, so that it is not drawn for their sake."""
    percents = [("none", 0), ("magnitude", 10), ("change", 10), ("random", 10)]
    accuracy = pd.DataFrame(
        {"mean": [90.0, 80.0, 85.0, 88.0], "spread": 1.0}, pd.MultiIndex.from_tuples(percents)
    )
    axes = Figure().subplots()
    curves(axes, accuracy.rename_axis(["kind", "percent"]), "black")
    (line,) = [line for line in axes.get_lines() if line.get_label() == "chance"]
    assert list(line.get_ydata()) == [50, 50]
    assert (line.get_linestyle(), line.get_marker()) == ("--", "None")
    assert axes.get_ylim()[0] < 50


def test_control_characters_are_shown_and_leave_an_svg_well_formed(tmp_path):
    text = visible("bell \x07, tab \t, nothing \x00, \ufffe")
    assert text == r"bell \x07, tab" + " \t, " + r"nothing \x00, \xfffe"
    figure = Figure()
    figure.text(0, 0, text, parse_math=False)
    save(Drawing("1", "heading", "note", figure, "alt"), tmp_path)
    ElementTree.parse(tmp_path / "figure_01.svg")  # noqa: S314
