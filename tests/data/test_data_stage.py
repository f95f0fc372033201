"""From raw files of the hub or of the miniature to three tables and their provenance."""

import gzip
import json
from dataclasses import replace

import pandas as pd
import pytest

from rm_tension.base.errors import UserError
from rm_tension.base.hub import sha256_of
from rm_tension.data import sources
from rm_tension.data.pairs import cap_pairs
from rm_tension.data.sources import OFFICIAL, deviations
from rm_tension.data.stage import run
from rm_tension.paper.pairs import SOURCES
from rm_tension.paper.tasks import SUBSETS, TASKS
from samples import changed
from small_hub import SMALL, fill_cache, go_offline, hub_source, make_job

HUB = hub_source()
STAND_INS = changed(HUB, stand_ins="twelve rows of each")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "repository"


@pytest.fixture
def small_files(tmp_path, monkeypatch):
    """Those in the hub cache, whose name a pattern or the search for a commit might misread."""
    cache = tmp_path / "snapshots" / "[hub]"
    go_offline(cache, monkeypatch)
    return fill_cache(cache, tmp_path / "[scratch]")


@pytest.fixture
def cached(tmp_path, small_files):
    """Find a file in the hub cache."""
    return lambda name: next((tmp_path / "snapshots" / "[hub]").glob(f"*/snapshots/*/{name}"))


def results(job):
    """Run the stage; its provenance, and the sizes of the subsets in each table."""
    run(job)
    tables = {s: pd.read_parquet(job.paths.texts(s)) for s in ("train", "test", "benchmarks")}
    assert not any(table.duplicated(["dataset", "item_id"]).any() for table in tables.values())
    sizes = {s: table["subset"].value_counts(sort=False).to_dict() for s, table in tables.items()}
    return json.loads(job.paths.provenance.read_text(encoding="utf-8")), sizes, tables


def refuse(job, message):
    with pytest.raises(UserError, match=message):
        run(job)
    assert not [path for path in job.paths.root.rglob("*") if path.is_file()]


def test_the_official_files_and_tasks():
    rows = {file.name: file.rows for file in OFFICIAL}
    assert sum(rows[f"{source}/train.jsonl.gz"][source] for source in SOURCES) == 160_800
    sizes = [sum(file.rows.values()) for file in OFFICIAL if file.split == "benchmarks"]
    assert (len(OFFICIAL), sizes) == (11, [2985, 1865, 1327])
    used = [subset for task in TASKS for subset in task.subsets]
    unused = {subset.name for subset in SUBSETS} - {subset.name for subset in used}
    assert len(used) == len(set(used))
    languages = ("cpp", "go", "java", "js", "python", "rust")
    assert unused == {"code", "ties", *(f"hep-{language}" for language in languages)}


def test_a_sha256_and_rows_are_compared():
    file = replace(OFFICIAL[0], rows={"a": 4, "b": 2}, sha256="0" * 64)
    assert deviations(file, "0" * 64, {"a": 4, "b": 2}) == []
    assert deviations(replace(file, sha256=None), "1" * 64, {"a": 4, "b": 2}) == []
    faults = deviations(file, "1" * 64, {"a": 5})
    assert faults[0] == f"sha256 {'1' * 64} is not that of the expected file ({'0' * 64})"
    assert faults[1:] == ["a: 5 rows, expected 4", "b: 0 rows, expected 2"]


def test_the_miniature(root):
    job = make_job(root, SMALL)
    provenance, sizes, tables = results(job)
    assert tables["train"]["item_id"].iloc[0] == "helpful-base/train/0"
    assert sizes["train"] == SMALL.train_pairs
    assert (provenance["source"], provenance["stand_ins"]) == ("miniature", None)
    assert not any(file["official"] for file in provenance["files"])
    metrics = json.loads(job.paths.run("data").read_text(encoding="utf-8"))["metrics"]
    assert metrics["rows"] == provenance["rows"]
    assert metrics["rows"]["train"] == {f"hh-rlhf/{s}": n for s, n in sizes["train"].items()}
    assert metrics["rows"]["benchmarks"]["reward-bench-2/ties"] == 4


@pytest.mark.usefixtures("small_files")
def test_stand_ins_are_refused_unless_accepted(root):
    rows = r"helpful-base: 12 rows, expected 43,835\n[^;]*data.source.stand_ins"
    refuse(make_job(root, HUB), rows)
    provenance, _, _ = results(make_job(root, STAND_INS))
    first, *others = provenance["files"]
    assert provenance["stand_ins"] == "twelve rows of each"
    assert not any(file["official"] for file in (first, *others))
    assert first["commit"] == HUB.repositories["hh-rlhf"].revision
    assert others[-1]["commit"] == "0" * 40  # `main`, resolved
    assert first["deviations"][1] == "helpful-base: 12 rows, expected 43,835"


def test_official_files_are_recorded_as_such(root, small_files, monkeypatch):
    official = tuple(replace(file.raw, sha256=sha256_of(file.path)) for file in small_files)
    monkeypatch.setattr(sources, "OFFICIAL", official)
    provenance, _, _ = results(make_job(root, HUB))
    assert provenance["stand_ins"] is None
    assert all(file["official"] and not file["deviations"] for file in provenance["files"])
    assert [f["sha256"] for f in provenance["files"]] == [file.sha256 for file in official]


