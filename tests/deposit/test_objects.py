"""A tar from anybody fills a cache with what dvc.lock names, and with nothing else."""

import hashlib
import io
import json
import tarfile

import pytest

from rm_tension.base.errors import UserError
from rm_tension.deposit.objects import Filler, InterruptedTarError, outputs_of, pack, select
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
    pack(select(OUTPUTS, store, 1e9, {}).objects, store, tmp_path / "cache.tar")
    return tmp_path / "cache.tar"


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def made(*members):
    """A tar of (name, content) or of whole TarInfos."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            name, content = member
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    file.seek(0)
    return file


def address(md5):
    return f"files/md5/{md5[:2]}/{md5[2:]}"


def test_what_is_packed_fills_an_empty_cache(store, tar, tmp_path):
    filler = Filler(OUTPUTS, tmp_path / "new")
    with tar.open("rb") as stream:
        filler.fill(stream)
    assert names(tmp_path / "new") == names(store)
    assert filler.complete() == [*OUTPUTS]
    assert all(
        p.stat().st_mode & 0o777 == 0o444 for p in (tmp_path / "new").rglob("*/*") if p.is_file()
    )
    with tarfile.open(tar) as read:  # by tar itself, too: the names are those of .dvc/cache
        assert {f"files/md5/{name}" for name in names(store)} == set(read.getnames())


def test_objects_that_are_there_stay_and_damaged_ones_are_replaced(tar, tmp_path):
    new = tmp_path / "new"
    add(new, SUMS["a.csv"], b"damaged")
    add(new, SUMS["b.csv"], CONTENTS["b.csv"])
    filler = Filler(OUTPUTS, new)
    with tar.open("rb") as stream:
        filler.fill(stream)
    assert (filler.written, filler.there) == (3, 1)
    assert (new / SUMS["a.csv"][:2] / SUMS["a.csv"][2:]).read_bytes() == CONTENTS["a.csv"]


def test_what_dvc_lock_does_not_name_is_skipped(tmp_path):
    other = b"of another run"
    filler = Filler(OUTPUTS, tmp_path / "new")
    filler.fill(made((address(md5_of(other)), other), (address(md5_of(SINGLE)), SINGLE)))
    assert (filler.written, filler.skipped) == (1, 1)
    assert names(tmp_path / "new") == {address(md5_of(SINGLE)).removeprefix("files/md5/")}
    assert filler.complete() == ["runs/mini/a.json"]


def test_files_of_a_folder_are_known_only_from_its_checked_list(tmp_path):
    filler = Filler(OUTPUTS, tmp_path / "new")
    filler.fill(made((address(SUMS["a.csv"]), CONTENTS["a.csv"])))
    assert filler.skipped == 1


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "member",
    [
        (f"../../{address(SUMS['a.csv'])}", b"x"),
        (f"/{address(SUMS['a.csv'])}", b"x"),
        ("files/md5/../../../outside", b"x"),
        ("outside", b"x"),
        special(address(md5_of(SINGLE)), tarfile.SYMTYPE, "/etc/passwd"),
        special(address(md5_of(SINGLE)), tarfile.LNKTYPE, "outside"),
        special(address(md5_of(SINGLE)), tarfile.DIRTYPE),
        special(address(md5_of(SINGLE)), tarfile.CHRTYPE),
        (f"files/md5/{'a' * 200}", b"x"),  # a long name, in a header of its own
    ],
    ids=lambda member: getattr(member, "name", member[0] if isinstance(member, tuple) else None),
)
def test_links_and_other_names_are_refused_and_nothing_is_written(member, tmp_path):
    with pytest.raises(UserError, match="not an object of DVC's cache"):
        Filler(OUTPUTS, tmp_path / "in" / "new").fill(made(member))
    assert not names(tmp_path)


def test_pax_headers_which_may_claim_any_size_are_not_obeyed(tmp_path):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo(address(md5_of(SINGLE)))
        info.pax_headers = {"path": "../outside"}
        tar.addfile(info)
    file.seek(0)
    with pytest.raises(UserError, match="not an object"):
        Filler(OUTPUTS, tmp_path / "new").fill(file)


def test_an_object_larger_than_dvc_lock_allows_is_refused_before_it_is_read(tmp_path):
    info = tarfile.TarInfo(address(md5_of(SINGLE)))
    info.size = 2**40
    with pytest.raises(UserError, match=r"1,099,511,627,776 bytes, of at most 8 by dvc\.lock"):
        Filler(OUTPUTS, tmp_path / "new").fill(io.BytesIO(info.tobuf(tarfile.GNU_FORMAT)))
    listing = tarfile.TarInfo(address(FOLDER))
    listing.size = 20_000
    with pytest.raises(UserError, match="20,000 bytes, of at most"):
        Filler(OUTPUTS, tmp_path / "new").fill(io.BytesIO(listing.tobuf(tarfile.GNU_FORMAT)))


def test_an_object_that_is_not_its_md5_is_refused_and_not_kept(tmp_path):
    with pytest.raises(UserError, match="damaged, its md5 is"):
        Filler(OUTPUTS, tmp_path / "new").fill(made((address(md5_of(SINGLE)), b"a recorx")))
    assert not names(tmp_path)


@pytest.mark.parametrize("content", [b"<html>not a tar</html>" * 40, b"\x01" * 512])
def test_what_is_no_tar_is_named(content, tmp_path):
    with pytest.raises(UserError, match="not a tar of DVC's objects"):
        Filler(OUTPUTS, tmp_path / "new").fill(io.BytesIO(content))


def test_after_a_break_reading_goes_on_where_it_was(tar, tmp_path):
    raw = tar.read_bytes()
    filler = Filler(OUTPUTS, tmp_path / "new")
    for end in range(100, len(raw) - 1024, 700):
        with pytest.raises(InterruptedTarError):
            filler.fill(io.BytesIO(raw[filler.position : end]))
    filler.fill(io.BytesIO(raw[filler.position :]))
    assert filler.written == 4
    assert filler.complete() == [*OUTPUTS]
    assert not [name for name in names(tmp_path / "new") if "partial" in name]


def test_outputs_are_taken_whole_in_their_order_as_long_as_they_fit(store):
    folder = len(LISTING) + sum(map(len, CONTENTS.values()))
    assert select(OUTPUTS, store, folder, {}).outputs == ["results/mini"]
    chosen = select(OUTPUTS, store, folder - 1, {})
    assert (chosen.outputs, [*chosen.left_out]) == (["runs/mini/a.json"], ["results/mini"])
    assert select(OUTPUTS, store, folder + len(SINGLE), {}).bytes == folder + len(SINGLE)
    (store / SUMS["b.csv"][:2] / SUMS["b.csv"][2:]).unlink()
    assert select(OUTPUTS, store, 1e9, {}).left_out == {"results/mini": "not in DVC's cache"}


def test_outputs_are_those_of_the_profile_that_dvc_caches_the_most_wanted_first():
    paths = ("models/mini/a", "reports/mini", "results/mini", "results/paper", "other/mini")
    outputs = {path: {"md5": "0" * 32, "size": 1} for path in paths}
    assert [*outputs_of(outputs, "mini")] == ["results/mini", "models/mini/a", "other/mini"]


def test_a_damaged_object_is_not_packed(store, tmp_path):
    (store / SUMS["a.csv"][:2] / SUMS["a.csv"][2:]).write_bytes(b"some numberx")
    with pytest.raises(UserError, match="damaged"):
        pack(select(OUTPUTS, store, 1e9, {}).objects, store, tmp_path / "cache.tar")
    assert not (tmp_path / "cache.tar").exists()


def test_a_damaged_list_of_a_folder_is_named_and_replaced(store, tar):
    add(store, FOLDER, LISTING[:20])
    with pytest.raises(UserError, match=f"results/mini: {FOLDER}: damaged"):
        select(OUTPUTS, store, 1e9, {})
    filler = Filler(OUTPUTS, store)
    assert filler.complete() == ["runs/mini/a.json"]
    with tar.open("rb") as file:
        filler.fill(file)
    assert filler.complete() == [*OUTPUTS]
