"""DVC's cached objects as one tar, and a cache filled from such a tar.

A deposit has flat file names and at most 100 files, so a DVC remote does not fit into it, and one
tar of the cache's objects does. The tar may come from anybody: only regular files that dvc.lock
names by md5 and bounds in size are written, each under a path that is made of its checked md5.
"""

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from rm_tension.base.errors import UserError
from rm_tension.base.files import atomic_write
from rm_tension.base.lockfile import file_md5

# The folders of a profile's outputs, the most wanted per byte first: what `max_bytes` cuts
KINDS = ("results", "runs", "rewards", "margins", "activations", "data", "tokens", "models")
TEXTS = ("data", "tokens")
IN_GIT = "reports"  # which DVC records and does not cache
MEMBER = re.compile(r"files/md5/([0-9a-f]{2})/([0-9a-f]{30}(?:\.dir)?)")
ENTRY_BYTES = 5000  # of a file in a folder's list: its md5, a path of at most 4,096 bytes, JSON
BLOCK = tarfile.BLOCKSIZE
CHUNK = 2**20


@dataclass
class Selection:
    """What of a profile goes into a tar, and what does not and why; `objects` are md5s to bytes."""

    objects: dict[str, int] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(self.objects.values())


def outputs_of(outputs: Mapping[str, Any], profile: str) -> dict[str, Any]:
    """Return a profile's cached outputs among those of dvc.lock, by path, in the order of KINDS."""

    def rank(path: str) -> tuple[int, str]:
        kind = path.split("/")[0]
        return KINDS.index(kind) if kind in KINDS else len(KINDS), path

    own = [path for path in outputs if path.split("/")[1:2] == [profile]]
    return {path: outputs[path] for path in sorted(own, key=rank) if not path.startswith(IN_GIT)}


def select(
    outputs: Mapping[str, Any], store: Path, max_bytes: float, with_texts: bool
) -> Selection:
    """Choose outputs, in their order, as long as they fit; `store` holds the cached objects.

    An output is taken with all of its objects or left out. Raise UserError if nothing is taken.
    """
    selection = Selection()
    for path, output in outputs.items():
        if path.split("/")[0] in TEXTS and not with_texts:
            selection.left_out[path] = "the texts of others; --texts takes them"
            continue
        try:
            sizes = _sizes_of(output["md5"], store)
        except FileNotFoundError:
            selection.left_out[path] = "not in DVC's cache"
            continue
        added = sum(size for md5, size in sizes.items() if md5 not in selection.objects)
        if selection.bytes + added > max_bytes:
            selection.left_out[path] = f"{added / 1e6:.1f} MB more than fits"
        else:
            selection.objects |= sizes
            selection.outputs.append(path)
    if not selection.outputs:
        raise UserError(f"{store}: no output of the profile to be taken: {selection.left_out}")
    return selection


def _sizes_of(md5: str, store: Path) -> dict[str, int]:
    """Return bytes of an output's objects by md5.

    Raise FileNotFoundError if one is missing, UserError if a list of a folder's files is damaged.
    """
    sizes = {md5: _place(store, md5).stat().st_size}
    if md5.endswith(".dir"):
        _refuse_damaged(store, md5, file_md5(_place(store, md5)))
        for listed in _listed(store, md5):
            sizes[listed] = _place(store, listed).stat().st_size
    return sizes


def _place(store: Path, md5: str) -> Path:
    """Return where a cache keeps an object."""
    return store / md5[:2] / md5[2:]


def _refuse_damaged(store: Path, md5: str, found: str) -> None:
    if found != md5.removesuffix(".dir"):
        raise UserError(f"{_place(store, md5)}: damaged; remove it and run its stage again")


def _listed(store: Path, folder: str) -> list[str]:
    """Return the md5s in DVC's list of a folder's files."""
    return [entry["md5"] for entry in json.loads(_place(store, folder).read_bytes())]


def pack(objects: Collection[str], store: Path, path: Path) -> None:
    """Write objects to a tar, lists of folders first: the same bytes from the same objects.

    Raise UserError if an object is not what its name says.
    """
    with (
        atomic_write(path) as partial,
        tarfile.open(partial, "w", format=tarfile.GNU_FORMAT) as tar,  # no limit of 8 GB a file
    ):
        for md5 in sorted(objects, key=lambda name: (not name.endswith(".dir"), name)):
            info = tarfile.TarInfo(f"files/md5/{md5[:2]}/{md5[2:]}")
            info.mode = 0o444
            with _place(store, md5).open("rb") as file:
                info.size = os.fstat(file.fileno()).st_size
                source = _Hashed(file)
                tar.addfile(info, cast(IO[bytes], source))
            _refuse_damaged(store, md5, source.md5.hexdigest())