def test_what_is_broken_or_nowhere_is_refused_and_keeps_earlier_data(root, cached):
    path = cached("harmless-base/test.jsonl.gz")
    content = path.read_bytes()
    path.write_bytes(content[:-12])
    refuse(make_job(root, STAND_INS), r"harmless-base/test\.jsonl\.gz: cannot be read")
    path.write_bytes(content)
    job = make_job(root, STAND_INS)
    provenance, _, _ = results(job)
    cached("total_dataset.json").unlink()
    with pytest.raises(UserError, match=r"RM-Bench: total_dataset\.json at .* set HF_HOME"):
        run(job)
    assert json.loads(job.paths.provenance.read_text(encoding="utf-8")) == provenance


def test_identical_pairs_stay_and_missing_subsets_are_stand_ins(root, cached):
    lines = [b'{"chosen": "same", "rejected": "same"}', b'{"chosen": "a", "rejected": "b"}']
    same = gzip.compress(b"\n".join([*lines, lines[0]]))
    cached("helpful-base/train.jsonl.gz").write_bytes(same)
    suite = cached("total_dataset.json")
    chat = [row for row in json.loads(suite.read_text("utf-8")) if row["domain"] == "chat"]
    suite.write_text(json.dumps(chat), encoding="utf-8")
    provenance, sizes, tables = results(make_job(root, STAND_INS))
    first, *_, last = provenance["files"]
    assert (first["rows"], first["identical"]) == ({"helpful-base": 3}, 2)
    assert sizes["train"]["helpful-base"] == 3
    items = tables["benchmarks"]
    assert set(items.loc[items["dataset"] == "rm-bench", "subset"]) == {"chat"}
    assert "code: 0 rows, expected 228" in last["deviations"]


def test_caps(root, capsys):
    caps = {"max_train_pairs": 16, "max_test_pairs": 4, "max_items_per_task": 3}
    provenance, sizes, _ = results(make_job(root, SMALL, **caps))
    # a third of 12, 6, 6 and 24 pairs; of the test files, two are named, with 4 pairs each
    assert sizes["train"] == dict(zip(SOURCES, (4, 2, 2, 8), strict=True))
    assert sizes["test"] == {"helpful-base": 2, "harmless-base": 2}
    assert (
        provenance["rows"]["benchmarks"].pop("reward-bench-2/ties") == 2
    )  # a ref:k and its tied:k
    assert {*provenance["rows"]["benchmarks"].values()} == {3}
    assert provenance["caps"] == caps
    said = capsys.readouterr().out.splitlines()
    helpful = "helpful-base 4, helpful-online 2, helpful-rejection-sampled 2"
    assert said[0] == f"helpful, train: 8 pairs ({helpful})"
    assert said[2] == f"mixed, train: 16 pairs ({helpful}, harmless-base 8)"
    assert said[5] == "mixed, test: 4 pairs (helpful-base 2, harmless-base 2)"


@pytest.mark.parametrize("cap", [None, 20])
def test_an_objective_has_what_was_drawn_of_its_files_whatever_the_others_name(root, cap):
    """With a cap, mixed used to lose the files that helpful does not name."""
    named = {
        "helpful": ("helpful-base",),
        "harmless": ("harmless-base", "helpful-base"),
        "mixed": ("helpful-base", "helpful-online", "harmless-base"),
    }
    known = make_job(root, SMALL).params.objectives
    objectives = {
        name: changed(known[name], train=files, test=files) for name, files in named.items()
    }
    job = make_job(root, SMALL, max_train_pairs=cap)
    job = replace(job, params=changed(job.params, objectives=objectives))
    _, sizes, _ = results(job)
    # 12, 6 and 24 of 42: 5.7, 2.9 and 11.4 of 20; the fourth file is nobody's
    shares = (6, 3, 11) if cap else (12, 6, 24)
    assert sizes["train"] == dict(zip(named["mixed"], shares, strict=True))


def test_a_cap_that_leaves_an_objective_nothing_is_refused(root):
    message = r"profiles\.mini\.data\.max_train_pairs, 1, leaves the helpful objective no pair"
    refuse(make_job(root, SMALL, max_train_pairs=1), message)


def test_a_cap_is_a_sample_in_the_old_order_and_keeps_the_papers_mixture():
    """43,835 + 22,007 + 52,421 helpful pairs for 42,537 harmless ones (METHOD.md section 1)."""
    sizes = dict(zip(SOURCES, (43835, 22007, 52421, 42537), strict=True))
    pairs = pd.DataFrame({"subset": [source for source, n in sizes.items() for _ in range(n)]})
    kept = cap_pairs(pairs, 3000)
    assert kept["subset"].value_counts(sort=False).tolist() == [818, 410, 978, 794]
    assert kept.index.is_monotonic_increasing
    assert kept.index[:818].tolist() != list(range(818))
    pd.testing.assert_frame_equal(cap_pairs(pairs, 3000), kept)
    assert cap_pairs(pairs, len(pairs)) is pairs
