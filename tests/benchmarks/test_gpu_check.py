"""The check of a GPU, on the device at hand and shapes of no use."""

import json
import sys

import pytest

from benchmarks import gpu_check


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            sys, "argv", ["gpu_check", "--small", "--device", "cpu", "--out", str(folder)]
        )
        gpu_check.main()
    gpu_check.accelerator_for("float32")  # what other tests of this process expect
    return (folder / "cpu.json").rename(folder / "A-GPU.json")


def test_every_path_is_compared_for_every_shape(checked):
    found = json.loads(checked.read_text())
    compared = {(one["what"], one["precision"]) for one in found["checks"]}
    assert {what for what, _ in compared} == {
        "rewards", "rewards, ablated", "statistics", "gradient", "training, stopped and resumed",
    }  # fmt: skip
    assert len(found["checks"]) == 6 * (4 * 3 + 1)
    assert all(one["ok"] for one in found["checks"])
    assert all(
        stage["tokens_per_second"] > 0
        for one in found["speeds"].values()
        for stage in one["stages"].values()
    )


def test_a_check_that_fails_is_said_and_ends_with_1(monkeypatch, tmp_path):
    monkeypatch.setattr(
        gpu_check,
        "check",
        lambda device, small: {"device": "x", "checks": [{"ok": False}, {"ok": True}]},
    )
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="1 of 2 checks failed"):
        gpu_check.main()
