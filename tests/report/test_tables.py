import math
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from rm_tension.analyse.comparison import beside
from rm_tension.analyse.context import Context
from rm_tension.paper.tasks import GROUPS
from rm_tension.report.contents import PARTS, QUESTIONS
from rm_tension.report.document import markdown
from rm_tension.report.latex import escape, latex
from rm_tension.report.notes import caption, provenance
from rm_tension.report.table import Row, Section, Table, TextTable, tidy, turned
from rm_tension.report.tables import TABLES

TRIOS = (["gpt2-small-0"], ["gpt2-small-247"])  # there, and missing
CONTEXT = Context("mini", "the miniature", False, 10, "generated texts", *TRIOS, ["chat"])
REFERENCE = Path(__file__).parents[2] / "reference"
COLUMNS = {"focus": "Focus", "safety": "Safety", "harmlessness": "Average"}


def frame(values, index=("measure", "task")):
    rows = [(*key, *value) for key, value in values.items()]
    cells = pd.DataFrame(rows, columns=[*index, "mean", "spread", "tasks"]).set_index(list(index))
    return cells.assign(error=math.nan)


def example(published="row"):
    ours = frame(
        {
            ("baseline", "focus"): (81.04, 1.23, 1),
            ("baseline", "harmlessness"): (50.0, 0.5, 7),
            ("delta", "focus"): (-20.0, math.nan, 1),
            ("delta", "safety"): (-0.04, 0.2, 1),
        }
    )
    paper = {("delta", "focus"): (12.5, math.nan, 1), ("delta", "harmlessness"): (3.0, 0.25, 8)}
    rows = [Row(("baseline",), "Baseline"), Row(("delta",), "Change", change=True)]
    cells = beside(ours.reset_index(), frame(paper), 3.0).set_index(["measure", "task"])
    texts = ("2", "What it is", "100% & more.")
    return Table(*texts, cells, [Section("Mixed RM", rows)], COLUMNS, published, points=3.0)


def cells_of(line):
    return [cell.strip() for cell in line.removesuffix(r" \\").split("&")]


def test_every_table_of_the_paper_stands_once_in_the_pdf_and_on_the_page():
    assert {str(number) for number in range(1, 22)} <= set(TABLES)
    pdf, page = (", ".join(items.values()).split(", ") for items in (PARTS, QUESTIONS))
    assert len(pdf) == len(set(pdf))
    assert sorted(pdf) == sorted(page)
    assert {f"T {number}" for number in TABLES} <= set(pdf)


@pytest.mark.parametrize("number", ["2", "3", "13", "14", "17", "18", "20", "21"])
def test_a_table_for_a_group_has_the_tasks_of_the_papers_table(number):
    printed = pd.read_csv(REFERENCE / "published.csv", dtype={"table": str})
    tasks = set(printed.loc[printed["table"] == number, "task"]) - {"average", *GROUPS}
    assert tasks
    assert set(TABLES[number].columns) - set(GROUPS) == tasks


def tex(table, caption=""):
    return latex(table, caption, "")


def test_a_download_has_the_numbers_that_latex_prints():
    table = example()
    csv = tidy(table).set_index(["measure", "task"])
    printed = re.findall(r"\$([+-]?[0-9.]+)", tex(table).replace(r"\mathbf{", ""))
    assert [float(text) for text in printed[:4]] == [round(n, 1) + 0.0 for n in csv["mean"]]
    row = csv.loc[("delta", "focus"), ["paper", "difference", "beyond"]]
    assert row.tolist() == [12.5, -32.5, True]
    text = TextTable("5", "", "", ["", "Value"], [["a", "--"]], "lX")
    assert tidy(text).to_dict("list") == {"id": ["a"], "Value": [""]}


def test_latex_of_a_table_with_published_lines():
    body = tex(example(), "Title: 100% & ± 1.").split("\\midrule\n")[1].split("\\bottomrule")[0]
    assert [" ".join(line.split()) for line in body.splitlines()] == [
        r"\multicolumn{4}{l}{\textbf{Mixed RM}} \\",
        r"Baseline & $81.0_{\pm 1.2}$ & -- & $50.0^{*}_{\pm 0.5}$ \\",
        r"Change & \cellcolor{red!25}$-20.0$ & $+0.0_{\pm 0.2}$ & -- \\",
        r"\quad\textcolor{black!55}{paper} & \textcolor{black!55}{$+12.5$} & -- "
        r"& \textcolor{black!55}{$+3.0_{\pm 0.2}$} \\",
        r"\quad\textcolor{black!55}{difference} & $\mathbf{-32.5}$ & -- & -- \\",
    ]


def test_latex_is_a_float_with_the_papers_number_a_caption_and_a_label():
    text = tex(example(), "100% & ± 1")
    assert r"\caption[What it is]{100\% \& $\pm$ 1\provenance}" in text
    assert r"\renewcommand{\thetable}{2}" in text
    assert r"\label{tab:2}" in text
    assert text.count("{") == text.count("}")
    assert escape(r"a_b\c~{|") == r"a\_b\textbackslash{}c\textasciitilde{}\{\textbar{}"


