"""The page as a reader's browser has it: Debian's Chromium, without a window."""

import json
import re
import shutil

import pandas as pd
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from browser import chromium, needs_chromium, resize
from rm_tension.analyse import stage as analyse
from rm_tension.base.config import ROLES
from rm_tension.base.grid import Trio
from rm_tension.report import stage as report
from synthetic import write_profile

# the figure's font has no Chinese; the page shows the text itself
no_glyph = pytest.mark.filterwarnings("ignore:Glyph")
pytestmark = [pytest.mark.slow, needs_chromium, no_glyph]

HTML = (
    "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script> $1 & "
    "{{ 7 }}\n字"
)
EXAMPLE = {
    "suite": "reward-bench",
    "subset": "xstest-should-respond",
    "item_id": "<b>0</b>",
    "backbone": "gpt2-small",
    "seed": 0,
    "trios": 1,
    "prompt": f"prompt {HTML}",
    "answer": f"answer {HTML}",
    "refusal": f"refusal {HTML}",
    "rewards": {role: {"answer": 1.25, "refusal": -0.5} for role in ROLES},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The report on two backbones of one seed each, with an example full of HTML."""
    root = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        paths = write_profile(root, [Trio("gpt2-large", 0), Trio("smollm2-135m", 0)])
        analyse.main(profile="mini")
        record = {"rule": "<i>rule</i>", "example": EXAMPLE, "reason": None}
        (paths.results / "example.json").write_text(json.dumps(record), encoding="utf-8")
        patch.setattr(report, "compile_pdf", lambda _: "")
        report.main(profile="mini")
    return paths.reports


@pytest.fixture
def claims(folder):
    path = folder.parents[1] / "results/mini/claims.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def page(driver, folder):
    """Freshly loaded, folded tables open; until the end of the test the console stays empty."""
    resize(driver, 1440)
    driver.get_log("browser")  # another test's
    driver.get((folder / "index.html").as_uri())
    driver.execute_script("for (const long of document.querySelectorAll('.long')) long.open = true")
    yield driver
    assert driver.get_log("browser") == []


def choose(driver, axis, label):
    Select(driver.find_element(By.NAME, axis)).select_by_visible_text(label)


def switch(driver, shows):
    driver.find_element(By.CSS_SELECTOR, f"#controls [value={shows}]").click()


def reset(driver):
    driver.find_element(By.CSS_SELECTOR, "#controls [type=reset]").click()
    driver.execute_async_script("setTimeout(arguments[0])")


def lines(driver, name):
    """The visible rows of a table's body, as the texts of their visible cells."""
    script = """
        const visible = (element) => element.checkVisibility();
        const texts = (row) => [...row.cells].filter(visible).map((cell) => cell.innerText.trim());
        const table = document.querySelector(`table[aria-labelledby=${arguments[0]}]`);
        const rows = table.querySelectorAll("tbody tr:not(.section)");
        return [...rows].filter(visible).map(texts);
    """
    return driver.execute_script(script, name)


def heads(driver, name):
    """The visible labels of a table's columns."""
    script = """
        const cells = document.querySelectorAll(`table[aria-labelledby=${arguments[0]}] thead th`);
        return [...cells].filter((cell) => cell.checkVisibility()).map((cell) => cell.innerText);
    """
    return [" ".join(text.split()) for text in driver.execute_script(script, name)]


def button(driver, name, label):
    buttons = driver.find_elements(By.CSS_SELECTOR, f"table[aria-labelledby={name}] thead button")
    return next(head for head in buttons if " ".join(head.text.split()) == label)


def status(driver):
    return driver.find_element(By.ID, "status").text


def number(text):
    return float(text.split(" ")[0].rstrip("*"))


def test_mailed_alone_every_image_shows_in_its_size(driver, folder, tmp_path):
    """The radars of two backbones among them; nothing moves when one is loaded."""
    shutil.copyfile(folder / "index.html", tmp_path / "alone.html")
    driver.get((tmp_path / "alone.html").as_uri())
    script = """
        const shape = (width, height) => width / height;
        const size = (image) => [
            image.alt,
            shape(image.width, image.height),
            shape(image.naturalWidth, image.naturalHeight),
        ];
        return [...document.images].map(size)
    """
    images = driver.execute_script(script)
    assert len(images) == 12
    for alt, shape, natural in images:
        assert re.search("[0-9]", alt)
        assert shape == pytest.approx(natural, rel=0.01)


def test_the_first_screen_has_the_tension_the_numbers_and_21_squares(driver, folder):
    resize(driver, 1440)
    driver.get((folder / "index.html").as_uri())
    script = """
        const shown = (element) => element.getBoundingClientRect().bottom <= innerHeight;
        return arguments[0].map((of) => [...document.querySelectorAll(of)].filter(shown).length)
    """
    assert driver.execute_script(script, ["img", ".tiles li", ".squares a"]) == [1, 6, 21]
    assert driver.find_element(By.TAG_NAME, "img").accessible_name.startswith("Right of helpful")


def test_a_square_leads_to_its_claim(page, claims):
    squares = page.find_elements(By.CSS_SELECTOR, ".squares a")
    assert len(squares) == len(claims)
    for square, claim in zip(squares, claims, strict=True):
        assert square.accessible_name == f"{claim['id']}: {claim['verdict']}"
    squares[-1].click()
    card = page.find_element(By.CSS_SELECTOR, ".card:target")
    assert claims[-1]["claim"] in card.text
    assert f" {claims[-1]['verdict']}" in card.text
    axes = card.find_elements(By.CSS_SELECTOR, "svg")
    assert len(axes) == len(claims[-1]["parts"])


@pytest.mark.parametrize("name", ["figure_06", "table_21"])
def test_a_link_lands_on_its_item(driver, folder, name):
    resize(driver, 1440)
    driver.get("about:blank")
    driver.get(f"{(folder / 'index.html').as_uri()}#{name}")
    script = "return document.getElementById(arguments[0]).getBoundingClientRect().top"
    assert 0 <= driver.execute_script(script, name) <= 200


def test_example_is_behind_a_warning_and_is_text(page):
    details = page.find_element(By.CSS_SELECTOR, "details.example")
    quotes = details.find_elements(By.TAG_NAME, "blockquote")
    assert "Content warning" in details.text
    assert not any(quote.is_displayed() for quote in quotes)
    details.find_element(By.TAG_NAME, "summary").send_keys(Keys.ENTER)
    assert [quote.text for quote in quotes] == [
        EXAMPLE[name] for name in ("prompt", "answer", "refusal")
    ]
    assert "<b>0</b>" in page.find_element(By.ID, "figure_01").find_element(By.XPATH, "..").text
    assert page.title != "owned"


def shown_rewards(driver):
    """By visible item its marks, and by RM the numbers and the dots' places, whole and ablated."""
    script = """
        const texts = (parent, of) => [...parent.querySelectorAll(of)].map((part) => part.textContent);
        const left = (dot) => dot.getBoundingClientRect().left;
        const read = (body) => [...body.rows].map((row) => ({
            numbers: texts(row, "td:not(.axis)").map(Number),
            dots: [...row.querySelectorAll("i")].reverse().map(left),
        }));
        return [...document.querySelectorAll(".item:not([hidden])")].map((item) => ({
            marks: texts(item, ".marks b"),
            rms: [...item.querySelectorAll("tbody")].map(read),
        }));
    """
    return driver.execute_script(script)


def test_explorer_shows_each_trios_rewards(page, folder):
    """Marks, numbers and dots agree with the analysis, of either trio."""
    page.execute_script("for (const item of document.querySelectorAll('.item')) item.open = true")
    rewards = pd.read_csv(folder.parents[1] / "results/mini/explorer.csv")
    record = json.loads((folder.parents[1] / "results/mini/explorer.json").read_text())
    for backbone, label in ("gpt2-large", "Mini-GPT2-L"), ("smollm2-135m", "Mini-Llama-S"):
        choose(page, "trio", f"{label}, seed 0")
        items = shown_rewards(page)
        assert len(items) == len(record["items"])
        keys = ["dataset", "subset", "item_id", "objective", "kind"]
        own = rewards[rewards["backbone"] == backbone].set_index(keys)
        for item, shown in zip(record["items"], items, strict=True):
            key = (item["dataset"], item["subset"], item["item_id"])
            for role, mark, lines in zip(ROLES, shown["marks"], shown["rms"], strict=True):
                for kind, sign, line in zip(("none", "magnitude"), mark, lines, strict=True):
                    chosen, rejected = own.loc[(*key, role, kind), ["chosen", "rejected"]]
                    assert line["numbers"] == pytest.approx([chosen, rejected], abs=0.006)
                    assert sign == ("✓" if chosen > rejected else "✗")
                    places = line["dots"]
                    assert (places[0] > places[1]) == (chosen > rejected)


def test_explorer_filters_items_by_who_is_right(page):
    counts = {}
    for label in ("all", "on which the RMs disagree", "that ablation turns for an RM"):
        choose(page, "which", label)
        marks = [item["marks"] for item in shown_rewards(page)]
        counts[label] = len(marks)
        if "disagree" in label:
            assert all(len({mark[0] for mark in item}) == 2 for item in marks)
        if "turns" in label:
            assert all(any(len({*mark}) == 2 for mark in item) for item in marks)
        said = page.find_element(By.CSS_SELECTOR, "#explore [role=status]").text
        assert said == f"{len(marks)} of {counts['all']} items"
    assert counts["all"] > max(list(counts.values())[1:]) > 0


def test_switch_changes_every_cell(page):
    beside = lines(page, "table_03")
    assert [line[0] for line in beside[:3]] == ["baseline", "paper", "difference"]
    for first, shows in enumerate(("ours", "published", "difference")):
        switch(page, shows)
        shown = [line[1:] for line in lines(page, "table_03")]
        assert shown == [line[1:] for line in beside[first::3]]
        assert status(page).startswith(f"Showing {shows}: ")
    switch(page, "beside")
    assert lines(page, "table_03") == beside


def test_switch_where_published_values_stand_in_columns(page):
    beside, above = lines(page, "table_11"), heads(page, "table_11")
    width = len(beside[0])
    switch(page, "published")
    published = lines(page, "table_11")
    assert len(published[0]) == width - 2
    assert {text for line in published for text in line[1:-1]} == {"–"}  # known for GPT2-large only
    assert [line[-1] for line in published] == [line[-2] for line in beside]
    assert heads(page, "table_11") == [*above[:-3], "published"]
    reset(page)
    assert (lines(page, "table_11"), heads(page, "table_11")) == (beside, above)


def test_sorts_within_sections_and_back(page):
    name, label = "table_14", "Average"
    before = lines(page, name)
    switch(page, "ours")
    column = 1 + heads(page, name).index(label)
    original = lines(page, name)
    size = len(original) // 3
    for order, sign in ("ascending", 1), ("descending", -1):
        button(page, name, label).send_keys(Keys.ENTER)
        head = button(page, name, label).find_element(By.XPATH, "..")
        assert head.get_attribute("aria-sort") == order
        assert status(page) == f"Sorted by {label}, {order}."
        for part in range(3):  # an objective each; rows without a value last
            texts = [line[column] for line in lines(page, name)[part * size : (part + 1) * size]]
            known = [sign * number(text) for text in texts if text != "–"]
            assert known == sorted(known)
            assert len(set(known)) == 3  # two backbones and their mean
            assert set(texts[3:]) == {"–"}
    button(page, name, label).send_keys(Keys.SPACE)
    assert lines(page, name) == original
    assert page.find_elements(By.CSS_SELECTOR, "[aria-sort]") == []
    switch(page, "beside")
    assert lines(page, name) == before


def test_the_lines_of_a_row_stay_together(page):
    button(page, "table_14", "Safety Response").click()
    labels = [line[0] for line in lines(page, "table_14")]
    below = [row for row, label in enumerate(labels) if label.startswith("paper")]
    assert below
    assert not any(labels[row - 1].startswith(("paper", "difference")) for row in below)


def test_filters_rows_and_columns(page):
    everything = len(lines(page, "table_20"))
    choose(page, "backbone", "Mini-GPT2-L")
    names = {line[0].rsplit(" ", 1)[0] for line in lines(page, "table_20")}
    assert {name for name in names if "Mini" in name} == {"Mini-GPT2-L"}
    assert len(lines(page, "table_20")) < everything
    assert [head for head in heads(page, "table_15") if "Mini" in head] == ["Mini-GPT2-L"]
    choose(page, "objective", "Mixed RM")
    sections = page.find_elements(By.CSS_SELECTOR, "table[aria-labelledby=table_20] .section")
    assert [section.text for section in sections if section.is_displayed()] == ["Mixed RM"]
    choose(page, "task", "Focus")
    assert heads(page, "table_21") == ["Focus"]
    labels = [line[0] for line in lines(page, "table_15")]
    assert [label for label in labels if label not in {"paper", "difference"}] == ["Focus"]
    table = page.find_element(By.CSS_SELECTOR, "table[aria-labelledby=table_14]")
    assert not table.is_displayed()  # no such task
    section = table.find_element(By.XPATH, "./ancestor::section")
    assert section.find_element(By.CSS_SELECTOR, ".nothing").is_displayed()
    assert "only Mini-GPT2-L, Mixed RM, Focus: " in status(page)
    reset(page)
    assert len(lines(page, "table_20")) == everything
    assert table.is_displayed()


def test_a_phone_scrolls_the_page_only_downwards_and_cuts_no_figure(page):
    resize(page, 360)
    page.execute_script("for (const fold of document.querySelectorAll('details')) fold.open = true")
    assert page.execute_script("return document.documentElement.scrollWidth") <= 360
    widths = "return [...document.images].map((image) => image.getBoundingClientRect().right)"
    assert max(page.execute_script(widths)) <= 360


def test_controls_have_names_and_are_reached_by_keyboard(page):
    controls = "#controls input, #controls select, main button"
    assert all(c.accessible_name for c in page.find_elements(By.CSS_SELECTOR, controls))
    page.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert page.switch_to.active_element.text == "Skip to the claims"
    radio = page.find_element(By.CSS_SELECTOR, "#controls [value=beside]")
    radio.send_keys(Keys.ARROW_RIGHT)
    assert status(page).startswith("Showing ours: ")


def test_without_scripts_everything_is_there(driver, folder):
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        driver.get((folder / "index.html").as_uri())
        assert not driver.find_element(By.ID, "controls").is_displayed()
        assert not driver.find_element(By.ID, "explore").is_displayed()
        assert all(len(lines) == 2 for item in shown_rewards(driver) for lines in item["rms"])
        assert driver.find_elements(By.CSS_SELECTOR, "thead button") == []
        rows = driver.find_elements(By.CSS_SELECTOR, "[aria-labelledby=table_03] tbody th")
        assert [row.text for row in rows][:4] == ["Helpful RM", "baseline", "paper", "difference"]
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
