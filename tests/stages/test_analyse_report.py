import json

import pandas as pd
import pytest

from rm_tension.grid import Trio, trios
from rm_tension.stages import analyse, report
from rm_tension.stages.common import main
from synthetic import small_params, write_profile

PARTIAL = ("rm-bench/math", "reward-bench/donotanswer")


def run(monkeypatch, stage):
    monkeypatch.setattr("sys.argv", ["stage", "--profile", "mini"])
    main(stage)


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def one_trio(root, monkeypatch):
    """Results of one trio whose benchmarks lack half of Math and all of Do Not Answer."""
    paths = write_profile(root, [Trio("gpt2-small", 0)], without=PARTIAL)
    run(monkeypatch, analyse.run)
    return paths


def test_the_whole_grid(root, monkeypatch):
    write_profile(root, trios(small_params().grid))
    run(monkeypatch, analyse.run)
    run(monkeypatch, report.run)
    accuracy = pd.read_csv("results/mini/accuracy.csv")
    assert (accuracy["correct"] + accuracy["ties"] <= accuracy["items"]).all()
    baseline = accuracy[accuracy["condition"] == "none"]
    assert len(baseline) == 54 * 25
    groups = pd.read_csv("results/mini/group_accuracy.csv").query("condition == 'none'")
    means = groups.groupby(["objective", "group"])["accuracy"].mean()
    assert means["helpful", "helpfulness"] > means["harmless", "helpfulness"]
    assert means["harmless", "harmlessness"] > means["helpful", "harmlessness"]
    context = json.loads((root / "results/mini/context.json").read_text())
    assert (len(context["trios"]), context["missing_trios"], context["missing_tasks"]) == (18, [], [])
    page = (root / "reports/mini/README.md").read_text()
    assert "not the paper's numbers" in page
    assert "Incomplete" not in page


def test_an_incomplete_grid_renders_with_missing_cells_marked(one_trio, monkeypatch):
    run(monkeypatch, report.run)
    found = files(one_trio.reports)
    tables = [f"tables/table_{number:02}.tex" for number in (1, 2, 3, 4, 10, 13, 14)]
    figures = [
        f"figures/{name}{end}"
        for name in ("figure_02", "figure_02_gpt2-small", "figure_05")
        for end in (".pdf", ".png")
    ]
    assert set(found) == {"README.md", *tables, *figures}
    retention = found["tables/table_01.tex"].decode()
    maths = next(line for line in retention.splitlines() if line.startswith("Math  "))
    assert maths.split("&")[1].strip() == "--"
    averages = [line for line in retention.splitlines() if line.startswith("Average")]
    assert all("^{*}" in line for line in averages)
    assert "Incomplete grid: 1 of 18 trios, gpt2-small-0." in retention
    page = found["README.md"].decode()
    for warning in ("Stand-in files", "Incomplete grid", "Math, Do Not Answer"):
        assert warning in page


def test_rendering_twice_gives_the_same_bytes(one_trio, monkeypatch):
    run(monkeypatch, report.run)
    first = files(one_trio.reports)
    run(monkeypatch, report.run)
    assert files(one_trio.reports) == first


def test_a_report_that_fails_leaves_the_old_one(one_trio, monkeypatch):
    one_trio.reports.mkdir(parents=True)
    (one_trio.reports / "README.md").write_text("old")
    (one_trio.results / "retention.csv").unlink()
    with pytest.raises(KeyError):
        run(monkeypatch, report.run)
    assert files(one_trio.reports) == {"README.md": b"old"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rewards: rewards.drop(columns="condition"), "no column condition"),
        (lambda rewards: rewards.replace({"item_id": {"chat/0": "chat/99"}}), "item_id chat/99"),
        (lambda rewards: rewards.assign(reward=float("inf")), "not finite"),
    ],
)
def test_a_broken_rewards_file_is_named(root, monkeypatch, change, message):
    trio = Trio("gpt2-small", 0)
    paths = write_profile(root, [trio])
    change(pd.read_parquet(paths.rewards(trio))).to_parquet(paths.rewards(trio))
    with pytest.raises(SystemExit, match=f"rewards/mini/gpt2-small-0.parquet: .*{message}"):
        run(monkeypatch, analyse.run)
    assert not paths.results.exists()


def test_nothing_to_analyse_or_report_says_what_to_run(root, monkeypatch):
    write_profile(root, [])
    with pytest.raises(SystemExit, match="rewards/mini: no rewards of any trio"):
        run(monkeypatch, analyse.run)
    with pytest.raises(SystemExit, match="results/mini: no results"):
        run(monkeypatch, report.run)
