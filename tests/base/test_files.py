"""Files appear whole or not at all; parts of an interrupted stage are reused only for the same work."""

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
