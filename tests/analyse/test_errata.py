"""docs/ERRATA.md says what reference/ and the sizes of tasks prove: every number in bold there is recomputed here."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rm_tension.analyse.as_published import COLUMNS, undo_running_means
from rm_tension.analyse.published import read_published
from rm_tension.paper.tasks import BY_KEY, GROUPS, group_tasks

ROOT = Path(__file__).parents[2]
PAPER = read_published(ROOT / "reference/published.csv")
SETS = {"helpful-only": "helpful_only", "harmless-only": "harmless_only", "shared": "shared"}


def published(*tables, **at):
    """The numbers of some tables on single tasks or on none, with these keys."""
    rows = PAPER[PAPER["table"].isin(tables) & ~PAPER["task"].isin(GROUPS)]
    for name, value in at.items():
        rows = rows[rows[name] == value]
    return rows


def bold(number):
    """The numbers in bold in the section of an erratum, as they are written, in order."""
    text = (ROOT / "docs/ERRATA.md").read_text()
    (section,) = re.findall(
        rf"^## {number}\. (.*?)(?=^## |\Z)", text, flags=re.DOTALL | re.MULTILINE
    )
    return re.findall(r"\*\*([+−]?[\d.,]+)\*\*", section)


def answers(task):
    """How many answers of three seeds stand behind an accuracy of a task."""
    (subset,) = BY_KEY[task].subsets
    return 3 * subset.size * (3 if subset.suite == "rm-bench" else 1)


def off(values):
    """Distance to the nearest whole number."""
    return np.abs(values - np.round(values))


@pytest.fixture
def table_19():
    table = published("19").pivot(index="task", columns="kind", values="value")
    return table.rename(columns=SETS | {"none": "baseline"})[list(COLUMNS)]


@pytest.fixture
def sets():
    table = published("17", "18").pivot(index="task", columns="kind", values="value")
    return table.rename(columns={"none": "baseline"})


@pytest.fixture
def baselines():
    """Tables 2 and 3, the unablated mixed RMs, from the six backbones' rows in Tables 20 and 21."""
    rows = published("20", "21", objective="mixed", measure="accuracy")
    return rows.groupby("task")["value"].mean()


@pytest.fixture
def table_15():
    return published("15").groupby("task")["value"].mean()


def group_means(values):
    return [values[[task.key for task in group_tasks(group)]].mean() for group in GROUPS]


def test_every_erratum_has_its_section_and_proof():
    titles = re.findall(r"^## (\d+)\. ", (ROOT / "docs/ERRATA.md").read_text(), flags=re.MULTILINE)
    assert [int(title) for title in titles] == list(range(1, 17))
    assert [number for number in range(1, 17) if bold(number)] == [1, 2, 6, 10, 11, 12, 13, 15]


def test_1_table_19_shows_running_means(table_19, sets):
    corrected = undo_running_means(table_19)
    by_hand = 4 * table_19["shared"] - 3 * table_19["harmless_only"]
    assert corrected["shared"].to_numpy() == pytest.approx(by_hand.to_numpy())
    found = [table_19["shared"]["alpacaeval-easy"], corrected["shared"]["alpacaeval-easy"]]
    proofs = [*(f"{value:.3f}" for value in found), f"{-sets['shared']['alpacaeval-easy']:.2f}"]
    for name, column in SETS.items():
        for table in (table_19, corrected):
            change = table[column] - table["baseline"]
            proofs.append(f"{np.polyfit(sets[name].loc[change.index] / 100, change, 1)[0]:.2f}")
    proofs += [f"{value:.3f}" for value in group_means(corrected["shared"])]
    assert bold(1) == proofs
    assert [f"{value:.3f}" for value in group_means(table_19["shared"])] == ["0.539", "0.598"]


def test_2_gpt2_larges_overlap_is_that_of_everything_with_a_tenth():
    rows = published("section 5").query("backbone != 'average'")
    overlap = rows.pivot(index=["backbone", "objective"], columns="measure", values="value")
    large = overlap.loc["gpt2-large"].loc[["harmless-mixed", "harmless-helpful"]]
    assert (large["intersection"] / large["union"] == 0.1).all()
    assert (large["jaccard"] == 0.1).all()
    (tenth,), (everything,) = set(large["intersection"]), set(large["union"])
    single = overlap.xs("harmless-helpful", level="objective")["jaccard"]
    means = (single.mean(), single.drop("gpt2-large").mean())
    sizes = [f"{everything:,.0f}", f"{tenth:,.0f}", f"{everything:,.0f}"]
    proofs = [f"{tenth / everything:.6f}", *(f"{mean:.3f}" for mean in means)]
    assert bold(2) == [*sizes, *proofs]


