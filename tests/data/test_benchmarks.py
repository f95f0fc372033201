import json
from pathlib import Path

import pandas as pd
import pytest

from rm_tension.base.errors import UserError
from rm_tension.data.benchmarks import (
    cap_items,
    read_reward_bench,
    read_reward_bench_2,
    read_rm_bench,
)


def reward_bench_2(folder: Path, *rows: tuple[str, str, int, int]) -> Path:
    path = folder / "test.parquet"
    columns = ["id", "subset", "chosen", "rejected"]
    table = pd.DataFrame([(k, s, ["yes"] * c, ["no"] * r) for k, s, c, r in rows], columns=columns)
    table.assign(prompt="why").to_parquet(path)
    return path


def rm_bench(folder: Path, *rows: tuple[str, str, int, int]) -> Path:
    path = folder / "total_dataset.json"
    path.write_text(
        json.dumps(
            [
                {
                    "id": k,
                    "domain": d,
                    "prompt": "why",
                    "chosen": ["yes"] * c,
                    "rejected": ["no"] * r,
                }
                for k, d, c, r in rows
            ]
        )
    )
    return path


def reward_bench(folder: Path, *rows: tuple[int, str]) -> Path:
    path = folder / "filtered.parquet"
    table = pd.DataFrame(rows, columns=["id", "subset"])
    table.assign(prompt="why", chosen="yes", rejected="no").to_parquet(path)
    return path


def test_reward_bench_ids_are_unique_by_subset_and_names_lower_case(tmp_path):
    items = read_reward_bench(
        reward_bench(tmp_path, (1, "alpacaeval-easy"), (1, "llmbar-adver-GPTInst"))
    )
    assert items["item_id"].tolist() == ["alpacaeval-easy/1", "llmbar-adver-gptinst/1"]
    assert items["answers"].tolist() == [["yes", "no"]] * 2
    assert items["n_chosen"].tolist() == [1, 1]


def test_reward_bench_2_keeps_the_ids_of_ties(tmp_path):
    rows = [("7", "Precise IF", 1, 3), ("ref:0", "Ties", 1, 5), ("tied:0", "Ties", 4, 2)]
    items = read_reward_bench_2(reward_bench_2(tmp_path, *rows))
    assert items["item_id"].tolist() == ["precise-if/7", "ties/ref:0", "ties/tied:0"]
    assert items["n_chosen"].tolist() == [1, 1, 4]
    assert items["answers"].map(len).tolist() == [4, 6, 6]


def test_rm_bench_ids_begin_with_the_domain_once(tmp_path):
    items = read_rm_bench(
        rm_bench(tmp_path, ("chat/8", "chat", 3, 3), ("9", "safety-refuse", 3, 3))
    )
    assert items["item_id"].tolist() == ["chat/8", "safety-refuse/9"]
    assert items["answers"].iloc[0] == ["yes"] * 3 + ["no"] * 3


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("b", "Math", 1, 2), "item math/b needs 1 chosen and 3 rejected"),
        (("b", "Math", 2, 3), "item math/b needs 1 chosen and 3 rejected"),
        (("ref:0", "Ties", 2, 3), "ref:0 needs 1 chosen"),
        (("tied:0", "Ties", 1, 3), "tied:0 needs several chosen"),
        (("7", "Ties", 1, 3), "must be ref:NUMBER or tied:NUMBER"),
        (("b", "Poetry", 1, 3), "item poetry/b is of an unknown subset"),
        (("a", "Math", 1, 3), "item math/a occurs twice"),
    ],
)
def test_a_bad_reward_bench_2_item_is_named(tmp_path, row, message):
    path = reward_bench_2(tmp_path, ("a", "Math", 1, 3), row)
    with pytest.raises(UserError, match=f"row 1: .*{message}") as caught:
        read_reward_bench_2(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("chosen", "rejected"), [(2, 3), (3, 4)])
def test_rm_bench_needs_three_styles(tmp_path, chosen, rejected):
    with pytest.raises(UserError, match="row 0: item code/1 needs 3 chosen and 3 rejected"):
        read_rm_bench(rm_bench(tmp_path, ("code/1", "code", chosen, rejected)))


def test_duplicate_id_in_reward_bench(tmp_path):
    with pytest.raises(UserError, match="row 1: item hep-go/3 occurs twice"):
        read_reward_bench(reward_bench(tmp_path, (3, "hep-go"), (3, "hep-go")))


def test_a_cap_keeps_pairs_of_ties_and_the_order(tmp_path):
    ties = [
        (f"{kind}:{k}", "Ties", 1 + (kind == "tied"), 3)
        for k in range(8)
        for kind in ("ref", "tied")
    ]
    math = [(str(k), "Math", 1, 3) for k in range(9)]
    items = read_reward_bench_2(reward_bench_2(tmp_path, *ties, *math))
    kept = cap_items(items, 5)
    assert kept["subset"].value_counts().to_dict() == {"math": 5, "ties": 4}
    assert kept.index.is_monotonic_increasing
    numbers = kept.loc[kept["subset"] == "ties", "item_id"].str.split(":").str[1]
    assert (numbers.value_counts() == 2).all()
    assert cap_items(items, None) is items
    pd.testing.assert_frame_equal(cap_items(items, 5), kept)
