import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rm_tension.base.errors import UserError
from rm_tension.data.raw import Columns, read_table

PAIR = Columns(texts=("chosen", "rejected"))
ITEM = Columns(texts=("prompt",), lists=("chosen",), keys=("id",))
LINES = [json.dumps({"chosen": f"é{i}", "rejected": "no"}).encode() for i in range(5)]


def write_lines(folder: Path, *lines: bytes) -> Path:
    path = folder / "train.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))
    return path


def test_json_lines_keep_order_and_text(tmp_path):
    table = read_table(write_lines(tmp_path, *LINES), PAIR)
    assert table["chosen"].tolist() == ["é0", "é1", "é2", "é3", "é4"]
    assert table.columns.tolist() == ["chosen", "rejected"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"chosen": "a", "rej', "row 2: not valid JSON"),
        (b"", "row 2: not valid JSON"),
        (b'{"chosen": "a"}', r"row 2: no column 'rejected' \(found chosen\)"),
        (b'{"chosen": "a", "rejected": "  "}', "row 2: 'rejected' is empty or not text"),
        (b'{"chosen": 5, "rejected": "b"}', "row 2: 'chosen' is empty or not text"),
        (b'{"chosen": null, "rejected": "b"}', "row 2: 'chosen' is empty or not text"),
        (b'{"chosen": "\xff", "rejected": "b"}', "row 2: not UTF-8"),
        (b"[1, 2]", "row 2: not an object"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    path = write_lines(tmp_path, *LINES[:2], line, *LINES[2:])
    with pytest.raises(UserError, match=message) as caught:
        read_table(path, PAIR)
    assert str(path) in str(caught.value)
    assert "download it again" in str(caught.value)


def test_truncated_gzip(tmp_path):
    path = write_lines(tmp_path, *LINES)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(UserError, match="broken gzip data near row"):
        read_table(path, PAIR)


def test_not_gzip(tmp_path):
    path = tmp_path / "train.jsonl.gz"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match="broken gzip data near row 0"):
        read_table(path, PAIR)


def test_no_rows(tmp_path):
    path = tmp_path / "train.jsonl.gz"
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(UserError, match="no rows"):
        read_table(path, PAIR)


def item(**changes: Any) -> dict[str, Any]:
    return {"id": "a", "prompt": "why", "chosen": ["yes"], "more": 1} | changes


@pytest.mark.parametrize("suffix", ["json", "parquet"])
@pytest.mark.parametrize(
    ("row", "message"),
    [
        (item(prompt=""), "row 1: 'prompt' is empty or not text"),
        (item(chosen=["yes", ""]), "row 1: 'chosen' is not a list of texts"),
        (item(chosen=[]), "row 1: 'chosen' is not a list of texts"),
        (item(id=None), "row 1: 'id' is null"),
    ],
)
def test_a_bad_item_is_named(tmp_path, suffix, row, message):
    path = tmp_path / f"items.{suffix}"
    rows = [item(), row]
    if suffix == "json":
        path.write_text(json.dumps(rows))
    else:
        pd.DataFrame(rows).to_parquet(path)
    with pytest.raises(UserError, match=message):
        read_table(path, ITEM)


def test_missing_parquet_column(tmp_path):
    path = tmp_path / "items.parquet"
    pd.DataFrame([item()]).drop(columns="prompt").to_parquet(path)
    with pytest.raises(UserError, match="no column 'prompt'"):
        read_table(path, ITEM)


def test_damaged_parquet(tmp_path):
    path = tmp_path / "items.parquet"
    pd.DataFrame([item()]).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="not readable as parquet"):
        read_table(path, ITEM)
