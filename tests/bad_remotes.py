"""What goes wrong between a remote and a disk: damaged files, servers that hang up or stall, a disk without space."""

import subprocess
import threading
from contextlib import contextmanager

import pytest

from checkout import Handler

LARGE = 50_000  # bytes; of the small repository's files only the weights are larger


def damage(path, how):
    """Make a stored file corrupted (one bit), truncated (which no server tells from whole) or missing."""
    raw = bytearray(path.read_bytes())
    path.unlink()  # DVC makes what it stores read-only
    if how == "corrupted":
        raw[len(raw) // 2] ^= 1
    elif how == "truncated":
        del raw[len(raw) // 2 :]
    if how != "missing":
        path.write_bytes(raw)


class HangUp(Handler):
    """Sends half of a large file and closes the connection."""

    def copyfile(self, source, outputfile):
        raw = source.read()
        if len(raw) < LARGE:
            outputfile.write(raw)
        else:
            outputfile.write(raw[: len(raw) // 2])
            outputfile.flush()
            self.then()

    def then(self):
        self.close_connection = True


def make_stalling():
    """A handler that sends half of a large file and no more until `over` is set; `half_sent` says that it has."""

    class Stall(HangUp):
        half_sent, over = threading.Event(), threading.Event()

        def then(self):
            self.half_sent.set()
            self.over.wait()

    return Stall


def kill_in_the_middle(stalling, command, folder):
    """Run a command in a folder and kill it, as `kill -9` does, once half of a large file is here."""
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not stalling.half_sent.wait(0.1):
            assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        stalling.over.set()


@contextmanager
def small_disk(folder):
    """A file system of 256 KiB, mounted on a new folder; all but 56 KiB are taken by a file that comes out of it."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        filler = folder / "filler.lock"
        filler.write_bytes(bytes(200 * 1024))
        yield filler
    finally:
        subprocess.run(["umount", str(folder)], check=True)
