"""Whatever is wrong with an input, its reader gives a result or a UserError that names the file.

FUZZ=50 tries fifty times as many inputs, other ones each time.
"""

import gzip
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow
import pytest
import torch
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from damage import bytes_of, value_of
from rm_tension.activations.sums import load_activations
from rm_tension.analyse import stage as analyse
from rm_tension.analyse.files import REFERENCE, read_tables
from rm_tension.analyse.outcomes import read_layout, read_scored
from rm_tension.analyse.published import published_means
from rm_tension.analyse.training_curves import MEASURES, training_curve
from rm_tension.analyse.verdicts import DecidedClaim
from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.base.files import read_json
from rm_tension.base.grid import Paths, Trio
from rm_tension.base.hub import Hub
from rm_tension.base.job import Job, main
from rm_tension.base.provenance import LoadedData, LoadedWeights
from rm_tension.base.tables import read_table
from rm_tension.data.benchmarks import read_reward_bench, read_reward_bench_2, read_rm_bench
from rm_tension.data.hh_rlhf import read_pairs
from rm_tension.data.miniature import generate
from rm_tension.evaluate.evaluation import Texts
from rm_tension.model.device import Budget
from rm_tension.report import dvc_views, summary, supplement, tables
from rm_tension.report.latex import latex
from rm_tension.report.notes import caption
from rm_tension.report.source import Source
from rm_tension.report.table import Table
from rm_tension.score.checkpoints import read_outputs
from rm_tension.score.command import read
from rm_tension.score.loading import open_checkpoint
from rm_tension.tracking.contents import contents
from runs_folder import write_results, write_runs
from samples import only_mini
from small_hub import SMALL
from small_repository import KEY, STAGE, make_reward_model
from synthetic import small_params, write_profile

MANY = int(os.environ.get("FUZZ", "0"))
TRIO = Trio("gpt2-small", 0)
TRIED = {"inputs": 0, "refused": 0}


