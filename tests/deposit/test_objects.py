"""A tar from anybody fills a cache with what dvc.lock names, and with nothing else."""

import hashlib
import io
import json
import tarfile

import pytest

from rm_tension.base.errors import UserError
from rm_tension.deposit.objects import Filler, outputs_of, pack, select
from rm_tension.score.checkpoints import md5_of_folder

CONTENTS = {"a.csv": b"some numbers", "b.csv": b"more numbers" * 200}
SINGLE = b"a record"


def md5_of(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


SUMS = {name: md5_of(content) for name, content in CONTENTS.items()}
FOLDER = md5_of_folder(SUMS)
LISTING = json.dumps([{"md5": md5, "relpath": name} for name, md5 in sorted(SUMS.items())]).encode()
OUTPUTS = {
    "results/mini": {
        "md5": FOLDER,
        "size": sum(map(len, CONTENTS.values())),
        "nfiles": len(CONTENTS),
    },
    "runs/mini/a.json": {"md5": md5_of(SINGLE), "size": len(SINGLE)},
}


@pytest.fixture
def store(tmp_path):
    """A cache with a folder of two files and a single file."""
    store = tmp_path / "store"
    for content in (*CONTENTS.values(), SINGLE):
        add(store, md5_of(content), content)
    add(store, FOLDER, LISTING)
    return store


def add(store, name, content):
    (store / name[:2]).mkdir(parents=True, exist_ok=True)
    (store / name[:2] / name[2:]).write_bytes(content)


@pytest.fixture
def tar(store, tmp_path):
    pack(select(OUTPUTS, store, 1e9, True).objects, store, tmp_path / "cache.tar")
    return tmp_path / "cache.tar"


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def member(name, content=b"", size=None, **header):
    """The bytes of a tar's member, whatever its header claims."""
    info = tarfile.TarInfo(name)
    info.size = len(content) if size is None else size
    for key, value in header.items():
        setattr(info, key, value)
    form = tarfile.PAX_FORMAT if info.pax_headers else tarfile.GNU_FORMAT
    return info.tobuf(form) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def filled(folder, *members):
    """A filler of a new cache that has read a tar of these members."""
    filler = Filler(OUTPUTS, folder)
    filler.fill(io.BytesIO(b"".join(members) + bytes(2 * tarfile.BLOCKSIZE)))
    return filler


def address(md5):
    return f"files/md5/{md5[:2]}/{md5[2:]}"


RECORD = address(md5_of(SINGLE))


def test_what_is_packed_fills_a_cache_and_what_is_there_undamaged_stays(store, tar, tmp_path):
    new = tmp_path / "new"
    add(new, SUMS["a.csv"], b"damaged")
    add(new, SUMS["b.csv"], CONTENTS["b.csv"])
    (new / SUMS["b.csv"][:2] / SUMS["b.csv"][2:]).chmod(0o444)
    filler = filled(new, tar.read_bytes())
    assert (filler.written, filler.there) == (3, 1)
    assert filler.complete() == [*OUTPUTS]
    files = [path for path in new.rglob("*/*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o444}
    for name in names(store):
        assert (new / name).read_bytes() == (store / name).read_bytes()
    with tarfile.open(tar) as read:  # by tar itself, too: the names are those of .dvc/cache
        assert {f"files/md5/{name}" for name in names(store)} == set(read.getnames())


def test_what_dvc_lock_does_not_name_is_skipped(tmp_path):
    """Files of a folder are known only from its checked list."""
    other = b"of another run"
    filler = filled(
        tmp_path / "new",
        member(address(md5_of(other)), other),
        member(address(SUMS["a.csv"]), CONTENTS["a.csv"]),
        member(RECORD, SINGLE),
    )
    assert (filler.written, filler.skipped) == (1, 2)
    assert names(tmp_path / "new") == {RECORD.removeprefix("files/md5/")}
    assert filler.complete() == ["runs/mini/a.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (member(f"../../{RECORD}", b"x"), "not an object of DVC's cache"),
        (member(f"/{RECORD}", b"x"), "not an object of DVC's cache"),
        (member("files/md5/../../../outside", b"x"), "not an object of DVC's cache"),
        (member("outside", b"x"), "not an object of DVC's cache"),
        (member(RECORD, type=tarfile.SYMTYPE, linkname="/etc/passwd"), "not an object"),
        (member(RECORD, type=tarfile.LNKTYPE, linkname="outside"), "not an object"),
        (member(RECORD, type=tarfile.DIRTYPE), "not an object"),
        (member(RECORD, type=tarfile.CHRTYPE), "not an object"),
        (member(f"files/md5/{'a' * 200}", b"x"), "not an object"),  # in a header of its own
        (member(RECORD, pax_headers={"path": "../outside"}), "not an object"),  # of any size
        (member(RECORD, size=2**40), r"1,099,511,627,776 bytes, of at most 8 by dvc\.lock"),
        (member(address(FOLDER), size=20_000), "20,000 bytes, of at most"),
        (member(RECORD, b"a recorx"), "damaged, its md5 is"),
        (b"<html>not a tar</html>" * 40, "not a tar of DVC's objects"),
        (b"\x01" * 512, "not a tar of DVC's objects"),
    ],
)
def test_what_no_deposit_of_ours_holds_is_refused_and_nothing_is_written(
    content, message, tmp_path
):
    with pytest.raises(UserError, match=message):
        filled(tmp_path / "in" / "new", content)
    assert not names(tmp_path)


def test_after_a_break_reading_goes_on_where_it_was(tar, tmp_path):
    raw = tar.read_bytes()
    filler = Filler(OUTPUTS, tmp_path / "new")
    for end in range(100, len(raw.rstrip(b"\0")), 700):
        with pytest.raises(EOFError):
            filler.fill(io.BytesIO(raw[filler.position : end]))
    filler.fill(io.BytesIO(raw[filler.position :]))
    assert filler.written == 4
    assert filler.complete() == [*OUTPUTS]
    assert not [name for name in names(tmp_path / "new") if "partial" in name]


def test_outputs_are_taken_whole_in_their_order_as_long_as_they_fit(store):
    folder = len(LISTING) + sum(map(len, CONTENTS.values()))
    assert select(OUTPUTS, store, folder, True).outputs == ["results/mini"]
    chosen = select(OUTPUTS, store, folder - 1, {})
    assert (chosen.outputs, [*chosen.left_out]) == (["runs/mini/a.json"], ["results/mini"])
    assert select(OUTPUTS, store, folder + len(SINGLE), True).bytes == folder + len(SINGLE)
    with pytest.raises(UserError, match=r"no output of the profile to be taken.*MB more than fits"):
        select(OUTPUTS, store, 1, True)
    (store / SUMS["b.csv"][:2] / SUMS["b.csv"][2:]).unlink()
    assert select(OUTPUTS, store, 1e9, True).left_out == {"results/mini": "not in DVC's cache"}


def test_outputs_are_those_of_the_profile_that_dvc_caches_the_most_wanted_first():
    paths = ("models/mini/a", "reports/mini", "results/mini", "results/paper", "other/mini")
    outputs = {path: {"md5": "0" * 32, "size": 1} for path in paths}
    assert [*outputs_of(outputs, "mini")] == ["results/mini", "models/mini/a", "other/mini"]


def test_a_damaged_object_is_not_packed(store, tmp_path):
    (store / SUMS["a.csv"][:2] / SUMS["a.csv"][2:]).write_bytes(b"some numberx")
    with pytest.raises(UserError, match="damaged"):
        pack(select(OUTPUTS, store, 1e9, True).objects, store, tmp_path / "cache.tar")
    assert not (tmp_path / "cache.tar").exists()


def test_a_damaged_list_of_a_folder_is_named_and_replaced(store, tar):
    add(store, FOLDER, LISTING[:20])
    with pytest.raises(UserError, match=f"{FOLDER[2:]}: damaged"):
        select(OUTPUTS, store, 1e9, True)
    assert Filler(OUTPUTS, store).complete() == ["runs/mini/a.json"]
    assert filled(store, tar.read_bytes()).complete() == [*OUTPUTS]
