import gzip
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from rm_tension.base.errors import UserError
from rm_tension.base.hub import sha256_of
from rm_tension.base.job import Job
from rm_tension.data import sources
from rm_tension.data.__main__ import run
from rm_tension.data.hh_rlhf import cap_pairs
from rm_tension.data.sources import HH_SOURCES
from samples import changed
from small_hub import SMALL, fill_cache, go_offline, hub_source, make_job

HUB = hub_source()
COLUMNS = ["dataset", "subset", "item_id", "prompt", "answers", "n_chosen"]
STAND_INS = changed(HUB, stand_ins="twelve rows of each")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "repository"


@pytest.fixture
def small_files(tmp_path, monkeypatch):
    """Those in the hub cache at tmp_path / "hub"."""
    go_offline(tmp_path / "hub", monkeypatch)
    return fill_cache(tmp_path / "hub", tmp_path / "scratch")


@pytest.fixture
def hub(tmp_path, small_files):
    return tmp_path / "hub"


def provenance(job: Job) -> dict:
    return json.loads(job.paths.provenance.read_text(encoding="utf-8"))


def snapshot(cache: Path, name: str) -> Path:
    return next(cache.glob(f"*/snapshots/*/{name}"))


def assert_nothing_left(job: Job) -> None:
    assert not [path for path in job.paths.root.rglob("*") if path.is_file()]


def test_the_miniature_end_to_end(root):
    job = make_job(root, SMALL)
    run(job)
    train = pd.read_parquet(job.paths.texts("train"))
    assert train.columns.tolist() == COLUMNS
    assert train["item_id"].is_unique
    assert train["item_id"].iloc[0] == "helpful-base/train/0"
    assert set(train["subset"]) == set(HH_SOURCES)
    items = pd.read_parquet(job.paths.texts("benchmarks"))
    assert items.columns.tolist() == COLUMNS
    assert not items.duplicated(["dataset", "item_id"]).any()
    found = provenance(job)
    assert (found["source"], found["stand_ins"]) == ("miniature", None)
    assert not any(file["official"] for file in found["files"])
    metrics = json.loads(job.paths.run("data").read_text(encoding="utf-8"))["metrics"]
    assert metrics["rows"]["train"] == ("hh-rlhf/" + train["subset"]).value_counts(sort=False).to_dict()
    assert metrics["rows"]["benchmarks"]["reward-bench-2/ties"] == 4


def test_stand_ins_are_refused_unless_accepted(root, hub):
    job = make_job(root, HUB)
    with pytest.raises(UserError, match=r"helpful-base: 12 rows, expected 43,835\n.*data.source.stand_ins"):
        run(job)
    assert_nothing_left(job)
    job = make_job(root, STAND_INS)
    run(job)
    found = provenance(job)
    assert found["stand_ins"] == "twelve rows of each"
    assert not any(file["official"] for file in found["files"])
    assert found["files"][0]["commit"] == HUB.hh_rlhf.revision
    assert found["files"][0]["deviations"][1] == "helpful-base: 12 rows, expected 43,835"


def test_official_files_are_recorded_as_such(root, small_files, monkeypatch):
    official = tuple(replace(file.raw, digest=sha256_of(file.path)) for file in small_files)
    monkeypatch.setattr(sources, "OFFICIAL", official)
    job = make_job(root, HUB)
    run(job)
    found = provenance(job)
    assert found["stand_ins"] is None
    assert all(file["official"] and not file["deviations"] for file in found["files"])
    assert [file["sha256"] for file in found["files"]] == [file.digest for file in official]
    sums = [line.split("  ") for line in job.paths.hub_sums.read_text(encoding="utf-8").splitlines()]
    assert sorted(sha256 for sha256, _ in sums) == sorted(file.digest for file in official)
    assert {name.split("/")[0] for _, name in sums} == {"datasets"}


