"""The launcher computes and records what `dvc repro` does, side by side, and loses nothing when something dies."""

import fcntl
import json
import os
import re
import signal
import struct
import termios
from contextlib import suppress

import psutil
import pytest
import yaml
from toy import WHOLE, Toy, read_until, stage

from bad_remotes import small_disk
from rm_tension.launch.pipeline import RECORDS, Pipeline

pytestmark = pytest.mark.slow


@pytest.fixture
def toy(tmp_path):
    return Toy(tmp_path / "toy")


def test_it_records_what_dvc_records_and_both_may_be_mixed(toy, tmp_path):
    serial = Toy(tmp_path / "serial")
    serial.dvc("repro", "last")
    code, printed = toy.launch("last", "--jobs", "2")
    assert code == 0, printed
    assert toy.read("last") == WHOLE
    assert yaml.safe_load(toy.lock()) == yaml.safe_load(serial.lock())
    assert "up to date" in toy.dvc("status")

    for one in (serial, toy):  # DVC orders a new lock file by chance; ours is in git
        (one.folder / "dvc.lock").write_text(serial.lock(), encoding="utf-8")
        one.set_value(2)
    serial.dvc("repro", "last")
    assert toy.launch()[0] == 0
    assert toy.lock() == serial.lock()
    assert "didn't change" in toy.dvc("repro", "last")
    assert "5 up to date" in toy.launch()[1]
    toy.set_value(1)
    assert "5 from the cache" in toy.launch()[1]
    assert toy.read("last") == WHOLE
    assert "up to date" in toy.dvc("status")
    assert [toy.runs(name) for name in ("first", "middle-a", "last")] == [2, 2, 2]


def test_a_job_that_fails_stops_what_depends_on_it_and_nothing_else(toy):
    toy.order("middle-a", "write nothing")
    toy.order("middle-b", "fail")
    code, printed = toy.launch()
    assert code == 1
    failure = "exit code 1: error: the toy broke"
    assert f"middle@b: failed: {failure}\n  first words\n  error: the toy broke\n" in printed
    assert "last: skipped: depends on middle@a, middle@b\n" in printed
    assert "2 done, 2 failed, 1 skipped in " in printed
    end = printed.splitlines()[-6:]
    assert {f"failed    middle@b: {failure}", "log       .state/launch/middle@b.log"} <= {*end}
    assert "failed    middle@a: its command ended well, but output 'out/middle-a' does" in printed
    assert end[-2:] == ["skipped   last", "go on     rm-tension run last"]
    assert "failed" in toy.launch("last", command="status")[1]
    toy.release("middle-a")
    toy.release("middle-b")
    assert "3 done, 2 up to date" in toy.launch()[1]
    assert "failed" not in toy.launch("last", command="status")[1]
    assert toy.read("last") == WHOLE


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/sh"])  # the second stays and says 128 + 9
def test_a_job_that_is_killed_is_started_once_more(shell, toy):
    toy.order("middle-a", "die once")
    toy.order("middle-c", "die")
    code, printed = toy.launch(SHELL=shell)
    assert "middle@a: killed by signal 9: started once more\n" in printed
    assert "middle@a: done\n" in printed  # after what it had left was removed
    assert "middle@c: failed: killed by signal 9" in printed
    assert (toy.runs("middle-a"), toy.runs("middle-c"), code) == (2, 2, 1)


def test_a_result_is_not_recorded_for_what_changed_while_it_was_made(toy):
    toy.order("first", "wait")
    launcher = toy.start()
    toy.wait_for("waits/first")
    toy.set_value(2)
    toy.release("first")
    printed, _ = launcher.communicate()
    assert launcher.returncode == 1
    assert "first: failed: toy.yaml changed while it ran, so it is not recorded: run" in printed
    assert not (toy.folder / "dvc.lock").exists()
    assert toy.launch()[0] == 0
    assert toy.read("last") == WHOLE.replace("1\n", "2\n")


