"""A deposit is sent once, whole and as a draft, whatever goes wrong on the way."""

import shutil
import subprocess
import tarfile
from functools import partial
from pathlib import Path

import pytest
import yaml
from filelock import FileLock, Timeout
from local_invenio import TOKEN

from checkout import dvc
from rm_tension.base.errors import UserError
from rm_tension.deposit import command, invenio
from rm_tension.deposit.identifiers import add_identifiers, read_citation, record_of
from rm_tension.deposit.objects import Filler
from small_repository import KEY, PLACE, STAGE, archive, copy_repository, git, listed, md5s

pytestmark = pytest.mark.slow

DOI = "10.1234/local.a1"
FOLDER = Path("dist/deposit/mini")
ARCHIVE = Path("dist/rm-tension-0.1.0.tar.gz")
FILES = {
    "CITATION.cff",
    "mini-NOTES.md",
    "mini-SHA256SUMS",
    "mini-appendix.pdf",
    "mini-cache.tar",
    "mini-report.html",
    "mini-report.pdf",
    ARCHIVE.name,
}


@pytest.fixture
def ready(run, server):
    """A folder whose DOI is reserved and committed and whose deposit is prepared."""
    command.reserve(server=server.url)
    archive(run)
    command.prepare()
    server.done.clear()
    return run


def sent(server, id_="a1"):
    return {name: entry["content"] for name, entry in server.drafts[id_]["entries"].items()}


def prepared():
    return {path.name: path.read_bytes() for path in FOLDER.iterdir()}


def test_a_doi_is_reserved_and_written_where_readers_look(run, server, capsys):
    server.faults["reserve"] = ["lost"]  # the reply: the DOI is reserved
    readme = (run / "README.md").read_text()
    command.reserve(server=server.url)
    assert f"{DOI}: reserved for the draft {server.url}/uploads/a1" in capsys.readouterr().out
    badge = f"[![DOI]({server.url}/badge/DOI/{DOI}.svg)](https://doi.org/{DOI})\n\n"
    written = (run / "README.md").read_text()
    assert written.startswith(f"# rm-tension\n\n{badge}")
    assert written.replace(badge, "") == readme
    citation = yaml.safe_load(git(run, "show", "HEAD:CITATION.cff"))
    assert read_citation() == citation | {"doi": DOI}
    metadata = server.drafts["a1"]["metadata"]
    assert metadata["title"] == citation["title"]
    assert metadata["creators"] == [
        {"person_or_org": {"type": "organizational", "name": citation["authors"][0]["name"]}}
    ]
    with pytest.raises(UserError, match=f"has the DOI {DOI}"):
        command.reserve(server=server.url)
    assert [*server.drafts] == ["a1"]


def test_a_lost_reply_to_a_new_draft_makes_no_second_one_and_another_draft_is_taken(run, server):
    command.reserve(server=server.url)
    server.faults["create"] = ["lost"]
    Path("CITATION.cff").write_text(git(run, "show", "HEAD:CITATION.cff"))
    with pytest.raises(UserError, match="me/uploads, go on with it: --draft ID"):
        command.reserve(server=server.url)
    assert [*server.drafts] == ["a1", "a2"]
    command.reserve(server=server.url, draft="a2")
    assert read_citation()["doi"] == "10.1234/local.a2"
    assert (run / "README.md").read_text().count("[![DOI]") == 1
    Path("CITATION.cff").write_text(git(run, "show", "HEAD:CITATION.cff"))
    for status in (503, 400):
        server.faults["reserve"] = [status] * 5
        with pytest.raises(UserError, match=r"; go on with the same command and --draft a[34]$"):
            command.reserve(server=server.url)


