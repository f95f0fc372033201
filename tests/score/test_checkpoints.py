"""A checkpoint comes whole or with an error that names its file, and the next try goes on from what came whole."""

import hashlib
import json
import os
import re
import shutil
import sys
from contextlib import suppress

import pytest

from bad_remotes import HangUp, damage, kill_in_the_middle, make_stalling, small_disk
from checkout import dvc, serve
from rm_tension.base.errors import UserError
from rm_tension.base.lockfile import file_md5
from rm_tension.score.checkpoints import find_checkpoint
from small_repository import KEY, PLACE, STAGE, copy_repository, git, listed, md5s, stored

WEIGHTS = "model.safetensors"
MISSING = "No such file|No storage files available|failed to load directory"


@pytest.fixture
def clone(origin, remote, cache, tmp_path):
    """A clean clone whose remote is the copy's folder."""
    return copy_repository(origin, tmp_path / "clone", remote)


def find(repo, rev=None):
    return find_checkpoint(KEY, "mini", repo, rev)


def assert_whole(folder, origin):
    assert md5s(folder) == md5s(origin / PLACE)
    assert (folder / WEIGHTS).read_bytes() == (origin / PLACE / WEIGHTS).read_bytes()


def assert_nothing_wrong_is_left(clone, cache, origin):
    """Whatever lies in the loader's cache has the md5 that it must have; the working tree is as it was."""
    files = listed(origin)
    folder = cache / files[""].removesuffix(".dir")
    for path in cache.rglob("*"):
        if path.is_file() and path.suffix != ".lock":
            assert file_md5(path) == files[path.relative_to(folder).as_posix()]
    assert not (clone / PLACE).exists()


def test_what_is_in_the_working_tree_is_used_there(origin, cache, capsys):
    assert find(origin) == origin / PLACE
    assert "nothing is downloaded" in capsys.readouterr().err
    assert not cache.exists()


def test_a_working_tree_needs_neither_its_list_nor_that_nothing_else_is_there(
    origin, clone, cache, remote
):
    shutil.copytree(origin / PLACE, clone / PLACE)
    (clone / PLACE / ".DS_Store").touch()
    stored(remote, listed(origin)[""]).rename(remote / "list")
    assert find(clone) == clone / PLACE  # there is no cache, and what the remote has is of no use
    (clone / PLACE / "notes.txt").touch()
    with pytest.raises(
        UserError, match=f"{PLACE}, list of files"
    ):  # which tells notes from weights
        find(clone)
    (remote / "list").rename(stored(remote, listed(origin)[""]))
    assert find(clone) == clone / PLACE
    assert not cache.exists()


def test_a_clean_clone_fetches_once_and_says_what_it_costs(clone, cache, origin, capsys):
    assert_whole(find(clone), origin)
    said = capsys.readouterr().err
    assert f"{PLACE}: 5 files to fetch into" in said
    assert str(cache) in said
    assert_whole(find(clone), origin)
    assert "nothing is downloaded" in capsys.readouterr().err
    assert_nothing_wrong_is_left(clone, cache, origin)


def test_what_dvc_has_in_its_cache_is_used_and_checked(origin, clone, cache):
    shutil.copytree(origin / ".dvc" / "cache", clone / ".dvc" / "cache")
    bad = stored(clone / ".dvc" / "cache", listed(origin)[WEIGHTS])
    damage(bad, "corrupted")
    with pytest.raises(UserError, match=rf"{PLACE}/{WEIGHTS} .*damaged"):
        find(clone)
    assert_nothing_wrong_is_left(clone, cache, origin)
    bad.unlink()
    assert_whole(find(clone), origin)


@pytest.mark.parametrize("kind", ["hardlink", "symlink"])
def test_what_is_fetched_is_no_link_into_dvcs_cache(kind, origin, clone, cache, remote):
    shutil.copytree(origin / ".dvc" / "cache", clone / ".dvc" / "cache")
    dvc("config", "--local", "cache.type", kind, folder=clone)
    folder = find(clone)
    shutil.rmtree(clone / ".dvc" / "cache")
    shutil.rmtree(remote)
    assert_whole(folder, origin)
    assert {path.stat().st_nlink for path in folder.iterdir()} == {1}