def test_a_second_launcher_is_refused_by_name(toy):
    toy.order("first", "wait")
    launcher = toy.start()
    toy.wait_for("waits/first")
    code, printed = toy.launch()
    assert code == 1
    assert "error: another launcher runs in this checkout: " in printed
    assert f"pid {launcher.pid};" in printed
    toy.release("first")
    launcher.communicate()
    assert launcher.returncode == 0


def test_a_dvc_at_work_is_named_and_its_lock_stays(toy):
    info = {"pid": os.getpid(), "cmd": "dvc repro last"}
    locks = json.dumps({"write": {str(toy.folder / "out/first"): info}})
    (toy.folder / ".dvc/tmp/rwlock").write_text(locks, encoding="utf-8")
    code, printed = toy.launch("last")
    assert code == 1
    assert f"(PID {os.getpid()}): dvc repro last\nwait for its end, or end it\n" in printed
    assert "remove" not in printed


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_launcher_that_ends_takes_its_jobs_with_it_and_goes_on_where_it_was(toy, how):
    toy.order("middle-c", "wait")
    launcher = toy.start("last", "--jobs", "2")
    read_until(launcher, "middle@a: done", "middle@b: done")
    toy.wait_for("waits/middle-c")
    launcher.send_signal(how)
    printed, _ = launcher.communicate()
    if how != signal.SIGKILL:
        assert launcher.returncode == 1
        assert "interrupted: what has ended is recorded" in printed
    toy.wait_for("ended/middle-c")
    toy.release("middle-c")
    assert toy.launch()[0] == 0
    assert toy.read("last") == WHOLE
    runs = [toy.runs(name) for name in ("first", "middle-a", "middle-b", "middle-c")]
    assert runs == [1, 1, 1, 2]


def test_signals_of_a_terminal_are_not_for_the_jobs(toy):
    """The launcher hears them, and asks the jobs to end: each is asked once."""
    os.mkfifo(toy.folder / "pipe")
    toy.has_only(own=stage("rm-tension score pipe out/own --model none"))
    launcher = toy.start("own")
    with (toy.folder / "pipe").open("w"):  # once the job reads it
        servers = psutil.Process(launcher.pid).children()
        (job,) = [job for server in servers for job in server.children()]
        assert os.getpgid(job.pid) == job.pid != os.getpgid(launcher.pid)
    launcher.communicate()
    assert launcher.returncode == 1


