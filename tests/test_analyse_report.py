"""Both stages on generated rewards: a small grid, one trio of a larger grid, one trio alone."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import yaml

from rm_tension import cli
from rm_tension.analyse import stage as analyse
from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Paths, Trio
from rm_tension.evaluate.scores import SCORES, Score, magnitude_score
from rm_tension.report import document, supplement, tables
from rm_tension.report import stage as report
from rm_tension.report.latex import escape
from rm_tension.report.notes import INTERVALS
from rm_tension.report.source import Source
from rm_tension.report.table import Table, printed_cells
from samples import only_mini
from synthetic import write_profile

pytestmark = pytest.mark.slow

PARTIAL = ("rm-bench/math", "reward-bench/donotanswer")
ONE = Trio("gpt2-small", 0)
SENTENCE = "two pairs for all, and a model from 4 bits"
VERDICTS = {"hold": "reproduced", "contradicted": "not reproduced", "open": "undecided"}


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


def edit_params(change):
    path = Path("params.yaml")
    raw = yaml.safe_load(path.read_text())
    change(raw)
    path.write_text(yaml.safe_dump(raw))


@pytest.fixture(scope="module")
def analysed(tmp_path_factory):
    """Results of one trio of eighteen; its benchmarks lack half of Math and all of Do Not Answer."""
    folder = tmp_path_factory.mktemp("one")
    write_profile(folder, [ONE], without=PARTIAL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        edit_params(lambda raw: raw["profiles"]["mini"].update(required_claims=["C7"]))
        run(analyse.main)
    return folder


@pytest.fixture
def one_trio(analysed, root):
    shutil.copytree(analysed, root, dirs_exist_ok=True)
    return Paths("mini", root)


def write_loaded_files(paths):
    """As the stages of data and of two backbones record stand-ins."""
    shared = {"repo": "owner/hh", "revision": "main", "commit": "c0" * 20, "sha256": "5a" * 32}
    files = [
        ("helpful-base/train.jsonl.gz", True, {"helpful-base": 43835}, {}),
        ("harmless-base/test.jsonl.gz", False, {"harmless-base": 1002}, {}),
        ("generated.json", False, {"chat": 1}, {"commit": None}),
    ]
    known = [
        shared | {"filename": name, "official": official, "rows": rows} | other
        for name, official, rows, other in files
    ]
    paths.provenance.write_text(json.dumps({"stand_ins": SENTENCE, "files": known}))
    write_loaded_weights(paths, "smollm2-135m", SENTENCE)
    write_loaded_weights(paths, "gpt2-large", None)


def write_loaded_weights(paths, backbone, stand_ins):
    names = ("config.json", "model.safetensors")
    weights = [
        {"name": name, "size": 123456789, "sha256": f"{number}b" * 32}
        for number, name in enumerate(names)
    ]
    hub = {"repo": f"owner/{backbone}", "revision": "7e" * 20, "commit": "7e" * 20}
    record = {"hub": hub | {"files": weights}, "stand_ins": stand_ins}
    paths.backbone_provenance(backbone).write_text(json.dumps(record))


@pytest.mark.skipif(shutil.which("latexmk") is None, reason="needs latexmk (make tex)")
def test_a_whole_grid(root, monkeypatch):
    """Of two backbones and two seeds, as a reader makes who cuts params.yaml down."""
    backbones, seeds = ["smollm2-135m", "gpt2-large"], [0, 247]
    some = [Trio(backbone, seed) for backbone in backbones for seed in seeds]
    write_loaded_files(write_profile(root, some))
    edit_params(lambda raw: only_mini(raw, backbones, seeds))
    run(analyse.main)
    read, table = set(), Source.table
    monkeypatch.setattr(
        Source, "table", lambda source, name, *rest: (read.add(name), table(source, name, *rest))[1]
    )
    run(report.main)
    means = {f"means/{path.stem}" for path in (root / "results/mini/means").glob("*.csv")}
    assert means == {name for name in read if name.startswith("means/")}
    check_that_agreement_counts_what_the_tables_print(root / "results/mini")
    accuracy = pd.read_csv("results/mini/accuracy.csv")
    assert (accuracy["correct"] + accuracy["ties"] <= accuracy["items"]).all()
    assert len(accuracy[accuracy["kind"] == "none"]) == 12 * 25
    groups = pd.read_csv("results/mini/group_accuracy.csv").query("kind == 'none'")
    means = groups.groupby(["objective", "group"])["accuracy"].mean()
    assert means["helpful", "helpfulness"] > means["harmless", "helpfulness"]
    assert means["harmless", "harmlessness"] > means["helpful", "harmlessness"]
    context = json.loads((root / "results/mini/context.json").read_text())
    assert len(context["trios"]) == 4
    assert context["missing_trios"] == context["missing_tasks"] == []
    found = files(root / "reports/mini")
    numbers = [*(f"{n:02}" for n in range(1, 22)), "19b"]
    figures = {f"figures/figure_{number}.pdf" for number in ("01", "02a", "02b", "02", "03b", "07")}
    assert {f"tables/table_{number}.tex" for number in numbers} | figures <= set(found)
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


def check_what_was_loaded(found):
    """Stand-ins are called so, with the sha256 of what was taken for official files; what was generated is no file."""
    cards, loaded = (
        rows_of(found[f"tables/table_{number}.tex"].decode()) for number in ("06", "S10")
    )
    asked = "Taken for owner/smollm2-135m at 7e7e7e7e7e7e."
    of_stand_ins = ["smollm2-135m", f"Stand-ins: {SENTENCE}. {asked}", "--", "1b" * 8]
    assert cards["Mini-Llama-S"] == of_stand_ins
    assert cards["Mini-GPT2-L"] == ["gpt2-large", "owner/gpt2-large", "7e" * 6, "1b" * 8]
    pairs = ["taken for owner/hh", "harmless-base/test.jsonl.gz", "1,002 rows", "--", "5a" * 8]
    weights = ["model.safetensors", "123,456,789 bytes"]
    assert loaded["no"] == pairs
    assert loaded["not known"] == ["taken for owner/smollm2-135m", *weights, "--", "1b" * 8]
    assert loaded["yes"] == ["owner/gpt2-large", *weights, "7e" * 6, "1b" * 8]
    text = found["tables/table_S10.tex"].decode()
    official = re.findall(r"^(no|not known|yes) ", text, re.MULTILINE)
    assert official == ["no", *["not known"] * 2, *["yes"] * 3]
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
    source = Source.of(folder, "mini", load_params())
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
    assert printed["10"][0] == 2


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


def test_an_incomplete_grid(one_trio, no_latex):
    run(report.main)
    found = files(one_trio.reports)
    assert "tables/table_S10.tex" not in found  # all was generated
    card = ["gpt2-small", "random gpt2: 4 blocks of width 32, 4 heads, seed 4", "--", "--"]
    cards = rows_of(found["tables/table_06.tex"].decode())
    assert (list(cards), cards["Mini-GPT2-S"]) == (["Backbone", "Mini-GPT2-S"], card)
    check_that_missing_cells_are_marked(found)
    check_page(found)
    check_that_every_number_is_one(found)
    table = found["tables/table_09.tex"].decode()
    assert re.search(r"Chat +& 18 +& 387 +& 50 ", table)  # scored, and 3 styles of 129 prompts
    assert "519" in table


def test_claims_of_one_trio(one_trio):
    claims = json.loads((one_trio.results / "claims.json").read_text())
    by_id = {claim["id"]: claim for claim in claims}
    assert len(claims) == 21
    assert [id_ for id_, claim in by_id.items() if claim["required"]] == ["C7"]
    assert {claim["published_verdict"] for claim in claims} == {"holds", None}
    assert by_id["C21"]["published"] == pytest.approx(0.776, abs=5e-4)
    # of one seed nothing says how much neurons vary
    assert {by_id[id_]["verdict"] for id_ in ("C5", "C7", "C9")} == {"not applicable"}
    low, high = by_id["C1"]["interval"]
    assert low < by_id["C1"]["effect"] < high
    with pytest.raises(SystemExit, match="not reproduced: C7"):
        cli.main(["claims", "--profile", "mini"])


def test_one_trio_alone_with_a_score_of_its_own(root, no_latex, monkeypatch):
    """As `evening`: neurons have no interval, some tasks are missing, one score ablates nothing.

    Settings, tables and figures follow the score that is added; the data are official.
    """
    planted = Score("Planted score", lambda activations, _: -magnitude_score(activations))
    monkeypatch.setitem(SCORES, "planted", planted)
    ablated = ("random", "change", "magnitude", "planted")
    paths = write_profile(
        root,
        [ONE],
        PARTIAL,
        hh_percents={kind: [10, 30] for kind in ablated},
        task_percents={"magnitude": [10], "planted": [10]},
    )
    paths.provenance.write_text(json.dumps({"stand_ins": None, "files": []}))
    write_loaded_weights(paths, ONE.backbone, SENTENCE)
    edit_params(lambda raw: only_mini(raw, [ONE.backbone], [ONE.seed]))
    run(analyse.main)
    run(report.main)
    found = files(paths.reports)
    check_that_every_number_is_one(found)
    context = json.loads((paths.results / "context.json").read_text())
    assert (context["stand_ins"], context["comparable"]) == (SENTENCE, False)
    assert "Incomplete" not in found["README.md"].decode()
    assert "A single value says nothing of its spread." in found["claims.md"].decode()
    # one backbone is its own mean
    assert [name for name in found if re.search("figure_02.?.png", name)] == [
        "figures/figure_02.png"
    ]
    check_scores(paths, found)


def check_scores(paths, found):
    """Each has its rows, of ablation those that ablated."""
    verdicts = found["tables/table_S09.tex"].decode()
    rows = re.findall(r"^(C\d+) & (\w+), top ([\d, ]+)\\%", verdicts, re.MULTILINE)
    measured = [name for name, score in SCORES.items() if score.measured]
    percents = ("5", "10", "20")
    claims = ("C5", "C7", "C9")
    expected = [(claim, name, p) for claim in claims for name in measured for p in percents]
    ablating = ("magnitude", "planted")
    expected += [("C6", name, "10, 30") for name in ablating]
    expected += [("C8", name, "10") for name in ablating]
    assert sorted(rows) == sorted(expected)
    assert "absolute" not in found["tables/table_S08.tex"].decode()
    for number in ("S04", "S08", "S11", "S12"):
        assert "planted score" in found[f"tables/table_{number}.tex"].decode().lower(), number
    assert ">Top by planted score<" in found["index.html"].decode()
    assert "planted" in pd.read_parquet(paths.results / "neurons.parquet")
    effects = pd.read_csv(paths.results / "score_effects.csv").set_index("score")
    assert (effects.loc["magnitude", "correlation"] > 0.9).all()
    assert effects.loc["contrast", "correlation"].abs().max() < 0.9


def check_that_missing_cells_are_marked(found):
    assert {f"tables/table_{number:02}.tex" for number in range(1, 22)} <= set(found)
    assert {f"figures/figure_{number:02}.png" for number in range(1, 8)} <= set(found)
    radars = {name for name in found if re.search(r"figure_02.*\.pdf", name)}
    assert radars == {"figures/figure_02.pdf", "figures/figure_02d.pdf"}  # the fourth backbone's
    retention = found["tables/table_01.tex"].decode()
    maths = next(line for line in retention.splitlines() if line.startswith("Math  "))
    assert maths.split("&")[1].strip() == "--"
    averages = [line for line in retention.splitlines() if line.startswith("Average")]
    assert all("^{*}" in line for line in averages)
    assert "Incomplete grid: 1 of 18 trios, gpt2-small-0." in retention
    for name in ("README.md", "index.html", "artifact.tex", "claims.md"):
        for warning in ("official files: generated", "Incomplete grid", "Math, Do Not Answer"):
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


def test_a_report_that_fails_leaves_the_old_one_and_says_what_is_missing(one_trio):
    one_trio.reports.mkdir(parents=True)
    (one_trio.reports / "README.md").write_text("old")
    (one_trio.results / "means" / "retention.csv").unlink()
    with pytest.raises(UserError, match=r"means/retention\.csv: not found; run the stage"):
        run(report.main)
    assert files(one_trio.reports) == {"README.md": b"old"}


def test_rewards_of_other_texts_are_refused(root):
    paths = write_profile(root, [ONE])
    rewards = pd.read_parquet(paths.rewards(ONE))
    rewards.replace({"item_id": {"chat/0": "chat/99"}}).to_parquet(paths.rewards(ONE))
    with pytest.raises(UserError, match="rm-bench, item_id chat/99: scored, but in neither"):
        run(analyse.main)
    assert not paths.results.exists()


def test_nothing_to_analyse_or_report_says_what_to_run(root):
    write_profile(root, [])
    with pytest.raises(UserError, match="rewards/mini: no rewards of any trio"):
        run(analyse.main)
    with pytest.raises(UserError, match=r"results/mini/context\.json: not found; `dvc checkout"):
        run(report.main)


def test_the_analysis_refuses_what_a_seed_has_left_that_is_gone(root):
    paths = write_profile(root, [ONE])
    left = paths.activations(Trio("gpt2-small", 5))
    left.touch()
    with pytest.raises(UserError, match=f"{left.name}: of no cell in params.yaml"):
        run(analyse.main)
    assert not paths.results.exists()
