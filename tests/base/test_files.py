"""Files appear as they should be or not at all."""

import os

import pytest
from dvc.repo import Repo

from rm_tension.base.files import unlink_from_cache, whole, write_json
from rm_tension.base.lockfile import file_md5


def test_a_file_or_folder_replaces_the_old_one_and_what_a_killed_run_left(tmp_path):
    (tmp_path / ".folder.partial").mkdir()
    (tmp_path / ".folder.partial" / "stale").touch()
    for text in ("old", "new"):
        with whole(tmp_path / "file") as partial:
            partial.write_text(text)
        with whole(tmp_path / "folder") as partial:
            partial.mkdir()
            (partial / text).write_text(text)
    assert (tmp_path / "file").read_text() == "new"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["new"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_a_link_into_dvcs_cache_is_replaced_and_the_cache_stays_as_it_is(tmp_path, kind):
    checkout, shared = tmp_path / "checkout", tmp_path / "shared"
    paths = [checkout / "file", checkout / "in_place", checkout / "folder" / "file"]
    for path in paths:
        write_json(path, 1)
    Repo.init(checkout, no_scm=True).close()
    with Repo(checkout) as repo, repo.config.edit() as config:
        config["cache"] |= {"dir": str(shared), "type": [kind]}
    with Repo(checkout) as repo:
        repo.add([str(checkout / name) for name in ("file", "in_place", "folder")])
    assert all(path.is_symlink() or path.stat().st_nlink > 1 for path in paths)
    write_json(paths[0], 2)
    unlink_from_cache(paths[1])
    with paths[1].open("a", encoding="utf-8") as file:
        file.write("2\n")
    with whole(checkout / "folder") as partial:
        partial.mkdir()
        write_json(partial / "file", 2)
    assert [path.read_text() for path in paths] == ["2\n", "1\n2\n", "2\n"]
    for path in paths:
        assert not path.is_symlink()
        assert path.stat().st_nlink == 1
        assert path.stat().st_mode & 0o200
    # each file's md5 is that of its name, so that DVC brings back what it recorded
    objects = [path for path in (shared / "files").rglob("*") if path.is_file()]
    assert objects
    assert all(file_md5(path) == path.parent.name + path.stem for path in objects)
    with Repo(checkout) as repo:
        repo.checkout(force=True)
    assert {path.read_text() for path in paths} == {"1\n"}


def test_a_link_to_a_folder_is_replaced_and_the_folder_stays(tmp_path):
    write_json(tmp_path / "disk" / "kept", 1)
    for target in ("disk", "nowhere"):
        (tmp_path / "link").symlink_to(tmp_path / target)
        with whole(tmp_path / "link") as partial:
            partial.mkdir()
        assert not (tmp_path / "link").is_symlink()
        (tmp_path / "link").rmdir()
    assert (tmp_path / "disk" / "kept").exists()


def test_modes_are_those_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with whole(tmp_path / "folder") as partial:
            partial.mkdir(mode=0o700)
            (partial / "file").touch(mode=0o600)  # as safetensors does
    finally:
        os.umask(before)
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "folder" / "file").stat().st_mode & 0o777 == 0o640


def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path):
    write_json(tmp_path / "file", 1)

    def write_on_a_full_disk():
        with whole(tmp_path / "file") as partial:
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
    with pytest.raises(NotADirectoryError), whole(tmp_path / "folder" / "kept") as partial:
        partial.mkdir()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "kept"]
