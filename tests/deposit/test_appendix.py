"""The artifact appendix: two pages, of the numbers that ARTIFACT.md and the results have."""

import re
import subprocess
from pathlib import Path

import pytest

from rm_tension.analyse.claims import decide_all
from rm_tension.analyse.context import Context
from rm_tension.analyse.published import published_evidence, read_published
from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.deposit.appendix import MAIN_CLAIMS, needs, render, table, tex, write_appendix
from rm_tension.release.profile import FinishedProfile
from small_repository import REPOSITORY

ARTIFACT = (REPOSITORY / "ARTIFACT.md").read_text(encoding="utf-8")
SWHIDS = {"commit": f"swh:1:rev:{'a' * 40}", "tree": f"swh:1:dir:{'b' * 40}"}
DOI = "10.5281/zenodo.1234567"
PROFILES = load_params(REPOSITORY / "params.yaml").profiles


@pytest.fixture(scope="module")
def claims():
    """Decided from the published numbers alone."""
    theirs = published_evidence(read_published(REPOSITORY / "reference/published.csv"))
    return decide_all(theirs, theirs, ())


@pytest.fixture
def finished(claims, tmp_path, monkeypatch):
    """A function that returns a profile with these claims, for any profile."""
    monkeypatch.chdir(tmp_path)
    Path("ARTIFACT.md").write_text(ARTIFACT, encoding="utf-8")

    def make(profile):
        stand_ins = getattr(PROFILES[profile].data.source, "stand_ins", None)
        lists = {"trios": ["smollm2-135m-0"], "missing_trios": [], "missing_tasks": []}
        context = Context(profile, PROFILES[profile].title, False, 10, stand_ins, **lists)
        return FinishedProfile(profile, None, {}, context, claims)

    return make


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
def test_it_has_two_pages_for_every_profile(profile, finished, tmp_path):
    write_appendix(finished(profile), DOI, SWHIDS, tmp_path)
    path = tmp_path / f"{profile}-appendix.pdf"
    if profile == "mini":
        first = path.read_bytes()
        write_appendix(finished(profile), DOI, SWHIDS, tmp_path)
        assert path.read_bytes() == first
        text = subprocess.run(["pdftotext", path, "-"], check=True, capture_output=True, text=True)
        assert "make check-mini" in text.stdout
        assert SWHIDS["commit"] in text.stdout


def test_claims_are_those_of_the_results_with_what_to_expect(finished):
    source = render(finished("mini"), DOI, SWHIDS, ARTIFACT)
    assert re.findall(r"\\textbf\{(C\d+)\.\}", source) == [*MAIN_CLAIMS]
    assert "harmlessness tasks & -10.2 --" in source
    assert DOI in source
    assert "none is reserved" in render(finished("mini"), None, SWHIDS, ARTIFACT)


def test_needs_and_steps_are_those_of_the_artifact():
    assert dict(needs(ARTIFACT, "paper"))["network"] == "PyPI and the Hugging Face hub"
    assert dict(needs(ARTIFACT, "mini"))["hardware"] == "two x86-64 cores, 4 GB of memory"
    assert [row[0] for row in table(ARTIFACT, "step")] == list("123456")
    assert table(ARTIFACT, "message")
    with pytest.raises(UserError, match="no table with a column 'nothing'"):
        table(ARTIFACT, "nothing")
    with pytest.raises(UserError, match=r"no column for laptop"):
        needs(ARTIFACT, "laptop")


def test_cells_of_markdown_become_latex():
    cell = r"**see** [the `a_b --c`](x.md#y) \|a\| 5%"
    assert tex(cell) == r"see the \code{a\_b -{}-c} \textbar{}a\textbar{} 5\%"


@pytest.mark.slow
def test_what_does_not_fit_on_two_pages_is_refused(finished, tmp_path):
    run = finished("mini")
    long = ARTIFACT.replace(
        "| `pip is offered", 60 * "| a message | which says nothing |\n" + "| `pip is offered"
    )
    Path("ARTIFACT.md").write_text(long, encoding="utf-8")
    with pytest.raises(UserError, match="3 pages instead of 2: shorten"):
        write_appendix(run, DOI, SWHIDS, tmp_path)
    assert not [*tmp_path.glob("*.pdf")]