def test_a_deposit_holds_the_archive_the_report_and_the_cached_results(ready, tmp_path):
    assert prepared().keys() == FILES
    check = ["sha256sum", "--check", "--quiet", "mini-SHA256SUMS"]
    subprocess.run(check, cwd=FOLDER, check=True)
    assert (FOLDER / "mini-report.html").read_text() == "index.html"
    with tarfile.open(FOLDER / "mini-cache.tar") as tar:
        names = {name.removeprefix("files/md5/").replace("/", "") for name in tar.getnames()}
    assert names == set(listed(ready).values())
    citation = read_citation(FOLDER / "CITATION.cff")
    commit, tree = (one["value"] for one in citation["identifiers"])
    assert commit == f"swh:1:rev:{git(ready, 'rev-parse', 'HEAD').strip()}"
    assert citation["doi"] == DOI
    shutil.unpack_archive(FOLDER / ARCHIVE.name, tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    git(unpacked, "init", "--quiet")
    git(unpacked, "add", "--all", "--force")
    assert tree == f"swh:1:dir:{git(unpacked, 'write-tree').strip()}"
    notes = (FOLDER / "mini-NOTES.md").read_text()
    assert commit in notes
    assert tree in notes


@pytest.mark.parametrize(
    ("doi", "id_"), [("10.5281/zenodo.123", "123"), ("10.81088/ha4g3-7x208", "ha4g3-7x208")]
)
def test_a_doi_ends_with_the_id_of_its_record(doi, id_):
    assert record_of(doi) == id_


def test_an_archive_that_is_damaged_or_of_something_else_than_is_here_is_refused(run):
    whole = ARCHIVE.read_bytes()
    for damaged in (whole[:-99], b""):
        ARCHIVE.write_bytes(damaged)
        with pytest.raises(UserError, match=r"rm-tension-0.1.0.tar.gz: .*`make archive` makes it"):
            command.prepare()
    ARCHIVE.write_bytes(whole)
    with (run / "dvc.lock").open("a") as lock:
        lock.write("# after a run that is not committed\n")
    with pytest.raises(UserError, match=r"has another dvc.lock than is here; commit it"):
        command.prepare()
    git(run, "commit", "--quiet", "--all", "--message", "more")
    with pytest.raises(UserError, match="which is not HEAD; `make archive`"):
        command.prepare()


def test_without_git_a_deposit_says_so(run, monkeypatch):
    monkeypatch.setenv("PATH", str(run))
    with pytest.raises(UserError, match=r"git: cannot be started .*install it"):
        command.prepare()


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"title: a\nversion: 1\nauthors: []\n"])
def test_a_citation_file_that_is_missing_or_none_is_named(run, server, content):
    Path("CITATION.cff").unlink()
    if content:
        Path("CITATION.cff").write_bytes(content)
    for step in (partial(command.reserve, server=server.url), command.prepare):
        with pytest.raises(UserError, match=r"CITATION.cff: not a citation file"):
            step()
    assert not server.drafts


def test_texts_of_the_hub_stay_out_unless_they_are_asked_for(run, capsys):
    """Of a run whose data was the hub's, whatever params.yaml says today."""
    lock = (run / "dvc.lock").read_text()
    (run / "dvc.lock").write_text(lock.replace("kind: miniature", "kind: hub"))
    archive(run)
    command.prepare()
    assert "left out: data/mini: the texts of others" in capsys.readouterr().out
    command.prepare(texts=True)
    assert "left out: data/mini: not in DVC's cache" in capsys.readouterr().out


def test_an_appendix_that_fails_does_so_before_the_results_are_packed(run, monkeypatch):
    def refuse(*_):
        raise UserError("latexmk: not found")

    monkeypatch.setattr(command, "write_appendix", refuse)
    monkeypatch.setattr(command, "pack", lambda *_: pytest.fail("packed"))
    with pytest.raises(UserError, match="latexmk"):
        command.prepare()


def test_results_that_are_not_recorded_are_not_deposited(run):
    (run / "results/mini/notes.txt").touch()
    with pytest.raises(UserError, match=r"results/mini: not what dvc\.lock records"):
        command.prepare()