@pytest.mark.parametrize("how", ["corrupted", "truncated", "missing"])
@pytest.mark.parametrize(
    "name", ["", WEIGHTS, "tokenizer.json"], ids=["list", "weights", "tokenizer"]
)
def test_a_damaged_remote_is_named_and_once_repaired_serves(
    name, how, origin, remote, cache, tmp_path
):
    md5 = listed(origin)[name]
    damage(stored(remote, md5), how)
    with serve(remote) as url:
        clone = copy_repository(origin, tmp_path / "clone", url)
        said = assert_named(
            clone, md5, name, MISSING if how == "missing" else "damaged|failed to load directory"
        )
        assert_nothing_wrong_is_left(clone, cache, origin)
        stored(remote, md5).unlink(missing_ok=True)
        if (name, how) == (
            "",
            "corrupted",
        ):  # DVC keeps a list that it can read; the message says where
            shutil.rmtree(re.search(r"remove (\S+)", said)[1])
        shutil.copy(stored(origin / ".dvc" / "cache", md5), stored(remote, md5))
        assert_whole(find(clone), origin)


def assert_named(clone, md5, name, reason):
    with pytest.raises(UserError) as caught:
        find(clone)
    for part in (f"{PLACE}/{name}".rstrip("/"), md5):
        assert part in str(caught.value)
    assert re.search(reason, str(caught.value))
    return str(caught.value)


def test_from_s3(origin, remote, s3, cache, tmp_path):
    for path in remote.glob("files/md5/*/*"):
        s3.upload_file(path, f"store/{path.relative_to(remote)}")
    url, endpoint = f"s3://{s3.name}/store", s3.meta.client.meta.endpoint_url
    clone = copy_repository(origin, tmp_path / "clone", url, endpointurl=endpoint)
    md5 = listed(origin)[WEIGHTS]
    weights = s3.Object(f"store/{stored('', md5)}")
    weights.put(Body=b"other")
    assert_named(clone, md5, WEIGHTS, "damaged: 5 bytes")
    weights.delete()
    assert_named(clone, md5, WEIGHTS, MISSING)
    assert_nothing_wrong_is_left(clone, cache, origin)
    weights.upload_file(stored(remote, md5))
    assert_whole(find(clone), origin)
    s3.objects.delete()
    shutil.rmtree(cache)
    assert_named(
        clone, listed(origin)["config.json"], "config.json", MISSING
    )  # DVC has kept the list


def test_no_remote_and_a_remote_out_of_reach(origin, cache, tmp_path):
    alone = copy_repository(origin, tmp_path / "alone", None)
    with pytest.raises(UserError, match=rf"(?s){PLACE}, .*dvc remote add --default public URL"):
        find(alone)
    with serve(tmp_path) as url:
        pass
    unplugged = copy_repository(origin, tmp_path / "unplugged", url)
    with pytest.raises(UserError, match=rf"(?s){PLACE}, .*[Cc]onnect"):
        find(unplugged)
    assert_nothing_wrong_is_left(unplugged, cache, origin)


def test_a_connection_that_breaks_off(origin, remote, cache, tmp_path):
    clone = copy_repository(origin, tmp_path / "clone", remote)
    with serve(remote, handler=HangUp) as url:
        half = copy_repository(origin, tmp_path / "half", url)
        with pytest.raises(UserError, match=rf"{PLACE}/{WEIGHTS} .*[Pp]ayload"):
            find(half)
    assert_nothing_wrong_is_left(clone, cache, origin)
    assert_whole(find(clone), origin)


