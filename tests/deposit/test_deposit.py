"""A deposit is sent once, whole and as a draft, whatever goes wrong on the way."""

import re
import subprocess
import sys
import tarfile
from functools import partial
from pathlib import Path

import pytest
import yaml
from local_invenio import TOKEN

from checkout import dvc
from rm_tension.base.errors import UserError
from rm_tension.base.lockfile import file_md5
from rm_tension.deposit import command, invenio
from rm_tension.deposit.identifiers import read_citation, record_of, with_identifiers, write_doi
from small_repository import KEY, PLACE, STAGE, archive, copy_repository, git, listed, md5s

pytestmark = pytest.mark.slow

DOI = "10.1234/local.a1"
FILES = {
    "CITATION.cff",
    "mini-NOTES.md",
    "mini-SHA256SUMS",
    "mini-appendix.pdf",
    "mini-cache.tar",
    "mini-report.html",
    "mini-report.pdf",
    "rm-tension-0.1.0.tar.gz",
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
    entries = (server.drafts | server.published)[id_]["entries"]
    return {name: entry["content"] for name, entry in entries.items()}


def prepared():
    return {path.name: path.read_bytes() for path in (command._folder("mini")).iterdir()}


def test_a_doi_is_reserved_and_written_where_readers_look(run, server, capsys):
    readme = (run / "README.md").read_text()
    command.reserve(server=server.url)
    assert f"{DOI}: reserved for the draft {server.url}/uploads/a1" in capsys.readouterr().out
    badge = f"[![DOI]({server.url}/badge/DOI/{DOI}.svg)](https://doi.org/{DOI})\n\n"
    written = (run / "README.md").read_text()
    assert written.startswith(f"# rm-tension\n\n{badge}")
    assert written.replace(badge, "") == readme
    citation = yaml.safe_load((run / "CITATION.cff").read_text())
    assert (citation.pop("doi"), citation) == (
        DOI,
        yaml.safe_load(git(run, "show", "HEAD:CITATION.cff")),
    )
    metadata = server.drafts["a1"]["metadata"]
    assert metadata["title"] == citation["title"]
    assert metadata["creators"] == [
        {"person_or_org": {"type": "organizational", "name": citation["authors"][0]["name"]}}
    ]
    with pytest.raises(UserError, match=f"has the DOI {DOI}"):
        command.reserve(server=server.url)
    assert [*server.drafts] == ["a1"]


def test_another_draft_takes_the_place_of_the_first(run, server):
    command.reserve(server=server.url)
    invenio.Draft.create(invenio.Server(server.url, writes=True), {})
    command.reserve(server=server.url, draft="a2")
    assert yaml.safe_load((run / "CITATION.cff").read_text())["doi"] == "10.1234/local.a2"
    assert (run / "README.md").read_text().count("[![DOI]") == 1


def test_a_deposit_holds_the_archive_the_report_and_the_cached_results(ready):
    assert prepared().keys() == FILES
    folder = ready / "dist/deposit/mini"
    check = ["sha256sum", "--check", "--quiet", "mini-SHA256SUMS"]
    subprocess.run(check, cwd=folder, check=True)
    assert (folder / "mini-report.html").read_text() == "index.html"
    with tarfile.open(folder / "mini-cache.tar") as tar:
        names = {name.removeprefix("files/md5/").replace("/", "") for name in tar.getnames()}
    assert names == set(listed(ready).values())
    command.prepare()
    again = prepared()
    assert again["mini-cache.tar"] == (folder / "mini-cache.tar").read_bytes()


def test_the_identifiers_are_gits_and_software_heritages(ready, tmp_path):
    citation = read_citation((ready / "dist/deposit/mini/CITATION.cff").read_text())
    commit, tree = (one["value"] for one in citation["identifiers"])
    assert commit == f"swh:1:rev:{git(ready, 'rev-parse', 'HEAD').strip()}"
    assert citation["doi"] == DOI
    with tarfile.open(ready / "dist/deposit/mini/rm-tension-0.1.0.tar.gz") as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    unpacked = tmp_path / "unpacked" / "rm-tension-0.1.0"
    git(unpacked, "init", "--quiet")
    git(unpacked, "add", "--all", "--force")
    assert tree == f"swh:1:dir:{git(unpacked, 'write-tree').strip()}"
    notes = (ready / "dist/deposit/mini/mini-NOTES.md").read_text()
    assert commit in notes
    assert tree in notes


def test_identifiers_are_valid_in_a_citation_file():
    text = with_identifiers("title: a\n\n", {"commit": "swh:1:rev:" + "1" * 40})
    assert yaml.safe_load(text)["identifiers"][0]["type"] == "swh"


@pytest.mark.parametrize(
    ("doi", "id_"), [("10.5281/zenodo.123", "123"), ("10.81088/ha4g3-7x208", "ha4g3-7x208")]
)
def test_a_doi_ends_with_the_id_of_its_record(doi, id_):
    assert record_of(doi) == id_


def test_an_archive_of_another_commit_is_refused(run):
    git(run, "commit", "--quiet", "--allow-empty", "--message", "more")
    with pytest.raises(UserError, match="which is not HEAD; `make archive`"):
        command.prepare()
    (run / "dist/rm-tension-0.1.0.tar.gz").unlink()
    with pytest.raises(UserError, match="`make archive` makes it"):
        command.prepare()


@pytest.mark.parametrize("damage", [lambda whole: whole[:-99], lambda _: b""])
def test_a_truncated_archive_is_refused(run, damage):
    path = run / "dist/rm-tension-0.1.0.tar.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"rm-tension-0.1.0.tar.gz: .*`make archive` makes it"):
        command.prepare()


def test_an_archive_whose_dvc_lock_chose_other_results_is_refused(run):
    with (run / "dvc.lock").open("a") as lock:
        lock.write("# after a run that is not committed\n")
    with pytest.raises(UserError, match=r"has another dvc.lock than is here; commit it"):
        command.prepare()


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"title: a\nversion: 1\nauthors: []\n"])
def test_a_citation_file_that_is_missing_or_none_is_named(run, server, content):
    Path("CITATION.cff").unlink()
    if content:
        Path("CITATION.cff").write_bytes(content)
    for step in (partial(command.reserve, server=server.url), command.prepare):
        with pytest.raises(UserError, match=r"CITATION.cff: (cannot be read|not a citation file)"):
            step()
    assert not server.drafts


