import json
import re
import shutil
from html.parser import HTMLParser

import pandas as pd
import pytest
import yaml

from rm_tension.analyse import stage as analyse
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Trio, trios
from rm_tension.evaluate.scores import SCORES
from rm_tension.report import document, supplement, tables
from rm_tension.report import stage as report
from rm_tension.report.latex import escape
from rm_tension.report.notes import INTERVALS
from rm_tension.report.source import Source
from rm_tension.report.table import Table, printed_cells
from samples import only_mini
from synthetic import small_params, write_profile

pytestmark = pytest.mark.slow

PARTIAL = ("rm-bench/math", "reward-bench/donotanswer")
needs_latex = pytest.mark.skipif(shutil.which("latexmk") is None, reason="needs latexmk (make tex)")


class Page(HTMLParser):
    """What a browser looks up: ids, the targets of links and images."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.images = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes[name] for name in ("href", "src") if name in attributes]
        self.images += [attributes] if tag == "img" else []


def run(stage):
    stage(profile="mini")


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_latex(monkeypatch):
    """Compiling takes seconds and has its own test."""

    def stub(folder):
        (folder / "artifact.pdf").touch()
        return ""

    monkeypatch.setattr(report, "compile_pdf", stub)


@pytest.fixture
def one_trio(root):
    """Results of one trio whose benchmarks lack half of Math and all of Do Not Answer."""
    paths = write_profile(root, [Trio("gpt2-small", 0)], without=PARTIAL)
    run(analyse.main)
    return paths


@needs_latex
def test_the_whole_grid(root, monkeypatch):
    write_loaded_files(write_profile(root, trios(small_params().grid, "mini")))
    run(analyse.main)
    read, table = set(), Source.table
    monkeypatch.setattr(
        Source, "table", lambda source, name, *rest: (read.add(name), table(source, name, *rest))[1]
    )
    run(report.main)
    means = {f"means/{path.stem}" for path in (root / "results/mini/means").glob("*.csv")}
    assert means == {
        name for name in read if name.startswith("means/")
    }  # every average has its reader
    check_that_agreement_counts_what_the_tables_print(root / "results/mini")
    accuracy = pd.read_csv("results/mini/accuracy.csv")
    assert (accuracy["correct"] + accuracy["ties"] <= accuracy["items"]).all()
    baseline = accuracy[accuracy["kind"] == "none"]
    assert len(baseline) == 54 * 25
    groups = pd.read_csv("results/mini/group_accuracy.csv").query("kind == 'none'")
    means = groups.groupby(["objective", "group"])["accuracy"].mean()
    assert means["helpful", "helpfulness"] > means["harmless", "helpfulness"]
    assert means["harmless", "harmlessness"] > means["helpful", "harmlessness"]
    context = json.loads((root / "results/mini/context.json").read_text())
    assert (len(context["trios"]), context["missing_trios"], context["missing_tasks"]) == (
        18,
        [],
        [],
    )
    found = files(root / "reports/mini")
    tables = {
        f"tables/table_{number}.tex" for number in [*(f"{n:02}" for n in range(1, 22)), "19b"]
    }
    figures = {
        f"figures/figure_{number}.pdf"
        for number in ["01", *(f"02{c}" for c in "abcdef"), "02", "03b", "07"]
    }
    assert tables | figures | {"artifact.pdf", "index.html", "claims.md"} <= set(found)
    page = found["README.md"].decode()
    assert "not the paper's numbers" in page
    assert "Incomplete" not in page
    assert json.loads((root / "runs/mini/report.json").read_text())["metrics"]["overfull"] == 0
    check_dvc_views(root / "reports/mini", means)
    again = document.compile_pdf(root / "reports/mini")
    assert (root / "reports/mini/artifact.pdf").read_bytes() == found["artifact.pdf"]
    assert "undefined" not in again
    check_that_every_number_is_one(found)
    check_what_was_loaded(found)
    check_that_parts_are_counted_and_the_deciding_one_is_named(root / "results/mini", found)


def check_that_parts_are_counted_and_the_deciding_one_is_named(results, found):
    claims = json.loads((results / "claims.json").read_text())
    verdicts = [part["verdict"] for claim in claims for part in claim["parts"]]
    counts = {name: verdicts.count(verdict) for name, verdict in VERDICTS.items()}
    unknown = verdicts.count("not applicable")
    parts = counts | {"open": counts["open"] + unknown, "unknown": unknown}
    assert json.loads(found["metrics.json"])["parts"] == parts
    said = (
        f"Of their {len(verdicts)} parts, {parts['hold']} hold, {parts['contradicted']} are contradicted, "
        f"{parts['open']} are open"
    )
    assert parts["hold"] > 0
    for name in ("README.md", "claims.md", "artifact.tex", "index.html"):
        text = found[name].decode()
        assert text.count(said) == 1
        assert INTERVALS in text or name == "artifact.tex"
    table = found["tables/table_S02.tex"].decode()
    assert escape(INTERVALS) in table
    for claim in claims:
        part = next(part for part in claim["parts"] if part["part"] == claim["decides"])
        shared = ("effect", "interval", "published", "verdict")
        assert [part[name] for name in shared] == [claim[name] for name in shared]
        assert re.search(
            rf"^{claim['id']} .*Decides.*: {re.escape(escape(claim['decides']))}\.",
            table,
            re.MULTILINE,
        )


VERDICTS = {"hold": "reproduced", "contradicted": "not reproduced", "open": "undecided"}
SENTENCE = "two pairs for all, and a model from 4 bits"


def write_loaded_files(paths):
    """As the stages of data and of two backbones record stand-ins."""
    shared = {"repo": "owner/hh", "revision": "main", "commit": "c0" * 20, "sha256": "5a" * 32}
    files = [
        shared
        | {
            "filename": "helpful-base/train.jsonl.gz",
            "official": True,
            "rows": {"helpful-base": 43835},
        },
        shared
        | {
            "filename": "harmless-base/test.jsonl.gz",
            "official": False,
            "rows": {"harmless-base": 1002},
        },
        shared
        | {"filename": "generated.json", "official": False, "rows": {"chat": 1}, "commit": None},
    ]
    paths.provenance.write_text(json.dumps({"stand_ins": SENTENCE, "files": files}))
    for backbone, stand_ins in (("gpt2-small", SENTENCE), ("gpt2-large", None)):
        weights = [
            {"name": name, "size": 123456789, "sha256": f"{number}b" * 32}
            for number, name in enumerate(("config.json", "model.safetensors"))
        ]
        hub = {
            "repo": f"owner/{backbone}",
            "revision": "7e" * 20,
            "commit": "7e" * 20,
            "files": weights,
        }
        paths.backbone_provenance(backbone).write_text(
            json.dumps({"hub": hub, "stand_ins": stand_ins})
        )


def check_what_was_loaded(found):
    """Stand-ins are called so, with the sha256 of what was taken for official files; what was generated is no file."""
    cards, loaded = (
        rows_of(found[f"tables/table_{number}.tex"].decode()) for number in ("06", "S10")
    )
    asked = "Taken for owner/gpt2-small at 7e7e7e7e7e7e."
    assert cards["Mini-GPT2-S"] == ["gpt2-small", f"Stand-ins: {SENTENCE}. {asked}", "--", "1b" * 8]
    assert cards["Mini-GPT2-L"] == ["gpt2-large", "owner/gpt2-large", "7e" * 6, "1b" * 8]
    assert cards["Mini-GPT2-M"][1:] == [
        "random gpt2: 5 blocks of width 32, 4 heads, seed 5",
        "--",
        "--",
    ]
    assert loaded["no"] == [
        "taken for owner/hh",
        "harmless-base/test.jsonl.gz",
        "1,002 rows",
        "--",
        "5a" * 8,
    ]
    assert loaded["not known"] == [
        "taken for owner/gpt2-small",
        "model.safetensors",
        "123,456,789 bytes",
        "--",
        "1b" * 8,
    ]
    assert loaded["yes"] == [
        "owner/gpt2-large",
        "model.safetensors",
        "123,456,789 bytes",
        "7e" * 6,
        "1b" * 8,
    ]
    text = found["tables/table_S10.tex"].decode()
    assert re.findall(r"^(no|not known|yes) ", text, re.MULTILINE) == [
        "no",
        *["not known"] * 2,
        *["yes"] * 3,
    ]
    assert "generated.json" not in text
    assert f"Stand-ins were taken for official files: {SENTENCE}." in found["README.md"].decode()


def rows_of(table):
    """The cells of a table of words behind the first, by this."""
    rows = [
        line.removesuffix(r" \\").split("&") for line in table.splitlines() if line.endswith(r" \\")
    ]
    return {name.strip(): [cell.strip() for cell in cells] for name, *cells in rows}


def check_that_every_number_is_one(found):
    """No file prints what programs write where there is no number."""
    texts = {
        name: content.decode()
        for name, content in found.items()
        if not name.endswith((".pdf", ".png"))
    }
    assert {name.rpartition(".")[2] for name in texts} == {
        "md",
        "tex",
        "html",
        "json",
        "csv",
        "svg",
    }
    for name, text in texts.items():
        shown = re.sub(
            '<(script|style)>.*?</(script|style)>|"data:[^"]*"', "", text, flags=re.DOTALL
        )
        wrong = re.search(
            r".{,60}(?<![A-Za-z])(nan|NaN|inf|Infinity|None|null|NaT)(?![A-Za-z]).{,60}", shown
        )
        assert not wrong, f"{name}: {wrong[0]}"


def check_that_agreement_counts_what_the_tables_print(folder):
    source = Source.of(folder, "mini", small_params())
    printed = {}
    for number, make in (tables.TABLES | supplement.TABLES).items():
        if isinstance(table := make(number, source), Table):
            cells = printed_cells(table).dropna(subset=["difference"])
            judged = [len(cells) - cells["beyond"].sum()] if table.points else []
            printed |= {number: [len(cells), *judged]} if len(cells) else {}
    counted = pd.read_csv(folder / "means/agreement.csv").set_index("table")[["cells", "agreeing"]]
    assert printed == {
        number: [int(n) for n in row if n == n] for number, *row in counted.itertuples()
    }
    assert len(printed) == 18
    assert printed["10"][0] == 5


def check_dvc_views(folder, means):
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["accuracy"]["helpfulness"]["mixed"] == pytest.approx(
        means["mixed", "helpfulness"], abs=0.01
    )
    assert set(metrics["claims"]) == {f"C{number}" for number in range(1, 22)}
    loss = pd.read_csv(folder / "plots/loss.csv")
    assert loss["progress"].tolist() == list(range(2, 101, 2))
    assert loss["helpful"].between(0.35, 0.7).all()
    ablation = pd.read_csv(folder / "plots/ablation.csv")
    assert ablation["percent"].tolist() == [0, 10, 30]
    assert ablation["mixed"].iloc[0] == pytest.approx(metrics["hh_accuracy"]["mixed"], abs=0.01)
    assert len(pd.read_csv(folder / "plots/accuracy.csv")) == 6


@pytest.mark.parametrize(
    "backbones", [["gpt2-small"], ["smollm2-135m", "gpt2-small", "gpt2-large", "gpt2-medium"]]
)
def test_a_smaller_grid(root, no_latex, backbones):
    """As a reader makes who cuts params.yaml down to what their machine can do."""
    write_profile(root, [Trio(backbone, 0) for backbone in backbones])
    raw = yaml.safe_load((root / "params.yaml").read_text())
    only_mini(raw, backbones, [0])
    (root / "params.yaml").write_text(yaml.safe_dump(raw))
    run(analyse.main)
    run(report.main)
    assert "Incomplete" not in (root / "reports/mini/README.md").read_text()
    check_that_every_number_is_one(files(root / "reports/mini"))
    figures = {path.stem for path in (root / "reports/mini/figures").glob("figure_02?.png")}
    # one backbone is its own mean
    assert len(figures) == (len(backbones) if len(backbones) > 1 else 0)


def test_an_incomplete_grid(one_trio, no_latex):
    run(report.main)
    found = files(one_trio.reports)
    assert "tables/table_S10.tex" not in found  # all was generated
    assert list(rows_of(found["tables/table_06.tex"].decode())) == ["Backbone", "Mini-GPT2-S"]
    check_that_missing_cells_are_marked(found)
    check_page(found)
    check_that_every_number_is_one(found)
    table = found["tables/table_09.tex"].decode()
    assert re.search(r"Chat +& 18 +& 387 +& 50 ", table)  # scored, and 3 styles of 129 prompts
    assert "519" in table
    run(report.main)
    assert files(one_trio.reports) == found


def test_a_profile_that_silences_by_no_absolute_score_has_no_rows_of_it(root, no_latex):
    """As `evening`: one trio, of which neurons have no interval, and part of the tasks."""
    percents = {"hh_percents": {kind: [10, 30] for kind in ("random", "change", "magnitude")}}
    paths = write_profile(
        root, [Trio("gpt2-small", 0)], PARTIAL, **percents, task_percents={"magnitude": [10]}
    )
    run(analyse.main)
    run(report.main)
    found = files(paths.reports)
    check_that_every_number_is_one(found)
    rows = re.findall(
        r"^(C\d+) & (\w+), top ([\d, ]+)\\%", found["tables/table_S09.tex"].decode(), re.MULTILINE
    )
    of_neurons = [
        (name, percent)
        for name, score in SCORES.items()
        if score.measured
        for percent in ("5", "10", "20")
    ]
    expected = [(claim, *row) for claim in ("C5", "C7", "C9") for row in of_neurons]
    assert sorted(rows) == sorted(
        [*expected, ("C6", "magnitude", "10, 30"), ("C8", "magnitude", "10")]
    )
    assert "absolute" not in found["tables/table_S08.tex"].decode()
    assert "gpt2-small +0." in found["claims.md"].decode().replace("-0.", "+0.")
    assert "(no interval)" in found["claims.md"].decode()


def check_that_missing_cells_are_marked(found):
    assert {f"tables/table_{number:02}.tex" for number in range(1, 22)} <= set(found)
    assert {f"figures/figure_{number:02}.png" for number in range(1, 8)} <= set(found)
    assert {
        name for name in found if name.startswith("figures/figure_02") and name.endswith(".pdf")
    } == {
        "figures/figure_02.pdf",
        "figures/figure_02d.pdf",  # the fourth backbone's
    }
    retention = found["tables/table_01.tex"].decode()
    maths = next(line for line in retention.splitlines() if line.startswith("Math  "))
    assert maths.split("&")[1].strip() == "--"
    averages = [line for line in retention.splitlines() if line.startswith("Average")]
    assert all("^{*}" in line for line in averages)
    assert "Incomplete grid: 1 of 18 trios, gpt2-small-0." in retention
    for name in ("README.md", "index.html", "artifact.tex", "claims.md"):
        for warning in (
            "official files: generated texts",
            "Incomplete grid",
            "Math, Do Not Answer",
        ):
            assert warning in found[name].decode()


def check_page(found):
    """It needs nothing from elsewhere and reaches everything."""
    text = found["index.html"].decode()
    page = Page(text)
    own = re.sub('"data:[^"]*"', "", text)  # figures are SVGs, whose name spaces are addresses
    assert not re.search(r"https?://|<link|<script[^>]*\ssrc|@import|url\(", own)
    assert len(page.ids) == len(set(page.ids))
    tables, figures = (
        {f"{kind}_{n:02}" for n in range(1, last)} for kind, last in (("table", 22), ("figure", 8))
    )
    assert tables | figures <= set(page.ids)
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= set(page.ids)
    assert {link for link in page.links if not link.startswith(("#", "data:"))} <= set(found)
    assert all(image["alt"] for image in page.images)


def test_stand_ins_of_weights_alone_are_said_everywhere(root):
    """The data may be official where stand-ins are accepted; of the weights nobody knows."""
    paths = write_profile(root, [Trio("gpt2-small", 0)])
    write_loaded_files(paths)
    paths.provenance.write_text(json.dumps({"stand_ins": None, "files": []}))
    run(analyse.main)
    context = json.loads((paths.results / "context.json").read_text())
    assert (context["stand_ins"], context["comparable"]) == (SENTENCE, False)
    provenance = json.loads((paths.results / "provenance.json").read_text())
    assert provenance["backbones"]["gpt2-small"]["hub"]["files"][1]["sha256"] == "1b" * 32


def test_a_report_that_fails_leaves_the_old_one_and_says_what_is_missing(one_trio):
    one_trio.reports.mkdir(parents=True)
    (one_trio.reports / "README.md").write_text("old")
    (one_trio.results / "means" / "retention.csv").unlink()
    with pytest.raises(UserError, match=r"means/retention\.csv: not found; run the stage"):
        run(report.main)
    assert files(one_trio.reports) == {"README.md": b"old"}


def test_without_latex_the_error_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"latexmk not found, .* `make tex`"):
        document.compile_pdf(tmp_path)


@needs_latex
def test_a_document_that_latex_refuses_is_named(tmp_path):
    (tmp_path / "artifact.tex").write_text(
        r"\documentclass{article}\begin{document}\nonsense\end{document}"
    )
    with pytest.raises(UserError, match=r"artifact\.tex: ! Undefined control sequence"):
        document.compile_pdf(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rewards: rewards.drop(columns="kind"), "no column kind"),
        (lambda rewards: rewards.replace({"item_id": {"chat/0": "chat/99"}}), "item_id chat/99"),
        (lambda rewards: rewards.assign(reward=float("inf")), "not finite"),
    ],
)
def test_a_broken_rewards_file_is_named(root, change, message):
    trio = Trio("gpt2-small", 0)
    paths = write_profile(root, [trio])
    change(pd.read_parquet(paths.rewards(trio))).to_parquet(paths.rewards(trio))
    with pytest.raises(UserError, match=f"rewards/mini/gpt2-small-0.parquet: .*{message}"):
        run(analyse.main)
    assert not paths.results.exists()


def test_nothing_to_analyse_or_report_says_what_to_run(root):
    write_profile(root, [])
    with pytest.raises(UserError, match="rewards/mini: no rewards of any trio"):
        run(analyse.main)
    with pytest.raises(UserError, match=r"results/mini/context\.json: not found; `dvc checkout"):
        run(report.main)


def test_the_analysis_refuses_what_a_seed_has_left_that_is_gone(root):
    paths = write_profile(root, [Trio("gpt2-small", 0)])
    left = paths.activations(Trio("gpt2-small", 5))
    left.touch()
    with pytest.raises(UserError, match=f"{left.name}: of no cell in params.yaml"):
        run(analyse.main)
    assert not paths.results.exists()
