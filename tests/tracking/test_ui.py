"""The real UI of `make mlflow`, in Chromium, on made-up runs of all 54 reward models."""

import json
import re
import shutil

import pandas as pd
import pytest
from mlflow_ui import click, mlflow, open_view, run_names, until, window
from selenium.webdriver.common.by import By

from browser import needs_chromium
from rm_tension.base.config import load_params
from rm_tension.base.grid import models, trios
from rm_tension.tracking.views import VIEWS, view_url
from runs_folder import make_steps, write_results, write_runs

GRID = load_params().grid
STEPS = 30
CHANGE = {"helpful": 5, "harmless": -5, "mixed": 0}
pytestmark = needs_chromium


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs and results in which the objectives differ."""
    root = tmp_path_factory.mktemp("all")
    shutil.copy("params.yaml", root)
    paths = write_runs(root, list(trios(GRID, "paper")), STEPS)
    write_results(paths, list(trios(GRID, "paper")))
    table = paths.results / "group_accuracy.csv"
    accuracy = pd.read_csv(table)
    change = (
        accuracy["objective"]
        .map(CHANGE)
        .where(accuracy["group"] == "helpfulness", -accuracy["objective"].map(CHANGE))
    )
    accuracy.assign(accuracy=accuracy["accuracy"] + change).to_csv(table, index=False)
    return root


@pytest.fixture(scope="module")
def address(folder):
    with mlflow(folder) as address:
        yield address


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """High enough for the table to have all rows."""
    with window(tmp_path_factory.mktemp("chromium"), height=2600) as driver:
        yield driver


def test_the_printed_address_lists_all_runs(page, address):
    page.get(address)
    names = until(lambda: len(names := run_names(page)) == 54 and names)
    assert set(names) == {model.key for model in models(GRID, "paper")}
    until(lambda: "54 matching runs" in page.find_element(By.TAG_NAME, "main").text)


def test_tension(page, address):
    (chart,) = open_view(page, address, "tension", 1)
    (points,) = chart["series"]
    assert sorted(zip(points["x"], points["y"], strict=True)) == sorted(
        [(75, 85), (80, 80), (85, 75)] * 18
    )


def test_loss(page, address):
    loss, accuracy = open_view(page, address, "loss", 2)
    assert (loss["title"], accuracy["title"]) == ("train/loss", "train/accuracy")
    assert len(loss["series"]) == len(accuracy["series"]) == 3
    assert all(objective in loss["legend"] for objective in GRID.objectives)
    for series in loss["series"]:
        assert series["x"] == list(range(STEPS))
        assert series["y"] == pytest.approx([step["loss"] for step in make_steps(STEPS)])


def test_ablation(page, address):
    (chart,) = open_view(page, address, "ablation", 1)  # these runs have no random curve
    assert chart["title"] == "ablation/magnitude"
    assert {series["name"] for series in chart["series"]} == {
        f"gpt2-large-{one}-0" for one in GRID.objectives
    }
    assert all(
        (series["x"], series["y"]) == ([0, 2, 10], [80, 78, 75]) for series in chart["series"]
    )


def test_family(page, address):
    charts = open_view(page, address, "family", 2)
    assert [chart["title"] for chart in charts] == ["group/helpfulness", "group/harmlessness"]
    for chart, sign in zip(charts, (1, -1), strict=True):
        (bars,) = chart["series"]
        objectives = [key.rpartition(".")[2] for key in bars["y"]]
        assert sorted(objectives) == sorted([*GRID.objectives] * 2)
        assert bars["x"] == pytest.approx(
            [80 + sign * CHANGE[objective] for objective in objectives]
        )


def test_retention(page, address):
    charts = open_view(page, address, "retention", 2)
    assert [chart["title"] for chart in charts] == [
        "retention/helpfulness",
        "retention/harmlessness",
    ]
    for chart in charts:
        (bars,) = chart["series"]
        assert {key.partition("tag.backbone.")[2] for key in bars["y"]} == set(GRID.whole.backbones)
        assert bars["x"] == pytest.approx([0.9] * len(GRID.whole.backbones))


def test_two_runs_compared_show_their_parameters(page, address):
    open_view(page, address, "tension", 1)

    def two_are_ticked():
        boxes = page.find_elements(By.CSS_SELECTOR, ".ag-row .ag-selection-checkbox input")
        boxes = [box for box in boxes if box.size["width"]]  # the others are hidden copies
        free = [box for box in boxes if not box.is_selected()]
        ticked = len(boxes) - len(free)
        if free and ticked < 2:
            free[0].click()  # one at a time: the page may then replace the others
        return ticked == 2

    until(two_are_ticked)
    click(page, "[data-testid=runs-compare-button]")
    until(lambda: "train.learning_rate 0.001 0.001" in page.find_element(By.TAG_NAME, "main").text)
    row = re.compile(r"^objective (\w+) (\w+)$", re.MULTILINE)
    objectives = until(lambda: row.search(page.find_element(By.TAG_NAME, "main").text))
    assert set(objectives.groups()) < set(GRID.objectives)
    assert objectives[1] != objectives[2]


def test_the_description_leads_to_the_views(page, address):
    page.get("about:blank")
    page.get(address)
    click(page, "[data-component-id$='metadata_editor.expand_button']")
    links = "a[href*='viewStateShareKey=']"
    urls = until(
        lambda: [link.get_attribute("href") for link in page.find_elements(By.CSS_SELECTOR, links)]
    )
    experiment_id = address.split("/experiments/")[1].split("/")[0]
    expected = [view_url(experiment_id, name) for name in json.loads(VIEWS)["views"]]
    assert [url.partition("/#")[2] for url in urls] == [url[1:] for url in expected]