def test_a_doi_goes_behind_a_last_line_too(run):
    text = "title: a\nauthors: []\nlicense: MIT\nversion: 1"
    Path("CITATION.cff").write_text(text)
    write_doi(DOI, "https://host.example")
    assert yaml.safe_load(Path("CITATION.cff").read_text())["doi"] == DOI


def test_without_git_a_deposit_says_so(run, monkeypatch):
    monkeypatch.setenv("PATH", str(run))
    with pytest.raises(UserError, match=r"git: cannot be started .*install it"):
        command.prepare()


def test_what_does_not_fit_or_is_not_wanted_is_named(run, capsys):
    with pytest.raises(UserError, match=r"no output of the profile to be taken.*MB more than fits"):
        command.prepare(max_gb=1e-6)
    with pytest.raises(UserError, match=r"no output .*as asked"):
        command.prepare(without=["models"])
    with pytest.raises(UserError, match="--without model: mini has models"):
        command.prepare(without=["model"])
    assert not (run / "dist/deposit/mini").exists()


@pytest.mark.parametrize(
    ("profile", "texts", "expected"),
    [("paper", False, ["data", "tokens"]), ("paper", True, []), ("mini", False, [])],
)
def test_texts_of_the_hub_stay_out_unless_they_are_asked_for(profile, texts, expected):
    assert sorted(command.left_out(profile, [], texts)) == expected


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
    draft = server.drafts["a1"]
    assert draft["pids"]["doi"]["identifier"] == DOI
    assert draft["metadata"]["title"] == "A title that a person wrote"
    (note,) = draft["metadata"]["additional_descriptions"]
    assert git(ready, "rev-parse", "HEAD").strip() in note["description"]
    assert "publish it there" in capsys.readouterr().out
    server.done.clear()
    command.send(server=server.url)
    assert not {"start_file", "receive", "delete_file"} & set(server.done)
    assert len(server.drafts["a1"]["metadata"]["additional_descriptions"]) == 1


