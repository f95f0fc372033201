"""Raw files become one format; a faulty one is named with its row."""

import gzip
import json

import pandas as pd
import pytest

from rm_tension.base.errors import UserError
from rm_tension.base.tables import TEXTS
from rm_tension.data.benchmarks import (
    cap_items,
    read_reward_bench,
    read_reward_bench_2,
    read_rm_bench,
)
from rm_tension.data.pairs import read_pairs


def read_hh(path):
    return read_pairs(path, "hh-rlhf", "helpful-base", "train")


HH, RB, RB2, RM = read_hh, read_reward_bench, read_reward_bench_2, read_rm_bench
PAIR = {"chosen": "é", "rejected": "no"}
REWARD_BENCH = {"id": 1, "prompt": "why", **PAIR, "subset": "llmbar-adver-GPTInst", "models": "x"}
THREE = {"id": "a", "prompt": "why", "chosen": ["yes"], "rejected": ["no"] * 3, "subset": "Math"}
REF = THREE | {"id": "ref:0", "rejected": ["no"] * 5, "subset": "Ties"}
TIED = REF | {"id": "tied:0", "chosen": ["yes"] * 4}
STYLES = {"id": "chat/8", "prompt": "why", "chosen": ["yes"] * 3, "rejected": ["no"] * 3}
STYLES |= {"domain": "chat"}


def write(path, rows):
    if path.suffix == ".gz":
        lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
        path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))
    elif path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        path.write_text(json.dumps(rows))
    return path


@pytest.mark.parametrize(
    ("reader", "name", "rows", "ids", "answers", "chosen"),
    [
        (HH, "a.jsonl.gz", [PAIR, PAIR], ["helpful-base/train/0", "helpful-base/train/1"],
         [["é", "no"]] * 2, [1, 1]),
        (RB, "a.parquet", [REWARD_BENCH, REWARD_BENCH | {"subset": "hep-go"}],
         ["llmbar-adver-gptinst/1", "hep-go/1"], [["é", "no"]] * 2, [1, 1]),
        (RB2, "a.parquet", [THREE | {"subset": "Precise IF"}, REF, TIED],
         ["precise-if/a", "ties/ref:0", "ties/tied:0"],
         [["yes"] + ["no"] * 3, ["yes"] + ["no"] * 5, ["yes"] * 4 + ["no"] * 5], [1, 1, 4]),
        (RM, "a.json", [STYLES, STYLES | {"id": "9", "domain": "safety-refuse"}],
         ["chat/8", "safety-refuse/9"], [["yes"] * 3 + ["no"] * 3] * 2, [3, 3]),
    ],
)  # fmt: skip
def test_items_of_every_file(tmp_path, reader, name, rows, ids, answers, chosen):
    items = reader(write(tmp_path / name, rows))
    assert tuple(items) == TEXTS
    assert items["item_id"].tolist() == ids
    assert items["answers"].tolist() == answers
    assert items["n_chosen"].tolist() == chosen


@pytest.mark.parametrize(
    ("reader", "name", "good", "bad", "message"),
    [
        (HH, "a.jsonl.gz", PAIR, b'{"chosen": "a", "rej', "row 1: not valid JSON"),
        (HH, "a.jsonl.gz", PAIR, b"", "row 1: not valid JSON"),
        (HH, "a.jsonl.gz", PAIR, b'{"chosen": "\xff", "rejected": "b"}', "row 1: .*utf-8"),
        (HH, "a.jsonl.gz", PAIR, {"chosen": "a"}, "row 1: rejected: Field required"),
        (HH, "a.jsonl.gz", PAIR, PAIR | {"chosen": " \n"}, "row 1: chosen: empty"),
        (HH, "a.jsonl.gz", PAIR, PAIR | {"chosen": 5}, "row 1: chosen: .* valid string"),
        (HH, "a.jsonl.gz", PAIR, PAIR | {"chosen": None}, "row 1: chosen: .* valid string"),
        (HH, "a.jsonl.gz", PAIR, PAIR | {"chosen": "\ud83d"}, "row 1: chosen: .*surrogates"),
        (HH, "a.jsonl.gz", PAIR, [1, 2], "row 1: Input should be a valid dictionary"),
        (RB, "a.parquet", REWARD_BENCH, REWARD_BENCH, "row 1: .*gptinst/1 occurs tw"),
        (RB, "a.json", REWARD_BENCH, REWARD_BENCH | {"id": None}, "row 1: id: "),
        (RB2, "a.parquet", REF, THREE | {"rejected": ["no"] * 2},
         "row 1: item a of Math needs 1 chosen and 3 rejected"),
        (RB2, "a.parquet", REF, THREE | {"chosen": ["a", "b"]}, "needs 1 chosen and"),
        (RB2, "a.parquet", THREE, REF | {"chosen": ["a", "b"]}, "ref:0 .*needs 1 c"),
        (RB2, "a.parquet", THREE, TIED | {"chosen": ["a"]}, "needs several chosen"),
        (RB2, "a.parquet", THREE, REF | {"id": "7"}, "7 of Ties must be ref:NUMBER"),
        (RB2, "a.parquet", THREE, THREE | {"subset": "Poetry"},
         "row 1: item poetry/a is of an unknown subset"),
        (RM, "a.json", STYLES, STYLES | {"chosen": ["a"] * 2}, "row 1: chosen: .*at least 3"),
        (RM, "a.json", STYLES, STYLES | {"rejected": ["a"] * 4}, "rejected: .*at most 3"),
        (RM, "a.json", STYLES, STYLES | {"chosen": ["a", "", "b"]}, "row 1: chosen: empty"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named(tmp_path, reader, name, good, bad, message):
    path = write(tmp_path / name, [good, bad])
    with pytest.raises(UserError, match=rf"{path}: .*{message}.*; delete the file .*download it"):
        reader(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl.gz", gzip.compress(b'{"chosen": "a", "rejected": "b"}\n')[:-12], "beyond 0 rows"),
        ("a.jsonl.gz", b"version https://git-lfs.github.com/spec/v1\n", "beyond 0 rows"),
        ("a.jsonl.gz", gzip.compress(b""), "no rows"),
        ("a.json", b"5", "not valid JSON"),
        ("a.parquet", b"PAR1", "cannot be read"),
    ],
    ids=["truncated", "pointer", "empty", "number", "parquet"],
)
def test_a_broken_file_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}: .*{message}"):
        read_hh(tmp_path / name)


def test_a_cap_keeps_pairs_of_ties_and_the_order(tmp_path):
    ties = [row | {"id": row["id"][:-1] + str(k)} for k in range(8) for row in (REF, TIED)]
    items = read_reward_bench_2(
        write(tmp_path / "a.parquet", [*ties, *(THREE | {"id": str(k)} for k in range(9))])
    )
    kept = cap_items(items, 5)
    assert kept["subset"].value_counts().to_dict() == {"math": 5, "ties": 4}
    assert kept.index.is_monotonic_increasing
    numbers = kept.loc[kept["subset"] == "ties", "item_id"].str.split(":").str[1]
    assert (numbers.value_counts() == 2).all()
    assert cap_items(items, None) is items
    pd.testing.assert_frame_equal(cap_items(items, 5), kept)
