"""MLflow's UI in Debian's Chromium: what test_ui.py and screenshots.py need of it."""

import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By

from browser import chromium, resize
from rm_tension.tracking.views import view_url

PATIENCE = 300  # seconds; the first page takes long on a slow machine
# A mouse: without one, every chart has its tool bar in front.
MOUSE = "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4"
IN_FRONT = "[data-component-id$='chat_panel.close'], [data-component-id$='shared_view.dismiss']"
CARD = "[data-testid=experiment-view-compare-runs-card]"
# Of every chart: its title, its text and its series, without the bands around means.
CHARTS = """
    return [...document.querySelectorAll(arguments[0])].map((card) => {
        const plot = card.querySelector('.js-plotly-plot');
        const series = (plot?._fullData ?? []).filter((one) => one.x?.length && one.hoverinfo !== 'skip');
        const drawn = card.querySelectorAll('.scatterlayer .point, .scatterlayer .js-line, .barlayer .point').length;
        return {
            title: card.innerText.split('\\n')[0],
            legend: card.innerText,
            drawn: drawn,
            series: series.map((one) => ({name: one.name, type: one.type, x: [...one.x], y: [...one.y]})),
        };
    });
"""


@contextmanager
def mlflow(folder: Path) -> Iterator[str]:
    """`make mlflow` in a folder; yields the address that it prints."""
    command = [sys.executable, "-m", "rm_tension", "mlflow"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            printed = ""
            while not (address := re.search(r"^http://\S+$", printed, re.MULTILINE)):
                line = process.stdout.readline()
                assert line, f"ended without an address:\n{printed}"
                printed += line
            until(lambda: urllib.request.urlopen(f"{address[0].partition('/#/')[0]}/health"))  # noqa: S310
            yield address[0]
        finally:
            process.terminate()
            process.communicate()  # its last words go somewhere


@contextmanager
def window(profile: Path, height: int = 1080) -> Iterator[webdriver.Chrome]:
    """A fresh browser with a mouse; `height` in CSS pixels."""
    with chromium(profile, MOUSE) as driver:
        resize(driver, 1500, height)
        yield driver


def until(condition):
    """The first true value of a function of the page, which may replace an element while we look at it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(WebDriverException, OSError):
            if value := condition():
                return value
        time.sleep(0.1)
    raise TimeoutError(f"not in {PATIENCE} s: {condition}")


def open_view(driver, address, name, count):
    """Open a saved view of the experiment at an address; returns its charts, which are the page's first `count`.

    The UI draws a chart as soon as it has some of the runs, so this waits for the same numbers twice.
    """
    base, experiment_id = re.fullmatch(r"(.*)/#/experiments/(\d+)/.*", address).groups()
    driver.get(
        "about:blank"
    )  # else the UI keeps what it has, since only what follows the # is another
    driver.get(f"{base}/{view_url(experiment_id, name)}")

    def settled():
        close_what_is_in_front(driver)
        before = charts(driver)[:count]
        time.sleep(1)
        now = charts(driver)[:count]
        return (
            now
            if now == before and len(now) == count and all(chart["drawn"] for chart in now)
            else None
        )

    return until(settled)


def close_what_is_in_front(driver):
    """MLflow's assistant, and the note that a view is shared. Within `until`: they may go by themselves."""
    for button in driver.find_elements(By.CSS_SELECTOR, IN_FRONT):
        button.click()


def click(driver, selector):
    """Click on an element as soon as it is there and nothing is in front of it."""

    def clicked():
        close_what_is_in_front(driver)
        driver.find_element(By.CSS_SELECTOR, selector).click()
        return True

    until(clicked)


def charts(driver):
    return driver.execute_script(CHARTS, CARD)


def run_names(driver):
    """Those in the table, which makes rows only as far as the window reaches."""
    return [
        link.text for link in driver.find_elements(By.CSS_SELECTOR, "[role=row] a[href*='/runs/']")
    ]
