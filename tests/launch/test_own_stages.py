"""A user's own stages and data: the launcher does with them what `dvc repro` does, and removes nothing else."""

import signal

import pytest
from toy import Toy, stage

from rm_tension.base.lockfile import file_md5

pytestmark = pytest.mark.slow


def make(folder):
    """A toy with folders of a user's own."""
    toy = Toy(folder)
    for name in ("mine", "out", "sub"):
        (folder / name).mkdir()
    return toy


@pytest.fixture
def toy(tmp_path):
    return make(tmp_path / "toy")


@pytest.fixture
def serial(tmp_path):
    """Another one, for `dvc repro`."""
    return make(tmp_path / "serial")


def succeed(toy, *targets, **variables):
    code, printed = toy.launch(*targets, **variables)
    assert code == 0, printed
    return printed


def kept(toy):
    """What the files of DVC's cache hold."""
    files = (toy.folder / ".dvc/cache/files").rglob("*")
    return {path.read_text() for path in files if path.is_file()}


def test_commands_run_as_in_dvc_repro(toy, serial, monkeypatch):
    monkeypatch.setenv("SHELL", "/bin/bash")
    several = ["python -m step out/several", "unset nothing; echo $DVC_STAGE >> out/several"]
    lines = "python -m step out/lines\nx=1\necho \"x is '$x'\" >> out/lines\n"
    quoted = "python -m step 'out/two words' && echo {a,b} >> 'out/two words'"
    cells = stage("echo ${item.cell} | cat > out/${item.cell}", outs=["out/${item.cell}"])
    inner = stage("cat ../out/several own > inner", "../out/several", "own", outs=["inner"])
    for one in (toy, serial):
        one.has_only(
            several=stage(several, "toy.yaml", outs=["out/several"]),
            lines=stage(lines, "toy.yaml", outs=["out/lines"]),
            quoted=stage(quoted, outs=["out/two words"]),
            elsewhere=stage('basename "$PWD" > own', wdir="sub", outs=["own"]),
            matrix={"matrix": {"cell": ["a", "b"]}, **cells},
        )
        one.has_only("sub/dvc.yaml", inner=inner)
        for name in ("own", "inner"):  # of the user, in the folder where the launcher is
            one.write(name, "mine")
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
        assert {name: one.text(name) for name in expected} == expected
    for name in ("dvc.lock", "sub/dvc.lock"):
        assert toy.recorded(name) == serial.recorded(name)
    assert "up to date" in toy.dvc("status")


def test_the_command_after_one_that_fails_does_not_run(toy):
    toy.has_only(own=stage(["echo first words", "false", "touch out/own"]))
    code, printed = toy.launch("own")
    assert code == 1
    assert "own: failed: exit code 1: first words\n  first words\n" in printed
    assert not (toy.folder / "out/own").exists()


def test_an_added_file_that_was_changed_is_recorded_as_dvc_repro_records_it(toy, serial):
    for one in (toy, serial):
        one.has_only(own=stage("cat mine/q.csv mine/folder/* > out/own", "mine"))
        (one.folder / "mine/folder").mkdir()
        for name in ("mine/q.csv", "mine/folder/a"):
            one.write(name, f"old {name}\n")
        one.dvc("add", "mine/q.csv", "mine/folder")
        one.dvc("repro", "own")
        one.write("mine/q.csv", "edited\n")
        one.write("mine/folder/b", "new\n")
    serial.dvc("repro", "own")
    assert "mine/q.csv.dvc: done" in succeed(toy, "own")
    for name in ("mine/q.csv.dvc", "mine/folder.dvc", "dvc.lock"):
        assert toy.recorded(name) == serial.recorded(name)
    assert toy.text("mine/q.csv") == "edited\n"
    assert toy.text("out/own") == "edited\nold mine/folder/a\nnew\n"
    assert {"old mine/q.csv\n", "edited\n", "new\n"} <= kept(toy)
    assert "3 up to date" in succeed(toy, "own")


def test_an_added_file_that_is_missing_is_named_and_nothing_is_touched(toy):
    toy.has_only(own=stage("cat mine/q.csv > out/own", "mine/q.csv"))
    other = stage("cp ../toy.yaml other", "../toy.yaml", outs=["other"])
    toy.has_only("sub/dvc.yaml", other=other)
    toy.write("mine/q.csv", "old\n")
    toy.dvc("add", "mine/q.csv")
    succeed(toy, "own", "sub/dvc.yaml:other")
    (toy.folder / "mine/q.csv").unlink()
    toy.set_value(2)
    code, printed = toy.launch("sub/dvc.yaml:other", "own")
    assert code == 1
    assert "error: DVC: missing data 'source': mine/q.csv" in printed
    assert toy.text("out/own") == "old\n"
    assert toy.text("sub/other") == "value: 1\n"


def test_what_is_frozen_or_imported_keeps_its_files(toy, tmp_path):
    (tmp_path / "there").write_text("theirs\n", encoding="utf-8")
    toy.dvc("import-url", str(tmp_path / "there"), "mine/imported")
    inputs = ("out/frozen", "mine/imported")
    toy.has_only(
        frozen=stage("python -m step out/frozen", "toy.yaml", outs=["out/frozen"], frozen=True),
        own=stage("cat out/frozen mine/imported > out/own", *inputs),
    )
    for name in inputs:
        toy.write(name, "by hand\n")
    succeed(toy, "own")
    assert toy.text("out/own") == "by hand\nby hand\n"
    assert toy.runs("frozen") == 0
    for file in ("dvc.lock", "mine/imported.dvc"):
        assert file_md5(toy.folder / "mine/imported") in toy.text(file)
    toy.set_value(2)
    assert "3 up to date" in succeed(toy, "own")


def test_outputs_that_persist_or_are_in_git_are_kept_or_made_again(toy):
    outs = [{"out/history": {"persist": True}}, {"out/report": {"cache": False}}]
    command = "cat toy.yaml | tee -a out/history > out/report"
    toy.has_only(own=stage(command, "toy.yaml", outs=outs))
    toy.dvc("config", "cache.type", "symlink")
    for value in (1, 2):
        toy.set_value(value)
        succeed(toy, "own")
    assert toy.text("out/history") == "value: 1\nvalue: 2\n"
    assert toy.text("out/report") == "value: 2\n"
    assert kept(toy) == {"value: 1\n", "value: 1\nvalue: 2\n"}


def test_what_is_always_changed_runs_each_time(toy):
    command = "cat toy.yaml >> runs-of/always; echo 1 > out/own"
    callback = {"cmd": "echo 1 >> runs-of/callback"}
    toy.has_only(always=stage(command, always_changed=True), callback=callback)
    for _ in range(2):
        assert "2 done" in succeed(toy, "always", "callback")
    assert toy.text("runs-of/always") == "value: 1\n" * 2
    assert toy.text("runs-of/callback") == "1\n" * 2


@pytest.mark.parametrize(
    ("command", "how"),
    [
        ("true && python -m step out/own", signal.SIGTERM),
        (["true", "python -m step out/own"], signal.SIGTERM),
        ("true && python -m step out/own", signal.SIGKILL),
    ],
)
def test_a_launcher_that_ends_takes_a_shell_and_what_it_runs_with_it(command, how, toy):
    toy.has_only(own=stage(command))
    toy.order("own", "wait")
    launcher = toy.start("own")
    toy.wait_for("waits/own")
    launcher.send_signal(how)
    launcher.communicate()
    toy.wait_for("ended/own")
