"""Whatever is wrong with what people hand in, its reader gives a result or a UserError that names the file.

FUZZ=50 tries fifty times as many inputs, other ones each time.
"""

import gzip
import json
import os
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pyarrow
import pytest
import torch
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from damage import bytes_of, value_of
from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.data.benchmarks import read_reward_bench, read_reward_bench_2, read_rm_bench
from rm_tension.data.miniature import generate
from rm_tension.data.pairs import read_pairs
from rm_tension.score.checkpoints import read_outputs, recorded_setting
from rm_tension.score.command import read
from rm_tension.score.loading import open_checkpoint
from samples import only_mini
from small_hub import SMALL
from small_repository import PLACE, STAGE, make_reward_model

pytestmark = pytest.mark.slow

MANY = int(os.environ.get("FUZZ", "0"))
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
    packed = raw_files["hh-rlhf"].read_bytes()
    lines = [json.loads(line) for line in gzip.decompress(packed).splitlines()][:5]
    damaged = bytes_of(as_lines(lines)) | value_of(lines).map(as_lines)
    path = folder / "test.jsonl.gz"
    path.write_bytes(data.draw(bytes_of(packed) | damaged.map(gzip.compress)))
    tried(
        path,
        lambda path: pyarrow.Table.from_pandas(read_pairs(path, "hh-rlhf", "helpful-base", "test")),
    )


@pytest.mark.parametrize(
    ("name", "reader"),
    [("reward-bench", read_reward_bench), ("reward-bench-2", read_reward_bench_2)],
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
    rows = json.loads(raw_files["rm-bench"].read_bytes())[:4]
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
    out = {"path": str(PLACE), "md5": f"{'0' * 32}.dir", "size": 9, "nfiles": 1}
    params = {"params.yaml": {"profiles.mini.evaluate": {"precision": "float32"}}}
    data = {"path": "tokens/mini/gpt2-small/train.parquet", "md5": "2" * 32}
    stage = {"cmd": "x", "deps": [data], "params": params, "outs": [out]}
    return {"schema": "2.0", "stages": {STAGE: stage}}


@examples(150)
@given(st.data())
def test_the_dvc_lock_of_a_foreign_repository(folder, data):
    path = folder / "dvc.lock"
    values = value_of(lock()).map(lambda value: yaml.safe_dump(value).encode())
    path.write_bytes(data.draw(bytes_of(yaml.safe_dump(lock()).encode()) | values))
    fs = SimpleNamespace(
        read_text=lambda name, encoding: Path(name).read_text(encoding=encoding), join=os.path.join
    )
    repository = SimpleNamespace(repo=SimpleNamespace(fs=fs, root_dir=str(path.parent)))

    def reader(_):
        for output in read_outputs(repository):
            with suppress(UserError):
                recorded_setting(read_outputs(repository), output, "profiles.mini.evaluate")

    tried(path, reader)


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
