import math

import pandas as pd

from rm_tension.analysis.context import Context
from rm_tension.report.latex import escape, latex
from rm_tension.report.markdown import markdown
from rm_tension.report.notes import caption
from rm_tension.report.table import Row, Section, Table, beside

CONTEXT = Context("mini", "the miniature", False, 10, True, ["gpt2-small-0"], ["gpt2-small-247"], ["chat"], "abc")
COLUMNS = {"focus": "Focus", "safety": "Safety", "harmlessness": "Average"}


def frame(values, index=("measure", "task")):
    rows = [(*key, *value) for key, value in values.items()]
    return pd.DataFrame(rows, columns=[*index, "mean", "spread", "tasks"]).set_index(list(index))


def example(published="row"):
    ours = frame(
        {
            ("baseline", "focus"): (81.04, 1.23, 1),
            ("baseline", "harmlessness"): (50.0, 0.5, 7),
            ("delta", "focus"): (-20.0, math.nan, 1),
            ("delta", "safety"): (-0.04, 0.2, 1),
        }
    )
    theirs = frame({("delta", "focus"): (12.5, math.nan, 1), ("delta", "harmlessness"): (3.0, 0.25, 8)})
    rows = [Row(("baseline",), "Baseline"), Row(("delta",), "Change", change=True)]
    cells = beside(ours, theirs, ["measure", "task"])
    return Table(2, "What it is: 100% & more.", cells, [Section("Mixed RM", rows)], COLUMNS, published)


def test_latex_of_a_table_with_published_lines():
    body = latex(example(), "Title: 100% & ± 1.").split("\\midrule\n")[1].split("\\bottomrule")[0]
    assert [" ".join(line.split()) for line in body.splitlines()] == [
        r"\multicolumn{4}{l}{\textbf{Mixed RM}} \\",
        r"Baseline & $81.0_{\pm 1.2}$ & -- & $50.0^{*}_{\pm 0.5}$ \\",
        r"Change & \cellcolor{red!25}$-20.0$ & $+0.0_{\pm 0.2}$ & -- \\",
        r"\quad\textcolor{black!55}{paper} & \textcolor{black!55}{$+12.5$} & -- "
        r"& \textcolor{black!55}{$+3.0_{\pm 0.2}$} \\",
    ]


def test_latex_is_a_float_with_the_papers_number_a_caption_and_a_label():
    text = latex(example(), "100% & ± 1")
    assert r"\caption{100\% \& $\pm$ 1}" in text
    assert r"\renewcommand{\thetable}{2}" in text
    assert r"\label{tab:2}" in text
    assert text.count("{") == text.count("}")
    assert escape(r"a_b\c~{") == r"a\_b\textbackslash{}c\textasciitilde{}\{"


def test_published_values_beside_each_column():
    text = latex(example("column"), "")
    assert r" & \multicolumn{2}{c}{Focus} & \multicolumn{2}{c}{Safety} & \multicolumn{2}{c}{Average} \\" in text
    assert r"\begin{tabular}{lrrrrrr}" in text
    lines = markdown(example("column")).splitlines()
    assert [cell.strip() for cell in lines[0].split("|")[2:-1]] == [
        "Focus",
        "*paper*",
        "Safety",
        "*paper*",
        "Average",
        "*paper*",
    ]
    assert [cell.strip() for cell in lines[-1].split("|")[1:-1]] == [
        "Change",
        "-20.0",
        "*+12.5*",
        "+0.0 ± 0.2",
        "--",
        "--",
        "*+3.0 ± 0.2*",
    ]


def test_without_published_values_nothing_stands_beside():
    table = example("column")
    ours = table.cells.drop(columns=["partial", "paper", "paper_spread"]).assign(tasks=1)
    text = latex(Table(10, "", beside(ours, None, ["measure", "task"]), table.sections, COLUMNS, "column"), "")
    assert "paper" not in text
    assert r"\begin{tabular}{lrrr}" in text


def test_caption_says_what_must_be_known():
    text = caption(example(), CONTEXT)
    for part in (
        "What it is",
        "Profile mini: the miniature.",
        "Stand-in files",
        "Incomplete grid: 1 of 2 trios, gpt2-small-0.",
        "No items, or not of every subset: Chat.",
        "An asterisk",
        "ours are not comparable",
    ):
        assert part in text
