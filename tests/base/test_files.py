"""Files appear whole or not at all; parts of an interrupted stage are reused only for the same work."""

import os

import pytest

from rm_tension.base.files import whole, write_json
from rm_tension.base.parts import parts_folder

CODE = ["base/parts.py"]


def test_a_file_or_folder_appears_whole_and_replaces_the_old_one(tmp_path):
    for text in ("old", "new"):
        with whole(tmp_path / "file") as partial:
            partial.write_text(text)
        with whole(tmp_path / "folder") as partial:
            partial.mkdir()
            (partial / text).write_text(text)
    assert (tmp_path / "file").read_text() == "new"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["new"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_link_stays_one_and_its_target_is_replaced(tmp_path):
    (tmp_path / "disk").mkdir()
    write_json(tmp_path / "disk" / "file", "old")
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "file")
    write_json(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "file").read_text() == '"new"\n'
    (tmp_path / "disk" / "folder").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "disk" / "folder")
    with whole(tmp_path / "linked") as partial:
        partial.mkdir()
        (partial / "inside").touch()
    assert (tmp_path / "linked").is_symlink()
    assert (tmp_path / "disk" / "folder" / "inside").exists()


def test_what_is_new_has_the_umasks_modes_and_what_is_replaced_keeps_its_own(tmp_path):
    before = os.umask(0o027)
    try:
        with whole(tmp_path / "folder") as partial:
            partial.mkdir(mode=0o700)
            (partial / "file").touch(mode=0o600)  # as safetensors does
        write_json(tmp_path / "kept", 1)
        assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o640
        (tmp_path / "kept").chmod(0o604)
        write_json(tmp_path / "kept", 2)
    finally:
        os.umask(before)
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "folder" / "file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o604


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


def test_what_a_killed_run_left_is_removed(tmp_path):
    left = tmp_path / ".folder.partial"
    left.mkdir()
    (left / "stale").touch()
    with whole(tmp_path / "folder") as partial:
        partial.mkdir()
    assert not list((tmp_path / "folder").iterdir())
    assert not left.exists()


def test_parts_of_the_same_work_are_found_again_and_others_removed(tmp_path, monkeypatch, capsys):
    source, state = tmp_path / "input", tmp_path / "state"
    source.write_text("data")
    folder = parts_folder(state, CODE, {"a": 1}, [source])
    (folder / "helpful.parquet").touch()
    assert parts_folder(state, CODE, {"a": 1}, [source]) == folder
    assert "resuming with helpful already done" in capsys.readouterr().out
    source.write_text("other data")
    other = parts_folder(state, CODE, {"a": 1}, [source])
    assert other != folder
    assert not folder.exists()
    assert parts_folder(state, CODE, {"a": 2}, [source]) != other
    monkeypatch.setattr("rm_tension.base.parts.digest_of_code", lambda code: "other code")
    assert parts_folder(state, CODE, {"a": 2}, [source]) not in {other, folder}
    assert len(list(state.iterdir())) == 1