def examples(count):
    fixed = {
        "derandomize": not MANY,
        "database": None,
        "deadline": None,
        "suppress_health_check": list(HealthCheck),
    }
    return settings(max_examples=count * (MANY or 1), **fixed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    yield tmp_path_factory.mktemp("fuzz")
    print(TRIED)


@pytest.fixture(scope="module")
def raw_files(folder):
    return {file.raw.data_set: file.path for file in generate(SMALL, folder / "raw")}


@pytest.fixture(scope="module")
def profile(folder):
    (folder / "profile").mkdir()
    return write_profile(folder / "profile", [TRIO])


def tried(path, reader, *others):
    """Read; a refusal names the file or one of `others`, its companions; nothing half-written is left beside it."""
    before = {file.name for file in path.parent.iterdir()}
    TRIED["inputs"] += 1
    try:
        reader(path)
    except UserError as error:
        TRIED["refused"] += 1
        if not any(name in str(error) for name in (path.name, *others)):
            raise AssertionError(f"does not name {path.name}") from error
    assert {file.name for file in path.parent.iterdir()} == before


def draw_bytes(data, raw, path, reader, *others):
    path.write_bytes(data.draw(bytes_of(raw)))
    tried(path, reader, *others)


def draw_table(data, rows, path, reader, *others):
    """Damage to the rows of a parquet file: to single values, or to whole columns, which then have another type."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    table = data.draw(value_of(columns) | value_of(rows).map(_columns))
    try:
        written = pyarrow.table(table)
    except (pyarrow.ArrowException, ValueError, TypeError, OverflowError, AttributeError):
        assume(False)
    pyarrow.parquet.write_table(written, path)
    tried(path, reader, *others)


def _columns(rows):
    rows = [row for row in rows if isinstance(row, dict)]
    return {
        name: [row.get(name) for row in rows]
        for name in dict.fromkeys(name for row in rows for name in row)
    }


def rows_of(path, count):
    return pyarrow.parquet.read_table(path).slice(0, count).to_pylist()


TURNS = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
LINES = [
    {"id": 1, "prompt": "Why? 🙂", "answers": ["Because.", "No."]},
    {"chosen": "\n\nHuman: Q\n\nAssistant: a", "rejected": TURNS},
    {"messages": TURNS},
]


def as_lines(values):
    return "".join(json.dumps(value) + "\n" for value in values).encode()


@examples(150)
@given(st.data())
def test_lines_to_score(folder, data):
    path = folder / "in.jsonl"
    path.write_bytes(data.draw(bytes_of(as_lines(LINES)) | value_of(LINES).map(as_lines)))
    tried(path, lambda path: read(str(path)))


@examples(100)
@given(st.data())
def test_hh_rlhf(folder, raw_files, data):
    packed = raw_files["hh_rlhf"].read_bytes()
    lines = [json.loads(line) for line in gzip.decompress(packed).splitlines()][:5]
    damaged = bytes_of(as_lines(lines)) | value_of(lines).map(as_lines)
    path = folder / "test.jsonl.gz"
    path.write_bytes(data.draw(bytes_of(packed) | damaged.map(gzip.compress)))
    tried(path, lambda path: pyarrow.Table.from_pandas(read_pairs(path, "helpful-base", "test")))


@pytest.mark.parametrize(
    ("name", "reader"),
    [("reward_bench", read_reward_bench), ("reward_bench_2", read_reward_bench_2)],
)
@examples(80)
@given(st.data())
def test_the_suites_in_parquet(folder, raw_files, name, reader, data):
    path = folder / "items.parquet"
    if data.draw(st.booleans()):
        draw_bytes(data, raw_files[name].read_bytes(), path, reader)
    else:
        draw_table(data, rows_of(raw_files[name], 6), path, reader)


@examples(80)
@given(st.data())
def test_rm_bench(folder, raw_files, data):
    rows = json.loads(raw_files["rm_bench"].read_bytes())[:4]
    written = value_of(rows).map(lambda rows: json.dumps(rows).encode()) | bytes_of(
        json.dumps(rows).encode()
    )
    path = folder / "total_dataset.json"
    path.write_bytes(data.draw(written))
    tried(path, lambda path: pyarrow.Table.from_pandas(read_rm_bench(path)))


def small_yaml():
    raw = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    only_mini(raw, ["gpt2-small"], [0, 247, 932])
    return raw


@examples(60)
@given(st.data())
def test_params(folder, data):
    path, raw = folder / "params.yaml", small_yaml()

    def dumped(value):
        return yaml.safe_dump(value, sort_keys=False).encode("utf-8", "surrogatepass")

    path.write_bytes(data.draw(value_of(raw).map(dumped) | bytes_of(dumped(raw))))
    tried(path, load_params)


def lock():
    out = {"path": f"models/mini/reward/{KEY}", "md5": f"{'0' * 32}.dir", "size": 9, "nfiles": 1}
    run = {"path": f"runs/mini/train-{KEY}.json", "md5": "1" * 32}
    data = {"path": "tokens/mini/gpt2-small/train.parquet", "md5": "2" * 32}
    return {"schema": "2.0", "stages": {STAGE: {"cmd": "x", "deps": [data], "outs": [out, run]}}}


def tracked(paths):
    """As the fill reads runs/, results/ and dvc.lock; it names what it leaves out."""
    problems = []
    contents(paths, problems)
    if problems:
        raise UserError("\n".join(problems))


@examples(150)
@given(st.data())
def test_dvc_lock(folder, data):
    path = folder / "repository" / "dvc.lock"
    paths = write_runs(path.parent, [TRIO])
    dumped = bytes_of(yaml.safe_dump(lock()).encode()) | value_of(lock()).map(
        lambda v: yaml.safe_dump(v).encode()
    )
    path.write_bytes(data.draw(dumped))
    tried(path, lambda _: tracked(paths))
    fs = SimpleNamespace(
        read_text=lambda name, encoding: Path(name).read_text(encoding=encoding), join=os.path.join
    )
    files = SimpleNamespace(repo=SimpleNamespace(fs=fs, root_dir=str(path.parent)))
    tried(path, lambda _: read_outputs(files))


@examples(80)
@given(st.data())
def test_hub_sums(folder, data):
    path = folder / "hub.sha256"
    written = "".join(f"{n:064x}  datasets/some/data@main/{n}.parquet\n" for n in range(4)).encode()

    def reader(path):
        with Hub(path)._checked({}):
            pass

    draw_bytes(data, written, path, reader)


@pytest.fixture(scope="module")
def checkpoint(folder):
    make_reward_model(folder / "checkpoint")
    return folder / "checkpoint"


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "scoring.json"]
)
@examples(20)
@given(st.data())
def test_settings_of_a_checkpoint(checkpoint, name, data):
    path = checkpoint / name
    whole = path.read_bytes()
    values = value_of(json.loads(whole)).map(lambda value: json.dumps(value).encode())
    try:
        path.write_bytes(data.draw(bytes_of(whole) | values))
        tried(checkpoint, used)
    finally:
        path.write_bytes(whole)


@examples(30)
@given(st.data())
def test_weights_of_a_checkpoint(checkpoint, data):
    path = checkpoint / "model.safetensors"
    whole = path.read_bytes()
    try:
        path.write_bytes(
            data.draw(bytes_of(whole) | bytes_of(whole[:2000]).map(lambda raw: raw + whole[2000:]))
        )
        tried(checkpoint, used)
    finally:
        path.write_bytes(whole)


def used(folder):
    return open_checkpoint(folder, torch.device("cpu")).score("Why?", ["Because.", "No."])


@examples(60)
@given(st.data())
def test_texts_and_rewards_that_analyse_reads(folder, profile, data):
    params = small_params()
    name = data.draw(st.sampled_from(["benchmarks", "test", "rewards"]))
    path = profile.rewards(TRIO) if name == "rewards" else profile.texts(name)
    whole = path.read_bytes()
    rows = rows_of(path, 12)
    of_rewards = profile.rewards(TRIO).name  # which may be right, and the texts not theirs

    def reader(_):
        layout = read_layout(profile, params.grid)
        return read_scored(profile.rewards(TRIO), layout, params.grid.test_files)

    try:
        if data.draw(st.booleans()):
            draw_bytes(data, whole, path, reader, of_rewards)
        else:
            draw_table(data, rows, path, reader, of_rewards)
    finally:
        path.write_bytes(whole)


@examples(60)
@given(st.data())
def test_tokens_that_train_and_evaluate_read(folder, data):
    paths = Paths("mini", folder / "tokens-of")
    params = small_params()
    job = Job(
        params,
        params.profiles["mini"],
        paths,
        {"profile": "mini", "backbone": "gpt2-small", "seed": 0},
    )
    path = job.tokens("test")
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = [np.arange(3, dtype=np.int32), np.arange(1, 5, dtype=np.int32)]
    rows = [("hh-rlhf", "helpful-base", f"helpful-base/test/{n}", ids) for n in range(4)]
    pd.DataFrame(rows, columns=["dataset", "subset", "item_id", "answers"]).to_parquet(
        path, index=False
    )

    def reader(_):
        return Texts.lay_out(job.pairs("test", "helpful"), Budget(64))

    if data.draw(st.booleans()):
        draw_bytes(data, path.read_bytes(), path, reader)
    else:
        draw_table(data, rows_of(path, 4), path, reader)


@examples(80)
@given(st.data())
def test_activations(folder, profile, data):
    raw = profile.activations(TRIO).read_bytes()
    path = folder / "gpt2-small-0.safetensors"
    path.write_bytes(
        data.draw(bytes_of(raw) | bytes_of(raw[:3000]).map(lambda start: start + raw[3000:]))
    )
    tried(path, load_activations)


@examples(100)
@given(st.data())
def test_run_records(folder, data):
    runs = write_runs(folder / "records", [TRIO])
    path = data.draw(
        st.sampled_from(
            [runs.run("train", KEY), runs.run("data"), runs.history(TRIO.model("helpful"))]
        )
    )
    raw = path.read_bytes()
    if path.suffix == ".json":
        values = value_of(json.loads(raw)).map(lambda value: json.dumps(value).encode())
    else:
        values = value_of([json.loads(line) for line in raw.splitlines()]).map(as_lines)
    path.write_bytes(data.draw(bytes_of(raw) | values))
    tried(path, lambda _: tracked(runs), KEY)


@pytest.fixture(scope="module")
def analysed(profile):
    """The profile with its results."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(profile.root)
        patch.setattr("sys.argv", ["analyse", "--profile", "mini"])
        main(analyse.run)
    return profile


def damage_of(raw, suffix):
    """Damage to bytes, and to the values of JSON or to the cells of a CSV file."""
    if suffix == ".json":
        return bytes_of(raw) | value_of(json.loads(raw)).map(
            lambda value: json.dumps(value).encode()
        )
    lines = [line.split(",") for line in raw.decode().splitlines()]

    def joined(rows):
        return "".join(
            f"{','.join(map(str, row)) if isinstance(row, list) else row}\n" for row in rows
        )

    cells = value_of(lines[:8]).map(
        lambda rows: joined([*rows, *lines[8:]] if isinstance(rows, list) else [])
    )
    return bytes_of(raw) | cells.map(lambda text: text.encode("utf-8", "surrogatepass"))


def read_report(paths):
    """All of a report that is text."""
    source = Source.of(paths.results, "mini", small_params())
    numbers = [make(number, source) for number, make in (tables.TABLES | supplement.TABLES).items()]
    claims = source.record("claims", list[DecidedClaim])
    printed = [table for table in numbers if isinstance(table, Table)]
    words = [
        summary.agreement("S1", source, printed),
        summary.claims("S2", claims),
        summary.claim_parts("S2b", claims),
    ]
    for table in (*numbers, *words):
        latex(table, caption(table, source.context))
    for view in (dvc_views.metrics, dvc_views.loss, dvc_views.ablation, dvc_views.accuracy):
        view(source)


@pytest.mark.parametrize("place", ["*.csv", "means/*.csv", "*.json"])
@examples(25)
@given(st.data())
def test_results_that_report_reads(analysed, place, data):
    path = data.draw(st.sampled_from(sorted(analysed.results.glob(place))))
    raw = path.read_bytes()

    def reader(_):
        read_report(analysed)

    try:
        path.write_bytes(data.draw(damage_of(raw, path.suffix)))
        tried(path, reader)
    finally:
        path.write_bytes(raw)


@examples(100)
@given(st.data())
def test_steps_and_provenance_that_analyse_reads(profile, data):
    history, provenance = profile.history(TRIO.model("helpful")), profile.provenance
    weights = profile.backbone_provenance(TRIO.backbone)
    path = data.draw(st.sampled_from([history, provenance, weights]))
    raw = path.read_bytes()
    values = value_of([json.loads(line) for line in raw.splitlines()[:6]]).map(as_lines)

    def reader(_):
        training_curve(read_table(history, MEASURES))
        read_json(provenance, LoadedData)
        read_json(weights, LoadedWeights)

    try:
        path.write_bytes(data.draw(bytes_of(raw) | values))
        tried(path, reader)
    finally:
        path.write_bytes(raw)


@examples(60)
@given(st.data())
def test_reference(profile, data):
    folder = profile.root / "reference"
    path = data.draw(st.sampled_from(sorted(folder.glob("*.csv"))))
    raw = path.read_bytes()
    try:
        path.write_bytes(data.draw(damage_of(raw, path.suffix)))
        tried(path, lambda _: published_means(read_tables(folder, REFERENCE)))
    finally:
        path.write_bytes(raw)


@examples(60)
@given(st.data())
def test_tables_of_results(folder, data):
    paths = Paths("mini", folder / "tables")
    write_results(paths, [TRIO])
    path = data.draw(st.sampled_from(sorted(paths.results.glob("*.csv"))))
    draw_bytes(data, path.read_bytes(), path, lambda _: tracked(paths))
