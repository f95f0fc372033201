"""Figures depend on the numbers alone."""

import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import pytest
from matplotlib import style
from matplotlib.figure import Figure

from rm_tension.report.drawing import STYLE, Drawing, save
from rm_tension.report.example import visible


def drawn(folder):
    """The files of a figure, drawn as the report draws them."""
    folder.mkdir()
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(2, 1))
        figure.subplots().plot([1, 2], label="a")
        save(Drawing("1", "heading", "note", figure), folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "settings", [{"text.usetex": True}, {"savefig.facecolor": "black"}, {"savefig.bbox": "tight", "font.size": 30}]
)
def test_a_matplotlibrc_changes_nothing(settings, tmp_path):
    plain = drawn(tmp_path / "plain")
    with mpl.rc_context(settings):
        assert drawn(tmp_path / "set up") == plain
    assert set(plain) == {"figure_01.pdf", "figure_01.svg", "figure_01.png"}


def test_control_characters_are_shown_and_leave_an_svg_well_formed(tmp_path):
    text = visible("bell \x07, tab \t, nothing \x00, \ufffe")
    assert text == r"bell \x07, tab" + " \t, " + r"nothing \x00, \xfffe"
    figure = Figure()
    figure.text(0, 0, text, parse_math=False)
    save(Drawing("1", "heading", "note", figure), tmp_path)
    ElementTree.parse(tmp_path / "figure_01.svg")  # noqa: S314
