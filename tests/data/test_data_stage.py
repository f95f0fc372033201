import gzip
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from rm_tension.base.config import HH_SOURCES, Pairs
from rm_tension.base.errors import UserError
from rm_tension.base.hub import sha256_of
from rm_tension.base.job import Job
from rm_tension.data import sources
from rm_tension.data.hh_rlhf import cap_pairs
from rm_tension.data.stage import run
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
    assert (
        metrics["rows"]["train"]
        == ("hh-rlhf/" + train["subset"]).value_counts(sort=False).to_dict()
    )
    assert metrics["rows"]["benchmarks"]["reward-bench-2/ties"] == 4


def test_stand_ins_are_refused_unless_accepted(root, hub):
    job = make_job(root, HUB)
    with pytest.raises(
        UserError, match=r"helpful-base: 12 rows, expected 43,835\n.*data.source.stand_ins"
    ):
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


@pytest.mark.parametrize("split", ["train", "test"])
def test_identical_pairs_stay_and_are_counted(root, hub, split):
    path = snapshot(hub, f"helpful-base/{split}.jsonl.gz")
    lines = [b'{"chosen": "same", "rejected": "same"}', b'{"chosen": "a", "rejected": "b"}']
    path.write_bytes(gzip.compress(b"\n".join([*lines, lines[0]])))
    job = make_job(root, STAND_INS)
    run(job)
    (entry,) = [
        f for f in provenance(job)["files"] if f["filename"] == f"helpful-base/{split}.jsonl.gz"
    ]
    assert (entry["rows"], entry["identical"]) == ({"helpful-base": 3}, 2)
    pairs = pd.read_parquet(job.paths.texts(split))
    kept = pairs[pairs["subset"] == "helpful-base"]
    assert kept["item_id"].tolist() == [f"helpful-base/{split}/{row}" for row in range(3)]


def of_objectives(**files):
    """grid.pairs of the same files for training and tests."""
    return {objective: Pairs(train=sources, test=sources) for objective, sources in files.items()}


def test_caps(root, capsys):
    job = make_job(root, SMALL, max_train_pairs=16, max_test_pairs=4, max_items_per_task=3)
    run(job)
    train, test = (pd.read_parquet(job.paths.texts(split)) for split in ("train", "test"))
    # a third of 12, 6, 6 and 24 pairs; of the test files, two are named, with 4 pairs each
    shares = {
        "helpful-base": 4,
        "helpful-online": 2,
        "helpful-rejection-sampled": 2,
        "harmless-base": 8,
    }
    assert train["subset"].value_counts().to_dict() == shares
    assert test["subset"].value_counts().to_dict() == {"helpful-base": 2, "harmless-base": 2}
    items = pd.read_parquet(job.paths.texts("benchmarks"))
    sizes = items.groupby(["dataset", "subset"]).size()
    assert sizes.pop(("reward-bench-2", "ties")) == 2  # whole pairs of ref:k and tied:k
    assert set(sizes) == {3}
    assert provenance(job)["caps"] == {
        "max_train_pairs": 16,
        "max_test_pairs": 4,
        "max_items_per_task": 3,
    }
    assert capsys.readouterr().out.splitlines() == [
        "helpful, train: 8 pairs (helpful-base 4, helpful-online 2, helpful-rejection-sampled 2)",
        "harmless, train: 8 pairs (harmless-base 8)",
        "mixed, train: 16 pairs (helpful-base 4, helpful-online 2, helpful-rejection-sampled 2, harmless-base 8)",
        "helpful, test: 2 pairs (helpful-base 2)",
        "harmless, test: 2 pairs (harmless-base 2)",
        "mixed, test: 4 pairs (helpful-base 2, harmless-base 2)",
    ]


def test_a_cap_keeps_the_paper_s_mixture():
    """43,835 + 22,007 + 52,421 helpful pairs for 42,537 harmless ones: 2.78 to 1 (METHOD.md section 1)."""
    sizes = (43835, 22007, 52421, 42537)
    rows = dict(zip(HH_SOURCES, sizes, strict=True))
    pairs = pd.DataFrame({"subset": [source for source, n in rows.items() for _ in range(n)]})
    kept = cap_pairs(pairs, 3000)["subset"].value_counts().to_dict()
    assert kept == {
        "helpful-base": 818,
        "helpful-online": 410,
        "helpful-rejection-sampled": 978,
        "harmless-base": 794,
    }


@pytest.mark.parametrize("cap", [None, 20])
def test_an_objective_has_what_was_drawn_of_its_files_whatever_the_others_name(root, cap):
    """With a cap, mixed used to lose the files that helpful does not name, and what two name was written twice."""
    job = make_job(root, SMALL, max_train_pairs=cap)
    named = of_objectives(
        helpful=("helpful-base",),
        harmless=("harmless-base", "helpful-base"),
        mixed=("helpful-base", "helpful-online", "harmless-base"),
    )
    job = replace(job, params=changed(job.params, grid=changed(job.params.grid, pairs=named)))
    run(job)
    train = pd.read_parquet(job.paths.texts("train"))
    assert train["item_id"].is_unique
    # 12, 6 and 24 of 42: 5.7, 2.9 and 11.4 of 20; the fourth file is nobody's
    expected = {"helpful-base": 6, "helpful-online": 3, "harmless-base": 11}
    whole = {"helpful-base": 12, "helpful-online": 6, "harmless-base": 24}
    assert train["subset"].value_counts().to_dict() == (expected if cap else whole)


def test_a_cap_that_leaves_an_objective_nothing_is_refused(root):
    job = make_job(root, SMALL, max_train_pairs=1)
    with pytest.raises(
        UserError,
        match=r"profiles\.mini\.data\.max_train_pairs, 1, leaves the helpful objective no pair",
    ):
        run(job)
    assert_nothing_left(job)


def test_a_cap_is_a_sample_in_the_old_order():
    sizes = {"helpful-base": 30, "harmless-base": 10}
    pairs = pd.DataFrame({"subset": [source for source, n in sizes.items() for _ in range(n)]})
    kept = cap_pairs(pairs, 20)
    assert kept["subset"].value_counts().to_dict() == {"helpful-base": 15, "harmless-base": 5}
    assert kept.index.is_monotonic_increasing
    assert kept.index.tolist() != list(range(15)) + list(range(30, 35))
    pd.testing.assert_frame_equal(cap_pairs(pairs, 20), kept)
    pd.testing.assert_frame_equal(cap_pairs(pairs, 40), pairs)
