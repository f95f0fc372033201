"""Files appear as they should be or not at all."""

import os

import pytest
from dvc.repo import Repo

from rm_tension.base.files import atomic_write, write_json
from rm_tension.base.lockfile import file_md5


def write_folder(path, name):
    with atomic_write(path) as partial:
        partial.mkdir()
        (partial / name).touch()


def test_a_file_or_folder_replaces_the_old_one(tmp_path):
    for text in ("old", "new"):
        write_json(tmp_path / "file", text)
        write_folder(tmp_path / "folder", text)
    assert (tmp_path / "file").read_text() == '"new"\n'
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["new"]
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_killed_run_left_is_removed(tmp_path):
    left = tmp_path / ".folder.partial"
    left.mkdir()
    (left / "stale").touch()
    write_folder(tmp_path / "folder", "new")
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "new"]


def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path):
    write_json(tmp_path / "file", 1)

    def write_on_a_full_disk():
        with atomic_write(tmp_path / "file") as partial:
            partial.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_on_a_full_disk()
    assert (tmp_path / "file").read_text() == "1\n"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_does_not_replace_a_folder_nor_a_folder_a_file(tmp_path):
    write_json(tmp_path / "folder" / "kept", 1)
    with pytest.raises(IsADirectoryError):
        write_json(tmp_path / "folder", 2)
    with pytest.raises(NotADirectoryError):
        write_folder(tmp_path / "folder" / "kept", "new")
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "kept"]


def test_what_is_new_has_the_umasks_modes_and_what_is_replaced_keeps_its_own(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "folder") as partial:
            partial.mkdir(mode=0o700)
            (partial / "file").touch(mode=0o600)  # as safetensors does
        write_json(tmp_path / "kept", 1)
        (tmp_path / "kept").chmod(0o604)
        write_json(tmp_path / "kept", 2)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"folder": 0o750, "file": 0o640, "kept": 0o604}


def test_a_link_of_a_users_own_stays_one_and_its_target_is_replaced(tmp_path):
    write_json(tmp_path / "disk" / "file", "old")
    write_folder(tmp_path / "disk" / "folder", "old")
    for name in ("file", "folder"):
        (tmp_path / name).symlink_to(tmp_path / "disk" / name)
    write_json(tmp_path / "file", "new")
    write_folder(tmp_path / "folder", "new")
    assert (tmp_path / "file").is_symlink()
    assert (tmp_path / "folder").is_symlink()
    assert (tmp_path / "disk" / "file").read_text() == '"new"\n'
    assert [path.name for path in (tmp_path / "disk" / "folder").iterdir()] == ["new"]


@pytest.fixture(params=["symlink", "hardlink"])
def linked(request, tmp_path):
    """A checkout whose `file`, and `file` in `folder`, DVC has made links to its cache; both hold 1."""
    folder = tmp_path / "checkout"
    for name in ("file", "folder/file"):
        write_json(folder / name, 1)
    Repo.init(folder, no_scm=True).close()
    with Repo(folder) as repo, repo.config.edit() as config:
        config["cache"] |= {"dir": str(tmp_path / "shared"), "type": [request.param]}
    with Repo(folder) as repo:
        repo.add([str(folder / "file"), str(folder / "folder")])
    assert (folder / "file").is_symlink() or (folder / "file").stat().st_nlink > 1
    return folder


def assert_replaced(path):
    """It holds 2, is no link, and may be written to."""
    assert path.read_text() == "2\n"
    assert not path.is_symlink()
    assert path.stat().st_nlink == 1
    assert path.stat().st_mode & 0o200


def assert_cache_is_right(folder):
    """Each file's md5 is that of its name, so that DVC brings back what it recorded."""
    objects = [path for path in (folder.parent / "shared" / "files").rglob("*") if path.is_file()]
    assert objects
    for path in objects:
        assert file_md5(path) == path.parent.name + path.stem
        assert path.stat().st_mode & 0o777 == 0o444  # DVC does not look into files with this mode


def test_a_link_into_dvcs_cache_is_replaced_and_the_cache_stays_as_it_is(linked):
    for path in (linked / "file", linked / "folder" / "file"):
        write_json(path, 2)
        assert_replaced(path)
    assert_cache_is_right(linked)


def test_a_link_of_a_users_own_is_followed_up_to_dvcs_link(linked, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "mine").symlink_to(linked / "folder")
    (linked / "mine").symlink_to("../disk/mine")
    (linked / "alias").symlink_to("mine/file")
    write_json(linked / "alias", 2)
    assert (linked / "alias").is_symlink()
    assert (linked / "mine").is_symlink()
    assert_replaced(linked / "folder" / "file")
    assert_cache_is_right(linked)


def test_a_link_to_what_the_cache_has_no_longer_is_replaced(tmp_path):
    target = tmp_path / "cache" / "files" / "md5" / "b0" / "26324c6904b2a9cb4b88d6d61c81d1"
    target.parent.mkdir(parents=True)
    (tmp_path / "file").symlink_to(target)
    write_json(tmp_path / "file", 2)
    assert_replaced(tmp_path / "file")
    assert not list(target.parent.iterdir())


def test_a_link_into_dvcs_cache_may_be_put_in_place(linked):
    """As DVC makes one where it is asked for a file of its cache."""
    with atomic_write(linked / "other") as partial:
        if (linked / "file").is_symlink():
            partial.symlink_to((linked / "file").readlink())
        else:
            partial.hardlink_to(linked / "file")
    assert (linked / "other").samefile(linked / "file")
    assert_cache_is_right(linked)
