"""A checkpoint comes undamaged or with an error that names what is wrong, and the next try serves."""

import hashlib
import json
import re
import shutil

import pytest
from huggingface_hub.utils import filter_repo_objects

from bad_remotes import HangUp, damage
from checkout import serve
from rm_tension import load_reward_model
from rm_tension.base.config import HubRepo
from rm_tension.base.errors import UserError
from rm_tension.score.checkpoints import find_checkpoint, find_on_hub
from small_hub import go_offline, snapshot
from small_repository import KEY, PLACE, STAGE, TEMPLATE, copy_repository, git, listed, md5s, stored

pytestmark = pytest.mark.slow

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


def assert_nothing_is_left(clone, cache):
    """No checkpoint lies in the loader's cache, nor in the working tree."""
    assert [path for path in cache.rglob("*") if path.is_dir()] == []
    assert not (clone / PLACE).exists()


def test_what_is_in_the_working_tree_is_used_there(origin, cache, monkeypatch):
    monkeypatch.chdir(origin / "models")
    assert find(None) == find(origin) == origin / PLACE
    assert not cache.exists()


def test_a_clean_clone_fetches_once_and_then_needs_no_remote_and_no_writing(
    origin, clone, cache, remote, capsys
):
    folder = find(clone)
    assert_whole(folder, origin)
    assert f"{PLACE}: to be fetched into {folder}" in capsys.readouterr().err
    for path in (*remote.glob("files/md5/*/*"), *cache.glob("*.lock")):
        path.unlink()
    before = {path: path.stat().st_mtime_ns for path in [cache, *cache.rglob("*")]}
    for name in ("params.yaml", "dvc.yaml"):  # dvc.lock alone says what there is
        (clone / name).write_text("what nobody can read: [")
    assert find(clone) == folder
    assert {path: path.stat().st_mtime_ns for path in [cache, *cache.rglob("*")]} == before


def test_what_dvc_has_in_its_cache_is_copied_not_linked(origin, clone, cache):
    shutil.copytree(origin / ".dvc" / "cache", clone / ".dvc" / "cache")
    (clone / ".dvc" / "config.local").write_text("[cache]\n    type = symlink\n")
    folder = find(clone)
    shutil.rmtree(clone / ".dvc" / "cache")
    assert_whole(folder, origin)


@pytest.mark.parametrize(
    ("name", "how"),
    [("", "corrupted"), ("", "missing"), (WEIGHTS, "truncated"), (WEIGHTS, "missing")],
)
def test_a_damaged_remote_is_named_and_once_repaired_serves(
    name, how, origin, remote, cache, tmp_path
):
    md5 = listed(origin)[name]
    damage(stored(remote, md5), how)
    with serve(remote) as url:
        clone = copy_repository(origin, tmp_path / "clone", url)
        with pytest.raises(UserError, match=rf"(?s){PLACE}.*({MISSING}|damaged)") as caught:
            find(clone)
        assert not name or f"{name} (md5 {md5})" in str(caught.value)
        assert_nothing_is_left(clone, cache)
        stored(remote, md5).unlink(missing_ok=True)
        if kept := re.search(r"remove (\S+)", str(caught.value)):
            shutil.rmtree(kept[1])  # where DVC keeps a list that it can read
        shutil.copy(stored(origin / ".dvc" / "cache", md5), stored(remote, md5))
        assert_whole(find(clone), origin)


def test_no_remote_one_out_of_reach_and_one_that_hangs_up(origin, remote, cache, tmp_path):
    alone = copy_repository(origin, tmp_path / "alone", None)
    with pytest.raises(UserError, match=rf"(?s){PLACE}.*dvc remote add --default public URL"):
        find(alone)
    with serve(remote, handler=HangUp) as url:
        half = copy_repository(origin, tmp_path / "half", url)
        with pytest.raises(UserError, match=rf"{PLACE}/{WEIGHTS} .*[Pp]ayload"):
            find(half)
    unplugged = copy_repository(origin, tmp_path / "unplugged", url)
    with pytest.raises(UserError, match=rf"(?s){PLACE}.*[Cc]onnect"):
        find(unplugged)
    assert_nothing_is_left(unplugged, cache)


