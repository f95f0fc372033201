"""What goes wrong between a remote and a disk: damaged files, servers that hang up, full disks."""

import subprocess
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
            self.close_connection = True


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