def test_whatever_ends_the_writing_of_dvc_lock_loses_no_record(toy, monkeypatch):
    toy.launch()
    before, copies = toy.lock(), []
    monkeypatch.chdir(toy.folder)
    pipeline = Pipeline(["last"])
    pipeline.finish("first")

    def interrupted(data, stream):
        copies.extend(path.read_bytes() for path in RECORDS.iterdir())
        stream.write("schema")
        raise KeyboardInterrupt

    monkeypatch.setattr("dvc.utils.serialize._yaml._dump", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.write()
    assert toy.lock() == before
    # as a SIGKILL at that moment leaves it
    toy.write("dvc.lock", "schema")
    (copy,) = copies
    (RECORDS / "dvc.lock").write_bytes(copy)
    assert "5 up to date" in toy.launch()[1]
    assert (toy.lock(), [*RECORDS.iterdir()]) == (before, [])
    # and somebody made it whole much later
    (RECORDS / "dvc.lock").write_text("old", encoding="utf-8")
    os.utime(RECORDS / "dvc.lock", (0, 0))
    assert "5 up to date" in toy.launch()[1]
    assert (toy.lock(), [*RECORDS.iterdir()]) == (before, [])


def test_each_job_has_a_gpu_of_its_own_of_those_that_are_visible(toy, tmp_path):
    long = tmp_path / ("long" * 30)  # where multiprocessing's sockets have no room
    long.mkdir()
    step = toy.folder / "step.py"
    told = "os.environ['CUDA_VISIBLE_DEVICES']"
    step.write_text(step.read_text().replace("{out.name} {value}", f"{{out.name}} {{{told}}}"))
    for cell in toy.cells:
        toy.order(f"middle-{cell}", "wait")
    launcher = toy.start(CUDA_VISIBLE_DEVICES="5,7,3,-1,2", TMPDIR=str(long))
    toy.wait_for(*(f"waits/middle-{cell}" for cell in toy.cells))
    for cell in toy.cells:
        toy.release(f"middle-{cell}")
    launcher.communicate()
    assert {toy.read(f"middle-{cell}").split()[-1] for cell in toy.cells} == {"5", "7", "3"}


@pytest.mark.parametrize("full", ["out", ".dvc/cache"])
def test_a_full_disk_loses_nothing_that_was_there(toy, full):
    toy.order("middle-b", "much")
    with small_disk(toy.folder / full) as filler:
        code, printed = toy.launch()
        assert code == 1
        assert "No space left on device" in printed
        if full == "out":  # the job's words; nothing half-written is left
            assert "middle@b: failed: exit code 1: " in printed
            names = {path.name for path in (toy.folder / "out").iterdir()}
            assert names == {"filler.lock", "first", "middle-a", "middle-c"}
        else:
            assert "error: DVC: " in printed
        filler.unlink()
        code, printed = toy.launch()
        assert code == 0, printed
        assert toy.runs("first") == 1
        assert toy.read("last").startswith("first 1\nmiddle-a 1\nfirst 1\nmiddle-b 1\nmuch")
        assert "up to date" in toy.dvc("status")


def test_a_terminal_has_one_table_and_nothing_of_dvcs_bars(toy):
    for number in range(200):  # for DVC to hash, with bars on a terminal
        (toy.folder / "data" / str(number)).parent.mkdir(exist_ok=True)
        (toy.folder / "data" / str(number)).write_text(f"{number}\n" * 1000, encoding="utf-8")
    toy.dvc("add", "--quiet", "data")
    (toy.folder / "data" / "new").touch()
    toy.order("middle-b", "wait")
    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("4H", 40, 120, 0, 0))  # rows and columns
    launcher = toy.start("last", "data.dvc", output=its, TERM="xterm")
    os.close(its)
    shown = ""
    with suppress(OSError):  # the end of a terminal that nobody writes to any more
        while text := os.read(ours, 10_000).decode(errors="replace"):
            shown += text
            if ".state/launch/middle@b.log" in shown:
                (toy.folder / "orders/middle-b").unlink(missing_ok=True)
    os.close(ours)
    assert launcher.wait() == 0, shown
    table = shown.rsplit("stage", 1)[1]  # as it was last drawn
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in table.splitlines()]
    counts = {row[0]: row[1] for row in rows if row}
    assert counts == {"first": "1", "middle": "3", "last": "1", "data.dvc": "1"}
    assert "6 done in " in table
    assert not re.search(r"%\||file/s|it/s|Collecting|Checking", shown)
    assert len(shown) < 500_000  # DVC's bars, drawn through the table, were 16 million


def test_a_dry_run_says_what_would_run_also_when_half_is_done(toy):
    code, printed = toy.launch("middle@d", "--dry-run")
    assert code == 1
    assert re.match("error: DVC: .*middle@d.*; did you mean middle@[abc]\\?", printed)
    toy.launch("middle@a")
    printed = toy.launch("last", "--dry-run", "--jobs", "2")[1]
    assert "middle@b: cost unknown\n" in printed
    assert "\n3 of 5 stages would run, 2 at once: about 0 s and 3 of unknown cost\n" in printed
    assert toy.runs("middle-b") == 0


def test_a_file_system_without_locks_is_named_at_once(toy, tmp_path):
    refuse = "import fcntl\ndef flock(*_): raise OSError(95, 'Operation not supported')\n"
    (tmp_path / "sitecustomize.py").write_text(f"{refuse}fcntl.flock = flock\n", encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    code, printed = toy.launch("last", "--dry-run", PYTHONPATH=path)
    assert code == 1
    assert f"error: {toy.folder / '.state'}: its file system has no locks" in printed
