"""A repository with one trained and analysed reward model, its archive, and a server to send to."""

import shutil

import pytest
from local_invenio import TOKEN, local_invenio

from rm_tension.deposit import command, invenio
from small_repository import REPOSITORY, archive, write_context, write_recorded


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    """Enter such a repository and return its folder; its appendix is a stand-in."""
    folder = shutil.copytree(trained / "origin", tmp_path / "run")
    for name in ("CITATION.cff", "README.md", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, folder)
    (folder / "reports" / "mini").mkdir(parents=True)
    for name in ("index.html", "artifact.pdf"):
        (folder / "reports" / "mini" / name).write_text(name)
    write_context(folder / "results/mini")
    (folder / "results/mini/claims.json").write_text("[]")
    write_recorded(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(command, "write_appendix", stand_in)
    archive(folder)
    return folder


def stand_in(run, doi, swhids, folder):
    (folder / f"{run.profile}-appendix.pdf").write_text(f"{doi} {swhids}")


@pytest.fixture
def server(monkeypatch):
    """A local InvenioRDM that our token opens, and waits that take no time but are recorded."""
    waits = []
    monkeypatch.setenv(invenio.TOKEN, f"{TOKEN}\r\n")  # as it is copied
    monkeypatch.setattr(invenio.time, "sleep", waits.append)
    monkeypatch.setattr(invenio, "TIMEOUT", (2.0, 2.0))
    with local_invenio() as server:
        server.waits = waits
        yield server