class _Hashed:
    """A file whose md5 is taken while it is read: a deposit has tens of GB to read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.md5 = file, hashlib.md5(usedforsecurity=False)

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.md5.update(block)
        return block


def _copy(source: IO[bytes], size: int, target: IO[bytes] | None = None) -> str:
    """Copy so many bytes and return their md5; raise EOFError if there are fewer."""
    md5 = hashlib.md5(usedforsecurity=False)
    for chunk in _chunks(source, size):
        md5.update(chunk)
        if target:
            target.write(chunk)
    return md5.hexdigest()


def _chunks(source: IO[bytes], size: int) -> Iterator[bytes]:
    while size:
        chunk = source.read(min(size, CHUNK))
        if not chunk:
            raise EOFError(f"ends {size:,} bytes too early")
        size -= len(chunk)
        yield chunk


class Filler:
    """Fills a cache with the objects of some outputs from a tar, and counts what it did.

    `position` is the first byte of the tar that is not dealt with: reading may go on from there.
    """

    def __init__(self, outputs: Mapping[str, Any], store: Path) -> None:
        self.position = 0
        self.written = self.there = self.skipped = 0
        self._outputs, self._store = outputs, store
        self._most: dict[str, int] = {}  # bytes of each object that may be written
        for output in outputs.values():
            is_folder = output["md5"].endswith(".dir")
            size = ENTRY_BYTES * output["nfiles"] + 2 if is_folder else output["size"]
            self._most[output["md5"]] = size

    def fill(self, tar: IO[bytes]) -> None:
        """Read a tar from `position` to its end.

        Raise EOFError if it ends too early, UserError for what no deposit of ours holds:
        links, other names, objects that are too large or are not what their md5 says.
        """
        while any(block := b"".join(_chunks(tar, BLOCK))):
            md5, size = self._header(block)
            if md5 not in self._most:
                self.skipped += 1
                _copy(tar, size)
            elif size > self._most[md5]:
                raise UserError(
                    f"{md5}: {size:,} bytes, of at most {self._most[md5]:,} by dvc.lock; "
                    "nothing more is read: take the tar from another place"
                )
            else:
                self._object(tar, md5, size)
            _copy(tar, -size % BLOCK)
            self.position += BLOCK + size + -size % BLOCK

    @staticmethod
    def _header(block: bytes) -> tuple[str, int]:
        """Return md5 and size of a member; header by header, for tarfile obeys those of others."""
        try:
            info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        except (tarfile.HeaderError, ValueError) as error:
            raise UserError(f"not a tar of DVC's objects: {error}") from None
        name = MEMBER.fullmatch(info.name)
        if info.type != tarfile.REGTYPE or not name or info.size < 0:
            raise UserError(f"{info.name!r}: not an object of DVC's cache, so the tar is not ours")
        return name[1] + name[2], info.size

    def _object(self, tar: IO[bytes], md5: str, size: int) -> None:
        place, expected = _place(self._store, md5), md5.removesuffix(".dir")
        if place.is_file() and file_md5(place) == expected:
            self.there += 1
            _copy(tar, size)
        else:
            with atomic_write(place) as partial:
                with partial.open("xb") as file:
                    received = _copy(tar, size, file)
                if received != expected:
                    raise UserError(f"{md5}: damaged, its md5 is {received}; nothing of it is kept")
            place.chmod(0o444)  # as DVC does, which takes others for changed
            self.written += 1
        if md5.endswith(".dir"):
            self._admit(md5)

    def _admit(self, folder: str) -> None:
        """Admit the files of a folder: dvc.lock gives the bytes of all together."""
        most = max(out["size"] for out in self._outputs.values() if out["md5"] == folder)
        for md5 in _listed(self._store, folder):
            if not re.fullmatch("[0-9a-f]{32}", md5):  # it becomes a path
                raise UserError(f"{folder}: lists {md5!r}, which is not an md5")
            self._most[md5] = max(most, self._most.get(md5, 0))

    def complete(self) -> list[str]:
        """Return the outputs of which the cache now has every object."""
        return [path for path, output in self._outputs.items() if self._has(output["md5"])]

    def _has(self, md5: str) -> bool:
        try:
            return bool(_sizes_of(md5, self._store))
        except (FileNotFoundError, UserError):
            return False