def test_4_math_weighs_its_two_subsets_alike():
    four, two = BY_KEY["math"].subsets
    assert (four.size, 3 * two.size) == (183, 1587)


def test_6_tables_17_and_18_average_seven_backbones(sets, baselines):
    other = sets["baseline"].loc[baselines.index]
    pairs = [(other[task], baselines[task]) for task in ("donotanswer", "math-prm")]
    simple = pd.Series(
        {task: answers(task) for task in other.index if len(BY_KEY[task].subsets) == 1}
    )
    small = simple[simple <= 480]

    def right(backbones):
        """The right answers of the backbones beyond the six, if Tables 17 and 18 average so many."""
        return small / 100 * (backbones * other - 6 * baselines).loc[small.index]

    counts = [
        f"{right(7)[task]:.2f}" for task in ("mt-bench-easy", "mt-bench-hard", "mt-bench-med")
    ]
    rounding = small / 100 * 0.005 * (7 + 6)
    assert (off(right(7)) <= rounding).all()
    least = min(off(right(backbones)).max() for backbones in (5, 6, 8, 9))
    assert bold(6) == [
        f"{((other - baselines).abs() > 0.01).sum()}",
        *(f"{value:.2f}" for pair in pairs for value in pair),
        f"{len(small)}",
        f"{off(right(7)).max():.2f}",
        *counts,
        f"{least:.2f}",
    ]
    assert (2 * off(right(7)).max()) ** len(small) < 1e-9


def test_10_spread_is_a_standard_deviation_and_chat_has_387_items():
    accuracy = published("13", "14").query("backbone != 'smollm2-135m'")
    hundred = accuracy[accuracy["task"].map(lambda task: BY_KEY[task].subsets[0].size == 100)]
    spread = hundred.loc[hundred["spread"].between(0, 2.5, inclusive="neither"), "spread"]
    as_deviation = off(9 * spread**2) <= 9 * 2 * spread * 0.005 + 1e-9
    as_variance = off(9 * spread) <= 9 * 0.005 + 1e-9
    assert as_deviation.all()
    chat = accuracy.loc[accuracy["task"] == "chat", "value"]
    whole = [(off(chat / 100 * 3 * items) <= 3 * items / 100 * 0.005).sum() for items in (387, 519)]
    assert 3 * BY_KEY["chat"].subsets[0].size == 387
    assert len(chat) == 15
    assert bold(10) == [
        f"{len(spread)}",
        f"{as_variance.sum()}",
        "387",
        *(f"{count}" for count in whole),
    ]


def test_11_table_1s_averages_are_those_of_table_19(table_15, table_19):
    seventh = 7 * table_19["baseline"] - 6 * table_15
    means = [*group_means(table_15), *group_means(table_19["baseline"])]
    ends = [f"{value:.2f}" for value in (seventh.min(), seventh.max())]
    printed = bold(11)[:2]
    assert bold(11) == [*printed, *(f"{mean:.4f}" for mean in means), *ends]
    assert [float(value) for value in printed] == pytest.approx(means[2:], abs=0.0005)


def test_12_one_item_of_do_not_answer_is_less_than_a_point():
    (subset,) = BY_KEY["donotanswer"].subsets
    assert bold(12) == [f"{100 / subset.size:.2f}"]


def test_13_xstest_should_respond_moves_as_the_text_says_of_should_refuse():
    table_3 = published("3", measure="delta").set_index(["task", "objective"])["value"]
    tasks = ("safety-response", "xstest-should-refuse", "xstest-should-respond")
    assert {BY_KEY[task].group for task in tasks} == {"harmlessness"}
    changes = [table_3[task, objective] for task in tasks for objective in ("harmless", "helpful")]
    assert bold(13) == [f"{change:+.2f}".replace("-", "−") for change in changes]
    assert (np.sign(changes) == [1, -1, -1, 1, 1, -1]).all()


def test_15_is_withdrawn_because_by_magnitude_effects_at_10_are_three_quarters_of_those_at_30():
    means = published("figure 5").groupby("percent")["value"].mean()
    at_10, at_30 = (means[0] - means[percent] for percent in (10, 30))
    assert bold(15) == [
        f"{100 * at_10 / means[0]:.1f}",
        f"{100 * at_30 / means[0]:.1f}",
        f"{at_10 / at_30:.3f}",
    ]
    assert at_10 / at_30 == pytest.approx(0.775, abs=0.02)
    assert "## 15. Withdrawn" in (ROOT / "docs/ERRATA.md").read_text()