def test_a_killed_download_goes_on_with_what_it_lacks(origin, remote, cache, tmp_path):
    stalling, requests = make_stalling(), []
    with serve(remote, handler=stalling) as url:
        clone = copy_repository(origin, tmp_path / "clone", url)
        code = f"from rm_tension.score.checkpoints import find_checkpoint; find_checkpoint({KEY!r}, 'mini', '.', None)"
        kill_in_the_middle(stalling, [sys.executable, "-c", code], clone)
    assert not list(cache.glob(f"*/{WEIGHTS}"))
    with serve(remote, requests) as url:
        assert_whole(find(copy_repository(origin, tmp_path / "again", url)), origin)
    files = listed(origin)
    fetched = {name for name, md5 in files.items() if ("GET", f"/{stored('', md5)}") in requests}
    assert fetched == files.keys() - {"config.json"}
    assert_nothing_wrong_is_left(clone, cache, origin)


@pytest.mark.parametrize("protocol", ["http", "folder"])
def test_a_full_disk_is_named_and_the_next_try_goes_on(protocol, origin, remote, cache, tmp_path):
    with small_disk(cache) as filler, serve(remote) as url:
        clone = copy_repository(origin, tmp_path / "clone", url if protocol == "http" else remote)
        with pytest.raises(UserError, match=rf"{PLACE}/{WEIGHTS} .*No space left on device"):
            find(clone)
        assert_nothing_wrong_is_left(clone, cache, origin)
        filler.unlink()
        assert_whole(find(clone), origin)


def test_a_damaged_checkpoint_in_the_working_tree_is_refused(origin, clone, cache):
    shutil.copytree(origin / PLACE, clone / PLACE)
    damage(clone / PLACE / WEIGHTS, "corrupted")
    with pytest.raises(
        UserError, match=rf"{PLACE}: not what dvc.lock records, in {WEIGHTS}; .* remove it and try"
    ):
        find(clone)
    shutil.rmtree(clone / PLACE)
    assert_whole(find(clone), origin)


def test_a_damaged_checkpoint_in_the_loaders_cache_is_fetched_again(origin, clone, cache):
    folder = find(clone)
    damage(folder / WEIGHTS, "truncated")
    assert_whole(find(clone), origin)
    assert find(clone) == folder


def test_a_revision_comes_from_the_cache_of_its_repository(origin, cache, capsys):
    assert_whole(find(origin, "HEAD"), origin)
    assert "6 files to fetch" not in capsys.readouterr().err


def test_a_revision_and_a_url(origin, remote, cache, tmp_path):
    clone = copy_repository(origin, tmp_path / "clone", remote)
    git(clone, "tag", "trained")
    git(clone, "rm", "--quiet", "dvc.lock")
    git(clone, "commit", "--quiet", "--all", "--message", "a remote, and nothing trained")
    (clone / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    with pytest.raises(
        UserError, match=rf"mini-{KEY}: not in dvc.lock.*are: none.*dvc repro {STAGE}"
    ):
        find(clone)
    assert_whole(find(clone, "trained"), origin)  # with the remote of today
    with pytest.raises(UserError, match="at nonsense"):
        find(clone, "nonsense")

    shutil.rmtree(cache)
    git(clone, "checkout", "--quiet", "trained", "--", "dvc.lock")
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "trained again")
    url = f"file://{clone}"
    assert_whole(find(url), origin)
    assert_whole(find(url, "HEAD"), origin)
    with pytest.raises(
        UserError, match=r"file:///nowhere: .*No git repository was found at /nowhere"
    ):
        find("file:///nowhere")


def test_from_a_folder_below_the_root_and_outside_of_any_repository(
    origin, cache, tmp_path, monkeypatch
):
    monkeypatch.chdir(origin / "models")
    assert find(None) == origin / PLACE
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"{tmp_path}: no dvc.lock there"):
        find(None)


