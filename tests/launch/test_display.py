"""What the launcher shows on a terminal, which may be a low one."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from rm_tension.base.config import load_params
from rm_tension.cost import stage_costs
from rm_tension.launch import display
from rm_tension.launch.coordinator import Progress, State

RUNNING = ("train@mini-gpt2-large-helpful-0", "evaluate@mini-gpt2-small-0")


@pytest.fixture(scope="module")
def costs():
    return stage_costs(load_params(), "mini", "cpu")


@pytest.fixture
def draw(costs, monkeypatch):
    """What a terminal of so many lines has when the whole grid is waiting but for what is RUNNING."""

    monkeypatch.setenv("TERM", "xterm")

    def drawn(lines):
        screen = Console(
            file=StringIO(), force_terminal=True, color_system=None, width=100, height=lines
        )
        monkeypatch.setattr(display, "Console", lambda: screen)
        states = dict.fromkeys(["data@mini", *reversed(costs), "report@mini"], State.WAITING)
        states |= dict.fromkeys(RUNNING, State.RUNNING)
        progress = Progress(
            states, dict.fromkeys(states, Path()), began=dict.fromkeys(RUNNING, 0.0)
        )
        with display.display(costs, 2) as show:
            show(progress)
            return screen.file.getvalue().splitlines()

    return drawn


def test_a_row_for_each_kind_and_backbone_in_the_order_of_params_yaml(draw):
    lines = draw(60)
    cells = [[cell.strip() for cell in line.split("│")[1:5]] for line in lines if "│" in line]
    assert cells[0] == ["data", "", "1", ""]
    assert (
        tuple(backbone for kind, backbone, *_ in cells if kind == "train")
        == load_params().grid.whole.backbones
    )
    assert ["train", "gpt2-large", "8", "1"] in cells
    assert cells[-1] == ["report", "", "1", ""]


def test_a_low_terminal_shows_what_runs_as_well(draw):
    lines = draw(24)
    assert len(lines) <= 24
    cells = [[cell.strip() for cell in line.split("│")[1:4]] for line in lines if "│" in line]
    assert ["train", "53", "1"] in cells
    assert all(any(f".state/launch/{name}.log" in line for line in lines) for name in RUNNING)
    assert "stages left" in lines[0]


def test_a_terminal_that_only_prints_lines_is_given_lines(draw, monkeypatch):
    monkeypatch.setattr(Console, "is_dumb_terminal", True)
    assert sorted(draw(24)) == sorted(f"{name}: running" for name in RUNNING)
