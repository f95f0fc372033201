"""A user's own stages and data: the launcher does with them what `dvc repro` does, and removes nothing else."""

import signal

import pytest
import yaml
from toy import Toy

from rm_tension.base.lockfile import file_md5

pytestmark = pytest.mark.slow

DIES_ONCE = """
import os, pathlib, signal, sys
with open(sys.argv[1], "a") as file:
    file.write("x")
if not pathlib.Path("runs-of/dead").exists():
    pathlib.Path("runs-of/dead").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def toy(tmp_path):
    return make(tmp_path / "toy")


def make(folder):
    """A toy with folders of a user's own."""
    toy = Toy(folder)
    for name in ("mine", "out", "sub"):
        (folder / name).mkdir()
    return toy


def add(toy, file="dvc.yaml", **stages):
    """Have these stages only in a dvc.yaml."""
    (toy.folder / file).write_text(
        yaml.safe_dump({"stages": stages}, sort_keys=False), encoding="utf-8"
    )


def succeed(toy, *targets, **variables):
    code, printed = toy.launch(*targets, **variables)
    assert code == 0, printed
    return printed


def read(toy, name):
    return (toy.folder / name).read_text(encoding="utf-8")


def test_commands_run_as_in_dvc_repro(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("SHELL", "/bin/bash")
    serial = make(tmp_path / "serial")
    for one in (toy, serial):
        add(
            one,
            several={
                "cmd": [
                    "python -m step out/several",
                    "unset nothing; echo $DVC_STAGE >> out/several",
                ]
            },
            lines={"cmd": "python -m step out/lines\nx=1\necho \"x is '$x'\" >> out/lines\n"},
            quoted={
                "cmd": "python -m step 'out/two words' && echo {a,b} >> 'out/two words'",
                "outs": ["out/two words"],
            },
            elsewhere={"cmd": 'basename "$PWD" > own', "wdir": "sub", "outs": ["own"]},
            matrix={
                "matrix": {"cell": ["a", "b"]},
                "cmd": "echo ${item.cell} | cat > out/${item.cell}",
            },
        )
        stages = yaml.safe_load(read(one, "dvc.yaml"))["stages"]
        for name in ("several", "lines"):
            stages[name] |= {"deps": ["toy.yaml"], "outs": [f"out/{name}"]}
        stages["matrix"]["outs"] = ["out/${item.cell}"]
        add(one, **stages)
        inner = {
            "cmd": "cat ../out/several own > inner",
            "deps": ["../out/several", "own"],
            "outs": ["inner"],
        }
        add(one, "sub/dvc.yaml", inner=inner)
        for name in ("own", "inner"):  # of the user, in the folder where the launcher is
            (one.folder / name).write_text("mine", encoding="utf-8")
    targets = ("dvc.yaml", "sub/dvc.yaml:inner")
    serial.dvc("repro", *targets)
    assert "7 done" in succeed(toy, *targets, SHELL="/bin/bash")
    expected = {
        "out/several": "several 1\nseveral\n",
        "out/lines": "lines 1\nx is ''\n",  # each line has a shell of its own
        "out/two words": "two words 1\na b\n",
        "out/a": "a\n",
        "out/b": "b\n",
        "sub/own": "sub\n",
        "sub/inner": "several 1\nseveral\nsub\n",
        "own": "mine",
        "inner": "mine",
    }
    for one in (serial, toy):
        assert {name: read(one, name) for name in expected} == expected
    for name in ("dvc.lock", "sub/dvc.lock"):
        assert yaml.safe_load(read(toy, name)) == yaml.safe_load(read(serial, name))
    assert "up to date" in toy.dvc("status")


def test_the_command_after_one_that_fails_does_not_run(toy):
    add(toy, own={"cmd": ["echo first words", "false", "touch out/own"], "outs": ["out/own"]})
    code, printed = toy.launch("own")
    assert code == 1
    assert "own: failed: exit code 1: first words\n  first words\n" in printed
    assert not (toy.folder / "out/own").exists()


def test_an_added_file_that_was_changed_is_recorded_as_dvc_repro_records_it(toy, tmp_path):
    serial = make(tmp_path / "serial")
    for one in (toy, serial):
        add(
            one,
            own={
                "cmd": "cat mine/q.csv mine/folder/* > out/own",
                "deps": ["mine"],
                "outs": ["out/own"],
            },
        )
        (one.folder / "mine/folder").mkdir()
        for name in ("mine/q.csv", "mine/folder/a"):
            (one.folder / name).write_text(f"old {name}\n", encoding="utf-8")
        one.dvc("add", "mine/q.csv", "mine/folder")
        one.dvc("repro", "own")
        (one.folder / "mine/q.csv").write_text("edited\n", encoding="utf-8")
        (one.folder / "mine/folder/b").write_text("new\n", encoding="utf-8")
    serial.dvc("repro", "own")
    assert "mine/q.csv.dvc: done" in succeed(toy, "own")
    for name in ("mine/q.csv.dvc", "mine/folder.dvc", "dvc.lock"):
        assert yaml.safe_load(read(toy, name)) == yaml.safe_load(read(serial, name))
    assert read(toy, "mine/q.csv") == "edited\n"
    assert read(toy, "out/own") == "edited\nold mine/folder/a\nnew\n"
    kept = {
        path.read_text() for path in (toy.folder / ".dvc/cache/files").rglob("*") if path.is_file()
    }
    assert {"old mine/q.csv\n", "edited\n", "new\n"} <= kept
    assert "3 up to date" in succeed(toy, "own")


def test_an_added_file_that_is_missing_is_named_and_nothing_is_touched(toy):
    add(toy, own={"cmd": "cat mine/q.csv > out/own", "deps": ["mine/q.csv"], "outs": ["out/own"]})
    add(
        toy,
        "sub/dvc.yaml",
        other={"cmd": "cp ../toy.yaml other", "deps": ["../toy.yaml"], "outs": ["other"]},
    )
    (toy.folder / "mine/q.csv").write_text("old\n", encoding="utf-8")
    toy.dvc("add", "mine/q.csv")
    succeed(toy, "own", "sub/dvc.yaml:other")
    (toy.folder / "mine/q.csv").unlink()
    toy.set_value(2)
    code, printed = toy.launch("sub/dvc.yaml:other", "own")
    assert code == 1
    assert "error: DVC: missing data 'source': mine/q.csv" in printed
    assert read(toy, "out/own") == "old\n"
    assert read(toy, "sub/other") == "value: 1\n"


def test_what_is_frozen_or_imported_keeps_its_files(toy, tmp_path):
    (tmp_path / "there").write_text("theirs\n", encoding="utf-8")
    toy.dvc("import-url", str(tmp_path / "there"), "mine/imported")
    frozen = {
        "cmd": "python -m step out/frozen",
        "frozen": True,
        "deps": ["toy.yaml"],
        "outs": ["out/frozen"],
    }
    own = {
        "cmd": "cat out/frozen mine/imported > out/own",
        "deps": ["out/frozen", "mine/imported"],
        "outs": ["out/own"],
    }
    add(toy, frozen=frozen, own=own)
    for name in ("mine/imported", "out/frozen"):
        (toy.folder / name).write_text("by hand\n", encoding="utf-8")
    succeed(toy, "own")
    assert read(toy, "out/own") == "by hand\nby hand\n"
    assert toy.runs("frozen") == 0
    for file in ("dvc.lock", "mine/imported.dvc"):
        assert file_md5(toy.folder / "mine/imported") in read(toy, file)
    toy.set_value(2)
    assert "3 up to date" in succeed(toy, "own")


def test_outputs_that_persist_or_are_in_git_are_kept_or_made_again(toy):
    outs = [{"out/history": {"persist": True}}, {"out/report": {"cache": False}}]
    add(
        toy,
        own={
            "cmd": "cat toy.yaml | tee -a out/history > out/report",
            "deps": ["toy.yaml"],
            "outs": outs,
        },
    )
    toy.dvc("config", "cache.type", "symlink")
    for value in (1, 2):
        toy.set_value(value)
        succeed(toy, "own")
    assert read(toy, "out/history") == "value: 1\nvalue: 2\n"
    assert read(toy, "out/report") == "value: 2\n"
    kept = {
        path.read_text() for path in (toy.folder / ".dvc/cache/files").rglob("*") if path.is_file()
    }
    assert kept == {"value: 1\n", "value: 1\nvalue: 2\n"}


def test_what_is_always_changed_runs_each_time(toy):
    always = {
        "cmd": "cat toy.yaml >> runs-of/always; echo 1 > out/own",
        "always_changed": True,
        "outs": ["out/own"],
    }
    add(toy, always=always, callback={"cmd": "echo 1 >> runs-of/callback"})
    for _ in range(2):
        assert "2 done" in succeed(toy, "always", "callback")
    assert read(toy, "runs-of/always") == "value: 1\n" * 2
    assert read(toy, "runs-of/callback") == "1\n" * 2


def test_what_a_killed_job_has_left_is_removed_before_it_is_started_once_more(toy):
    (toy.folder / "dies.py").write_text(DIES_ONCE, encoding="utf-8")
    add(toy, own={"cmd": "python -m dies out/own", "outs": ["out/own"]})
    assert "own: killed by signal 9: started once more" in succeed(toy, "own")
    assert read(toy, "out/own") == "x"


@pytest.mark.parametrize(
    "command", ["true && python -m step out/own", ["true", "python -m step out/own"]]
)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_launcher_that_ends_takes_a_shell_and_what_it_runs_with_it(command, how, toy):
    add(toy, own={"cmd": command, "outs": ["out/own"]})
    toy.order("own", "wait")
    launcher = toy.start("own")
    toy.wait_for("waits/own")
    launcher.send_signal(how)
    launcher.communicate()
    toy.wait_for("ended/own")