def test_after_a_change_only_what_changed_is_sent(ready, server, capsys):
    command.send(server=server.url)
    (ready / "README.md").write_text("changed")
    archive(ready)
    command.prepare()
    server.done.clear()
    command.send(server=server.url)
    assert sent(server) == prepared()
    assert re.search("mini-cache.tar, .* MB: is there", capsys.readouterr().out)
    unchanged = {"mini-cache.tar", "mini-report.html", "mini-report.pdf"}
    assert server.done.count("receive") == len(FILES) - len(unchanged)


@pytest.mark.parametrize(
    "step", ["read", "list_files", "start_file", "receive", "commit", "update"]
)
@pytest.mark.parametrize("fault", [429, "lost"])
def test_what_passes_is_tried_again(ready, server, step, fault):
    server.faults[step] = [fault, fault]
    command.send(server=server.url)
    assert sent(server) == prepared()
    assert len(server.waits) == 2
    assert min(server.waits) >= (3.0 if isinstance(fault, int) else 2.0)  # what the server asks for


@pytest.mark.parametrize("fault", ["half", "corrupt", "hang"])
def test_a_file_that_arrives_in_part_damaged_or_never_is_sent_again(ready, server, fault):
    server.faults["receive"] = [fault]
    command.send(server=server.url)
    assert sent(server) == prepared()
    assert server.done.count("delete_file") == 1


def test_a_killed_upload_goes_on_with_the_half_file_anew(ready, server):
    """What is left of one: some files whole, one begun."""
    server.faults["receive"] = [None, None, *["half"] * 5]
    with pytest.raises(UserError, match=r"mini-SHA256SUMS: .*the same command goes on from there"):
        command.send(server=server.url)
    states = [entry["status"] for entry in server.drafts["a1"]["entries"].values()]
    assert states == ["completed", "completed", "pending"]
    server.done.clear()
    command.send(server=server.url)
    assert sent(server) == prepared()
    assert server.done.count("receive") == len(FILES) - 2


def test_an_error_that_stays_ends_with_the_way_on(ready, server):
    server.faults["list_files"] = [502] * 5
    with pytest.raises(UserError, match="502 a fault; the same command goes on from there"):
        command.send(server=server.url)
    assert len(server.waits) == 4


def test_what_is_refused_is_not_tried_again(ready, server):
    server.faults["start_file"] = [400]
    with pytest.raises(UserError, match="400 a fault"):
        command.send(server=server.url)
    assert not server.waits


def test_a_lost_reply_to_a_new_draft_makes_no_second_one(run, server):
    server.faults["create"] = ["lost"]
    with pytest.raises(UserError, match="me/uploads, go on with it: --draft ID"):
        command.reserve(server=server.url)
    assert [*server.drafts] == ["a1"]
    command.reserve(server=server.url, draft="a1")
    assert yaml.safe_load((run / "CITATION.cff").read_text())["doi"] == DOI


def test_a_lost_reply_to_a_reserved_doi_is_found(run, server):
    server.faults["reserve"] = ["lost"]
    command.reserve(server=server.url)
    assert yaml.safe_load((run / "CITATION.cff").read_text())["doi"] == DOI


def test_without_a_token_or_with_a_wrong_one_nothing_is_sent_and_none_is_shown(
    ready, server, monkeypatch
):
    monkeypatch.setenv(invenio.TOKEN, "another-token")
    with pytest.raises(UserError, match=r"403 .*the scope deposit:write") as error:
        command.send(server=server.url)
    assert "another-token" not in str(error.value)
    monkeypatch.delenv(invenio.TOKEN)
    with pytest.raises(UserError, match=f"{invenio.TOKEN}: not set"):
        command.send(server=server.url)
    assert not sent(server)