def test_published_values_and_differences_beside_the_columns_that_have_them():
    lines = tex(example("column"), "").splitlines()
    head = lines.index(r"\toprule")
    spans = [(3, "Focus"), (1, "Safety"), (3, "Average")]
    labels = [rf"\multicolumn{{{span}}}{{c}}{{{label}}}" for span, label in spans]
    assert cells_of(lines[head + 1]) == ["", *labels]
    assert lines[head + 2] == r"\cmidrule(lr){2-4} \cmidrule(lr){6-8}"
    assert r"\begin{tabular}{lrrrrrrr}" in lines
    numbers = re.findall(r"[+-][0-9.]+|--", lines[-5])
    assert numbers == ["-20.0", "+12.5", "-32.5", "+0.0", "--", "+3.0", "--"]


def test_without_published_values_nothing_stands_beside():
    table = example("column")
    text = tex(replace(table, cells=table.cells[["mean", "spread", "tasks"]]), "")
    assert "paper}" not in text
    assert r"\begin{tabular}{lrrr}" in text


def numbered(count):
    return [Row((str(number),), f"row {number}") for number in range(count)]


def test_a_tall_table_goes_on_in_a_float_of_its_own():
    """66 lines fit. The first row of each section has one, the others have two: never parted."""
    values = {(str(number), "focus"): (1.0, 0.0, 1) for number in range(50)}
    published = {key: value for key, value in values.items() if key[0] != "0"}
    sections = [Section(name, numbered(50)) for name in ("one", "two")]
    cells = beside(frame(values).reset_index(), frame(published), 3.0)
    cells = cells.set_index(["measure", "task"]).assign(difference=math.nan)
    text = tex(Table("1", "Tall", "", cells, sections, COLUMNS), "All of it")
    floats = text.split(r"\begin{table}")[1:]
    assert [part.count("row ") for part in floats] == [33, 33, 33, 1]
    assert [part.count("paper}") for part in floats] == [32, 32, 33, 1]
    labels = [re.findall(r"\\textbf\{(.*?)\}", part) for part in floats]
    assert labels == [["one"], ["one (continued)", "two"], ["two (continued)"], ["two (continued)"]]
    assert text.count(r"\label") == 1
    assert text.count(r"\caption[]{Tall (continued)}") == 3


def test_no_section_begins_at_the_very_end_of_a_float():
    """60 of 66 lines are taken."""
    cells = frame({(str(number), "focus"): (1.0, 0.0, 1) for number in range(60)})
    sections = [Section("one", numbered(60)), Section("two", numbered(9))]
    floats = tex(Table("1", "Tall", "", cells, sections, COLUMNS)).split(r"\begin{table}")[1:]
    assert [part.count("row ") for part in floats] == [60, 9]


def test_a_turned_table_prints_the_same_cells_with_the_same_marks():
    table, other = example(), turned(example())
    assert list(other.columns) == ["baseline", "delta"]
    levels = ["measure", "task"]
    rows, columns = (tidy(shown).set_index(levels).sort_index() for shown in (table, other))
    pd.testing.assert_frame_equal(rows, columns[rows.columns], check_like=True)
    lines = {cells_of(line)[0]: cells_of(line)[1:] for line in tex(other).splitlines()}
    assert lines["Safety"] == ["--", r"$+0.0_{\pm 0.2}$", "--", "--"]
    assert r"\cellcolor{red!25}$-20.0$" in lines["Focus"]


def test_a_table_by_itself_says_what_must_be_known():
    table = example()
    text = latex(table, caption(table, CONTEXT), provenance(CONTEXT))
    for part in (
        "What it is. 100\\% \\& more.",
        "Profile mini: the miniature.",
        "official files: generated texts.",
        "Incomplete grid: 1 of 2 trios, gpt2-small-0.",
        "No items, or not of every subset: Chat.",
        "An asterisk",
        "comparison is not meaningful",
    ):
        assert part in text
    definition, use = re.findall(r".*\\provenance.*", text)
    assert definition.startswith(r"\providecommand")
    assert use.endswith(r"\provenance}\label{tab:2}")


def test_a_table_of_text_breaks_over_pages():
    table = TextTable("5", "Words", "", ["Name", "|Value|"], [["a & b", "1|2"]], "lX")
    text = tex(table)
    assert r"\begin{xltabular}{\linewidth}{l>{\raggedright\arraybackslash}X}" in text
    assert r"a \& b & 1\textbar{}2 \\" in text
    assert text.count(r"Name & \textbar{}Value\textbar{} \\") == 2  # again on a second page
    assert r"\caption[]{Words (continued)}" in text
    assert text.count(r"\label") == 1
    assert r"1\|2" in markdown(table)