@pytest.mark.parametrize(
    ("key", "profile", "message"),
    [
        (
            "gpt2-small-helpful-1",
            "mini",
            rf"mini-gpt2-small-helpful-1: not in dvc.lock.* 1 .*nearest are: mini-{KEY};",
        ),
        ("gpt2-small-helpful-0", "maxi", rf"maxi-{KEY}: not in dvc.lock.*nearest are: mini-{KEY};"),
        ("../escaped", "mini", "not in dvc.lock"),
    ],
)
def test_what_there_is_not(origin, key, profile, message):
    with pytest.raises(UserError, match=message):
        find_checkpoint(key, profile, origin, None)


def test_dvc_lock_alone_says_what_is_there(origin, clone, cache):
    folder = find(clone)
    for name in ("params.yaml", "dvc.yaml"):
        (clone / name).write_text("what nobody can read: [")
    git(clone, "commit", "--quiet", "--all", "--message", "as it was once")
    assert find(clone) == find(clone, "HEAD") == folder


def test_once_fetched_it_needs_no_remote_no_lock_and_no_writing(origin, clone, cache, remote):
    folder = find(clone)
    (folder / ".DS_Store").touch()  # a stray file is nobody's concern
    for path in (
        folder.with_suffix(".lock"),
        *remote.glob("files/md5/*/*"),
        *clone.glob(".dvc/cache/files/md5/*/*"),
    ):
        path.unlink()
    before = {
        path: path.stat().st_mtime_ns for path in [cache, *cache.rglob("*")]
    }  # of folders: what came or went
    assert find(clone) == folder
    assert {path: path.stat().st_mtime_ns for path in [cache, *cache.rglob("*")]} == before


def test_a_cache_that_cannot_be_written_to(origin, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=os.fspath(tmp_path / "file")):
        find(copy_repository(origin, tmp_path / "clone", None))


@pytest.mark.parametrize("name", ["../../escaped", "{root}/escaped"], ids=["relative", "absolute"])
def test_a_list_that_names_a_file_outside_is_refused(name, origin, remote, cache, tmp_path):
    name = name.format(root=tmp_path)
    clone = copy_repository(origin, tmp_path / "clone", remote)
    md5 = listed(origin)[WEIGHTS]
    listing = json.dumps([{"md5": md5, "relpath": name}]).encode()
    forged = hashlib.md5(listing, usedforsecurity=False).hexdigest()
    stored(remote, f"{forged}.dir").parent.mkdir(exist_ok=True)
    stored(remote, f"{forged}.dir").write_bytes(listing)
    lock = clone / "dvc.lock"
    lock.write_text(lock.read_text().replace(listed(origin)[""], f"{forged}.dir"))
    with pytest.raises(UserError, match=f"{PLACE}, list of files"):
        find(clone)
    assert not list(tmp_path.rglob("escaped"))
    lock.write_text(lock.read_text().replace(forged, "../../up"))
    with pytest.raises(UserError, match=r"dvc\.lock: '../../up.dir' is not an md5\n  damaged"):
        find(clone)


def test_a_lock_file_that_is_being_written_is_named(origin, clone):
    path, lock = clone / "dvc.lock", (origin / "dvc.lock").read_text()
    faults = set()
    for length in range(0, len(lock), 7):
        path.write_text(lock[:length])
        with suppress(UserError):
            assert_whole(find(clone), origin)  # all that matters is there already
            continue
        with pytest.raises(
            UserError, match=r"a (running )?`dvc repro` is (running|writing)"
        ) as caught:
            find(clone)
        faults.add(str(caught.value).split(":")[0])
    assert faults == {"dvc.lock", f"mini-{KEY}"}
    path.write_text(f"<<<<<<< ours\n{lock}=======\n{lock}>>>>>>> theirs\n")
    with pytest.raises(UserError, match=r"(?s)dvc\.lock: .*damaged"):
        find(clone)


def test_no_password_is_shown(cache, capsys):
    with pytest.raises(UserError) as caught:
        find("http://user:p@ssword@127.0.0.1:1/repository.git")
    assert "//127.0.0.1:1/repository.git" in str(caught.value)
    assert "ssword" not in str(caught.value) + capsys.readouterr().err