def test_the_token_is_in_no_output(ready, server):
    line = [sys.executable, "-m", "rm_tension", "deposit", "send", "--server", server.url]
    for _ in range(2):
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert TOKEN not in done.stdout + done.stderr


def test_the_token_goes_to_no_address_without_tls():
    with pytest.raises(UserError, match="not an https:// address"):
        invenio.Server("http://zenodo.example", writes=True)


@pytest.mark.parametrize("token", ["an en–dash", "two words"])
def test_a_token_that_cannot_be_one_is_refused(monkeypatch, token):
    monkeypatch.setenv(invenio.TOKEN, token)
    with pytest.raises(UserError, match=f"{invenio.TOKEN}: has letters or spaces") as error:
        invenio.Server("https://zenodo.example", writes=True)
    assert token not in str(error.value)


def test_the_end_of_a_line_is_no_part_of_a_token(ready, server, monkeypatch):
    monkeypatch.setenv(invenio.TOKEN, f"{TOKEN}\r\n")
    command.send(server=server.url)
    assert sent(server) == prepared()


@pytest.mark.parametrize("url", ["https://[zenodo", "https://", "https://zenodo.example:port"])
def test_what_is_no_address_is_named(url):
    with pytest.raises(UserError, match=f"{re.escape(url)}: not an"):
        invenio.Server(url)


def test_a_folder_beside_the_files_is_refused_before_any_is_sent(ready, server):
    (ready / "dist/deposit/mini/unpacked").mkdir()
    with pytest.raises(UserError, match="mini/unpacked: not a file"):
        command.send(server=server.url)
    assert not sent(server)


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


def test_a_published_draft_is_not_changed(ready, server):
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
    command.fetch(f"{server.url}/records/a1")
    assert "6 objects written, 0 were there, 0 skipped" in capsys.readouterr().out
    dvc("checkout", STAGE, folder=folder)
    assert md5s(folder / PLACE) == md5s(ready / PLACE)
    assert "up to date" in dvc("status", STAGE, folder=folder)
    command.fetch(f"https://doi.org/{DOI}", server=server.url)
    assert "0 objects written, 6 were there" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"record a7: 404|records/a7/files: 404"):
        command.fetch(f"{server.url}/records/a7")


def test_a_download_that_breaks_off_goes_on_at_the_object_that_broke_off(
    ready, server, tmp_path, monkeypatch
):
    command.send(server=server.url)
    server.publish("a1")
    monkeypatch.chdir(copy_repository(ready, tmp_path / "clone", None))
    server.faults |= {"list_published": [503], "download": ["half", "half"]}
    command.fetch(f"{server.url}/records/a1")
    downloads = [int(one.split()[-1]) for one in server.done if one.startswith("download")]
    assert len(downloads) == 3
    assert downloads[0] == 0 < downloads[1]
    dvc("checkout", STAGE)
    assert file_md5(PLACE / "model.safetensors") == listed(ready)["model.safetensors"]


def test_a_file_that_is_no_tar_or_of_another_profile_is_named(run, tmp_path):
    with pytest.raises(UserError, match=r"rm-tension-0.1.0.tar.gz: not a tar of DVC's objects"):
        command.fetch("dist/rm-tension-0.1.0.tar.gz")
    (tmp_path / "paper-cache.tar").write_bytes(bytes(1024))
    with pytest.raises(UserError, match=r"paper-cache.tar: no object of mini .* another --profile"):
        command.fetch(str(tmp_path / "paper-cache.tar"))


@pytest.mark.parametrize("source", ["nowhere.tar", "https://host.example/a/b", KEY])
def test_a_source_that_is_none_is_named(run, source):
    with pytest.raises(UserError, match="not a file here, a DOI, or an address"):
        command.fetch(source)