def test_a_broken_file_is_refused_even_as_a_stand_in_and_leaves_nothing(root, hub):
    path = snapshot(hub, "harmless-base/test.jsonl.gz")
    path.write_bytes(path.read_bytes()[:-12])
    job = make_job(root, STAND_INS)
    with pytest.raises(UserError, match=r"harmless-base/test\.jsonl\.gz: broken gzip data"):
        run(job)
    assert_nothing_left(job)


def test_an_error_keeps_the_data_of_an_earlier_run(root, hub):
    job = make_job(root, STAND_INS)
    run(job)
    before = provenance(job)
    snapshot(hub, "total_dataset.json").unlink()
    with pytest.raises(UserError, match="neither on the hub nor in its cache"):
        run(job)
    assert provenance(job) == before


def test_missing_subsets_are_stand_ins(root, hub):
    path = snapshot(hub, "total_dataset.json")
    rows = [row for row in json.loads(path.read_text(encoding="utf-8")) if row["domain"] == "chat"]
    path.write_text(json.dumps(rows), encoding="utf-8")
    job = make_job(root, STAND_INS)
    run(job)
    items = pd.read_parquet(job.paths.texts("benchmarks"))
    assert set(items.loc[items["dataset"] == "rm-bench", "subset"]) == {"chat"}
    assert "code: 0 rows, expected 228" in provenance(job)["files"][-1]["deviations"]


@pytest.mark.parametrize(("split", "kept"), [("train", [1]), ("test", [0, 1, 2])])
def test_training_pairs_without_a_preference_are_dropped_and_counted_and_test_pairs_stay(root, hub, split, kept):
    path = snapshot(hub, f"helpful-online/{split}.jsonl.gz")
    lines = [b'{"chosen": "same", "rejected": "same"}', b'{"chosen": "a", "rejected": "b"}']
    path.write_bytes(gzip.compress(b"\n".join([*lines, lines[0]])))
    job = make_job(root, STAND_INS)
    run(job)
    (entry,) = [f for f in provenance(job)["files"] if f["filename"] == f"helpful-online/{split}.jsonl.gz"]
    assert entry["rows"] == {"helpful-online": 3}
    assert entry["dropped"] == {"chosen == rejected": 3 - len(kept)}
    pairs = pd.read_parquet(job.paths.texts(split))
    online = pairs[pairs["subset"] == "helpful-online"]
    assert online["item_id"].tolist() == [f"helpful-online/{split}/{row}" for row in kept]


def test_caps(root):
    job = make_job(root, SMALL, max_train_pairs=10, max_test_pairs=2, max_items_per_task=3)
    run(job)
    train, test = (pd.read_parquet(job.paths.texts(split)) for split in ("train", "test"))
    assert train["subset"].str.startswith("helpful").sum() == 10
    assert train["subset"].str.startswith("harmless").sum() == 10
    assert set(test["subset"].value_counts()) == {2}
    items = pd.read_parquet(job.paths.texts("benchmarks"))
    sizes = items.groupby(["dataset", "subset"]).size()
    assert sizes.pop(("reward-bench-2", "ties")) == 2  # whole pairs of ref:k and tied:k
    assert set(sizes) == {3}
    assert provenance(job)["caps"] == {"max_train_pairs": 10, "max_test_pairs": 2, "max_items_per_task": 3}


def test_a_cap_is_a_sample_in_the_old_order():
    sizes = {"helpful-base": 30, "harmless-base": 5}
    pairs = pd.DataFrame({"subset": [source for source, n in sizes.items() for _ in range(n)]})
    kept = cap_pairs(pairs, [["helpful-base"], ["harmless-base"]], 8)
    assert kept["subset"].value_counts().to_dict() == {"helpful-base": 8, "harmless-base": 5}
    assert kept.index.is_monotonic_increasing
    assert kept.index.tolist() != list(range(8)) + list(range(30, 35))
    pd.testing.assert_frame_equal(cap_pairs(pairs, [["helpful-base"], ["harmless-base"]], 8), kept)