@pytest.mark.parametrize(
    ("author", "creator"),
    [
        ({"name": "A lab"}, {"type": "organizational", "name": "A lab"}),
        ({"given-names": "Plato"}, {"type": "personal", "family_name": "Plato"}),
        ({"alias": "plato"}, {"type": "personal", "family_name": "plato"}),
        (
            {"name-particle": "van", "family-names": "A", "given-names": "B"},
            {"type": "personal", "family_name": "van A", "given_name": "B"},
        ),
    ],
)
def test_authors_references_and_licences_of_a_citation_become_a_drafts(author, creator):
    author |= {"orcid": "https://orcid.org/0000-0001-2345-6789", "affiliation": "U"}
    citation = {"title": "t", "version": 1, "authors": [author], "license": ["MIT", "Apache-2.0"]}
    citation["references"] = [{"title": "a book"}, {"doi": "10.1234/b"}]
    metadata = command._metadata(citation, invenio.ZENODO)
    creator["identifiers"] = [{"scheme": "orcid", "identifier": "0000-0001-2345-6789"}]
    assert metadata["creators"] == [{"person_or_org": creator, "affiliations": [{"name": "U"}]}]
    assert [one["identifier"] for one in metadata["related_identifiers"]] == ["10.1234/b"]
    assert metadata["rights"] == [{"id": "mit"}, {"id": "apache-2.0"}]


def test_swhids_go_beside_the_identifiers_that_a_citation_has(tmp_path):
    path, other = tmp_path / "CITATION.cff", {"type": "swh", "value": "swh:1:snp:a"}
    citation = {"title": "é", "version": "1", "authors": [], "license": "MIT"}
    path.write_text(yaml.safe_dump(citation | {"identifiers": [other]}))
    add_identifiers(path, {"commit": "swh:1:rev:b"})
    written = read_citation(path)
    assert [one["value"] for one in written.pop("identifiers")] == ["swh:1:snp:a", "swh:1:rev:b"]
    assert written == citation


def test_a_dry_run_says_what_would_go_where_and_asks_nobody(ready, server, capsys, monkeypatch):
    monkeypatch.delenv(invenio.TOKEN)
    command.send(server=server.url, dry_run=True)
    printed = capsys.readouterr().out
    assert f"{server.url}, draft of {DOI}:" in printed
    for name, content in prepared().items():
        assert f"{name:<28} {len(content):>15,} bytes" in printed
    assert "8 files, " in printed
    assert "nothing was sent" in printed
    assert not server.done


def test_all_files_are_sent_once_and_the_draft_stays_a_draft(ready, server, capsys):
    server.drafts["a1"]["metadata"]["title"] = "A title that a person wrote"
    command.send(server=server.url)
    assert sent(server) == prepared()
    assert server.drafts["a1"]["metadata"]["title"] == "A title that a person wrote"
    server.done.clear()
    command.send(server=server.url)
    assert {*server.done} == {"read", "list_files"}
    printed = capsys.readouterr()
    assert "publish it there" in printed.out
    assert TOKEN not in printed.out + printed.err


def test_what_passes_is_tried_again(ready, server):
    server.faults |= {"read": [429], "list_files": ["lost"], "start_file": [502]}
    server.faults |= {"receive": ["lost"], "commit": ["lost"]}
    command.send(server=server.url)
    assert sent(server) == prepared()
    assert server.waits == [2, 2, 10, 30, 60]


def test_a_file_that_arrives_in_part_damaged_or_never_is_sent_again(ready, server):
    server.faults["receive"] = ["half", "corrupt", "hang"]
    command.send(server=server.url)
    assert sent(server) == prepared()
    assert server.done.count("delete_file") == 3


def test_a_broken_upload_goes_on_with_the_half_file_anew(ready, server):
    server.faults["receive"] = [None, None, *["half"] * 5]
    with pytest.raises(UserError, match=r"mini-SHA256SUMS: .*the same command goes on from there"):
        command.send(server=server.url)
    states = [entry["status"] for entry in server.drafts["a1"]["entries"].values()]
    assert states == ["completed", "completed", "pending"]
    assert len(server.waits) == 4
    server.done.clear()
    command.send(server=server.url)
    assert sent(server) == prepared()
    assert server.done.count("receive") == len(FILES) - 2


def test_what_is_refused_is_not_tried_again(ready, server):
    server.faults["start_file"] = [400]
    with pytest.raises(UserError, match=r"400 .*a fault"):
        command.send(server=server.url)
    assert not server.waits