def test_a_revision_and_a_url(origin, remote, cache, tmp_path):
    clone = copy_repository(origin, tmp_path / "clone", remote)
    git(clone, "commit", "--quiet", "--all", "--message", "another remote")
    assert_whole(find(f"file://{clone}"), origin)
    shutil.rmtree(cache)
    (clone / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    message = rf"mini-{KEY}: not in dvc.lock.*are: none.*dvc repro {STAGE}"
    with pytest.raises(UserError, match=message):
        find(clone)
    assert_whole(find(clone, "HEAD"), origin)
    with pytest.raises(UserError, match="at nonsense"):
        find(clone, "nonsense")


@pytest.mark.parametrize(
    ("key", "profile", "name"),
    [
        ("gpt2-small-helpful-1", "mini", "mini-gpt2-small-helpful-1"),
        (KEY, "maxi", f"maxi-{KEY}"),
        ("../reward/gpt2-small-helpful-0", "mini", "mini-../reward/gpt2-small-helpful-0"),
        ("other-0", None, "PROFILE-other-0"),
    ],
)
def test_what_there_is_not(origin, key, profile, name):
    with pytest.raises(UserError, match=rf"{name}: not in dvc.lock.*nearest are: mini-{KEY};"):
        find_checkpoint(key, profile, origin)


def test_without_a_profile_it_is_the_only_one_that_has_the_model(origin, tmp_path, remote):
    assert find_checkpoint(KEY, repo=origin) == origin / PLACE
    clone = copy_repository(origin, tmp_path / "clone", remote)
    lock = clone / "dvc.lock"
    _, stage = lock.read_text().split("stages:\n")
    lock.write_text(lock.read_text() + stage.replace("mini", "paper"))
    message = rf"{KEY}: mini-{KEY} and paper-{KEY} are .*name one of their"
    with pytest.raises(UserError, match=message):
        find_checkpoint(KEY, repo=clone)


def test_a_folder_that_is_no_repository_and_a_cache_that_cannot_be_written_to(
    origin, clone, tmp_path, monkeypatch
):
    with pytest.raises(UserError, match=rf"{tmp_path}: no dvc.lock there"):
        find(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(clone / "dvc.lock"))
    with pytest.raises(UserError, match=f"{clone}/dvc.lock"):
        find(clone)


@pytest.mark.parametrize("name", ["../../escaped", "{root}/escaped"], ids=["relative", "absolute"])
def test_a_forged_list_leads_nowhere(name, origin, clone, remote, cache, tmp_path):
    entry = {"md5": listed(origin)[WEIGHTS], "relpath": name.format(root=tmp_path)}
    listing = json.dumps([entry]).encode()
    forged = f"{hashlib.md5(listing, usedforsecurity=False).hexdigest()}.dir"
    stored(remote, forged).parent.mkdir(exist_ok=True)
    stored(remote, forged).write_bytes(listing)
    lock = clone / "dvc.lock"
    lock.write_text(lock.read_text().replace(listed(origin)[""], forged))
    with pytest.raises(UserError, match=f"{PLACE}"):
        find(clone)
    assert not list(tmp_path.rglob("escaped"))
    lock.write_text(lock.read_text().replace(forged, "../../up"))
    with pytest.raises(UserError, match=r"dvc\.lock: '../../up' is not an md5"):
        find(clone)


def test_no_password_is_shown(cache, capsys):
    with pytest.raises(UserError) as caught:
        find("http://user:p@ssword@127.0.0.1:1/repository.git")
    assert "//127.0.0.1:1/repository.git" in str(caught.value)
    assert "ssword" not in str(caught.value) + capsys.readouterr().err


COMMIT, ADDRESS = "1" * 40, "hf://someone/a-model"


@pytest.fixture
def hub(origin, tmp_path, monkeypatch):
    """The cache of a hub that has the small reward model, with a card, at COMMIT and as main."""
    go_offline(tmp_path / "hub", monkeypatch)
    folder = snapshot(tmp_path / "hub", "model", HubRepo(repo="someone/a-model", revision=COMMIT))
    shutil.copytree(origin / PLACE, folder)
    (folder / "README.md").touch()
    return folder


def test_a_checkpoint_of_the_hub_needs_no_repository(hub, origin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    item = ("How do I boil an egg?", ["Seven minutes.", "No."])
    expected = load_reward_model(origin / PLACE, device="cpu").score(*item)
    for revision in (COMMIT, "main"):
        loaded = load_reward_model(f"{ADDRESS}@{revision}", device="cpu")
        assert (loaded.folder, loaded.score(*item)) == (hub, expected)
    (hub / "scoring.json").unlink()
    anyone = load_reward_model(f"{ADDRESS}@{COMMIT}", device="cpu", template=TEMPLATE)
    assert anyone.score(*item) == pytest.approx(expected, abs=1e-5)
    assert str(anyone).startswith(f"{ADDRESS}@{COMMIT}: gpt2, 3 x 64 neurons, float32 on cpu")


def test_what_a_trainer_left_in_subfolders_is_not_downloaded(tmp_path, monkeypatch):
    files, wanted = ["config.json", "checkpoint-500/model.safetensors"], []

    def download(*_, allow_patterns, ignore_patterns=None, **_options):
        wanted.extend(
            filter_repo_objects(
                files, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns
            )
        )
        return tmp_path

    monkeypatch.setattr("rm_tension.base.hub.snapshot_download", download)
    find_on_hub(f"{ADDRESS}@{COMMIT}")
    assert wanted == ["config.json"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (ADDRESS, f"{ADDRESS}: not hf://ORG/NAME@REV; REV had better be a commit"),
        ("hf://a-model@main", "not hf://ORG/NAME@REV"),
        (f"hf://../someone/a-model@{COMMIT}", "not hf://ORG/NAME@REV"),
        ("hf://someone/a--model@main", "hf://someone/a--model@main: Value error, "),
        (f"{ADDRESS}@{'2' * 40}", f"at revision {'2' * 40} is neither on the hub nor in its cache"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused(hub, address, message):
    with pytest.raises(UserError, match=message):
        load_reward_model(address, device="cpu")