def test_a_wrong_token_sends_nothing_and_is_not_shown(ready, server, monkeypatch):
    monkeypatch.setenv(invenio.TOKEN, "another-token")
    with pytest.raises(UserError, match=r"403 .*the scope deposit:write") as error:
        command.send(server=server.url)
    assert "another-token" not in str(error.value)
    assert not sent(server)


@pytest.mark.parametrize("token", [None, " ", "an en–dash", "two words"])
def test_a_token_that_is_missing_or_cannot_be_one_is_refused(monkeypatch, token):
    monkeypatch.delenv(invenio.TOKEN, raising=False)
    if token:
        monkeypatch.setenv(invenio.TOKEN, token)
    with pytest.raises(UserError, match=f"{invenio.TOKEN}: not set, or no token") as error:
        invenio.Server("https://zenodo.example", writes=True)
    assert not token or token.isspace() or token not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        *("http://zenodo.example", "https://[zenodo", "https://", "https://zenodo.example:port"),
        "http://localhost@zenodo.example",
    ],
)
def test_the_token_goes_to_no_address_without_tls_and_to_none_that_is_no_address(url):
    with pytest.raises(UserError, match="not an https:// address"):
        invenio.Server(url, writes=True)


def test_a_deposit_without_a_doi_or_of_another_draft_is_not_sent(run, server):
    command.prepare()
    with pytest.raises(UserError, match="no doi; `rm-tension deposit reserve`"):
        command.send(server=server.url)
    command.reserve(server=server.url)
    archive(run)
    command.prepare()
    server.drafts["a1"]["pids"]["doi"]["identifier"] = "10.1234/local.b7"
    with pytest.raises(UserError, match=r"but the draft .* has 10.1234/local.b7"):
        command.send(server=server.url)
    server.publish("a1")
    with pytest.raises(UserError, match="a1 is no draft of yours; if it is published, make a new"):
        command.send(server=server.url)


def test_a_clone_without_a_remote_gets_the_results_from_the_published_deposit(
    ready, server, tmp_path, monkeypatch, capsys
):
    command.send(server=server.url)
    server.publish("a1")
    folder = copy_repository(ready, tmp_path / "clone", None)
    monkeypatch.chdir(folder)
    monkeypatch.delenv(invenio.TOKEN)
    server.faults["download"] = [503, "half", "half"]
    fill = Filler.fill

    def alone(filler, tar):
        with pytest.raises(Timeout), FileLock(".dvc/cache/files/md5.lock", timeout=0):
            pass
        fill(filler, tar)

    monkeypatch.setattr(Filler, "fill", alone)
    command.fetch(f"{server.url}/records/a1")
    assert "6 objects written, 0 were there, 0 skipped" in capsys.readouterr().out
    first, *others = [int(one.split()[-1]) for one in server.done if " from " in one]
    assert first == 0 < others[0]  # it goes on at the object that broke off
    assert len(others) == 2
    dvc("checkout", STAGE, folder=folder)
    assert md5s(folder / PLACE) == md5s(ready / PLACE)
    assert "up to date" in dvc("status", STAGE, folder=folder)
    for source in (f"https://doi.org/{DOI}", f"{server.url}/doi/{DOI}", f"{server.url}/record/a1"):
        command.fetch(source, server=server.url)
        assert "0 objects written, 6 were there" in capsys.readouterr().out
    server.faults["download"] = [403]
    with pytest.raises(UserError, match="403") as error:
        command.fetch(f"{server.url}/records/a1")
    assert "token" not in str(error.value)
    with pytest.raises(UserError, match=r"(?s)404 .*is record a7 published, and of this --profile"):
        command.fetch(f"{server.url}/records/a7")


def test_a_source_that_is_none_or_of_another_profile_is_named(run):
    with pytest.raises(UserError, match=r"rm-tension-0.1.0.tar.gz: not a tar of DVC's objects"):
        command.fetch(str(ARCHIVE))
    Path("paper-cache.tar").write_bytes(bytes(1024))
    with pytest.raises(UserError, match=r"paper-cache.tar: no object of mini .* another --profile"):
        command.fetch("paper-cache.tar")
    for source in ("nowhere.tar", "https://host.example/a/b", KEY):
        with pytest.raises(UserError, match="not a file here, a DOI, or an address"):
            command.fetch(source)
