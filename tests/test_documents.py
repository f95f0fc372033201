"""Every command in a document is run, every link leads somewhere, and the claims are those of the code."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from dvc.repo import Repo

from checkout import clone, dvc, serve
from documents import DOCUMENTS, MODES, Command, commands
from rm_tension.analyse.claims import CLAIMS, decide_all
from rm_tension.analyse.published import published_evidence, read_published
from rm_tension.base.config import load_params
from rm_tension.base.lockfile import file_md5, stages_of
from rm_tension.cli import make_app
from rm_tension.report.summary import quantities

ALL = [command for document in DOCUMENTS for command in commands(document)]
RUN = [command for command in ALL if command.mode not in ("ci", "gpu")]
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOTEBOOK = "docs/use.ipynb"
PATIENCE = 300  # seconds; for a server to come up on a slow machine


def test_console_blocks_have_known_modes():
    assert len(ALL) > 20
    assert not [str(command) for command in ALL if command.mode not in MODES]


def test_promised_output_is_matched_line_by_line():
    command = Command("a.md", 1, "", "true", "one\n...\nfour of ... five")
    assert command.promises("zero\none\ntwo\nthree\nfour of the five  \n")
    assert not command.promises("one\nfour of\n")
    assert not command.promises("four of the five\none\n")


@pytest.mark.parametrize("document", [*DOCUMENTS, NOTEBOOK])
def test_links_lead_to_files_and_headings(document):
    text = Path(document).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    for link in (link for link in links if not link.startswith(("https://", "http://"))):
        name, _, anchor = link.partition("#")
        target = Path(document).parent / name if name else Path(document)
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {
                re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings
            }
            assert anchor in slugs, link


@pytest.mark.parametrize("command", [c for c in ALL if c.mode == "ci"], ids=str)
def test_ci_runs_the_command(command):
    assert f"step {command.text}\n" in Path(".ci/run").read_text(encoding="utf-8")


def rows_of(path, columns):
    """`rows_in` of a document."""
    return rows_in(Path(path).read_text(encoding="utf-8"), columns)


def rows_in(text, columns):
    """The cells of all lines of a document's tables that have so many."""
    lines = text.splitlines()
    rows = [
        [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines
    ]
    return [row for row in rows if len(row) == columns]


DOCUMENTED = {row[0]: row for row in rows_of("ARTIFACT.md", 7)}


def test_the_table_of_claims_is_that_of_the_code_and_of_the_published_numbers():
    theirs = published_evidence(read_published(Path("reference/published.csv")))
    for claim in decide_all(theirs, theirs, ()):
        _, text, where, predicate, published, *_ = DOCUMENTED[claim.id]
        assert (text, predicate) == (claim.claim, claim.predicate)
        assert where == CLAIMS[claim.id].where
        numbers = [quantities(part, "")[3] for part in claim.parts]
        verdict = claim.published_verdict
        known = ", ".join(numbers) + (f": {verdict}" if verdict else "")
        assert published == ("none" if set(numbers) == {"--"} else known)


def test_the_documented_verdicts_are_those_of_the_miniatures_report():
    """Of the one in git: the working tree's is that of whoever ran `make mini` last."""
    report = subprocess.run(
        ["git", "show", "HEAD:reports/mini/claims.md"], check=True, capture_output=True, text=True
    )
    verdicts = {
        row[0]: row[2] for row in reversed(rows_in(report.stdout, 7))
    }  # first rows: the claims
    ids = [id_ for id_ in DOCUMENTED if re.fullmatch(r"C\d+", id_)]
    assert len(ids) == 21
    required_claims = load_params().profiles["mini"].required_claims
    for id_ in ids:
        verdict, with_other_data = DOCUMENTED[id_][5:]
        assert verdict.removesuffix(", required").strip("*") == verdicts[id_]
        required = id_ in required_claims
        assert verdict.endswith(", required") == required
        assert with_other_data in (("stable",) if required else ("stable", "varies", "unknown"))


def test_the_accuracies_of_the_one_real_trio_are_those_of_its_report():
    found = pd.read_csv("reports/evening/plots/accuracy.csv").set_index("models")["accuracy"]
    rows = {
        row[0].partition(" tasks, mean")[0]: row[1:]
        for row in rows_of("README.md", 4)
        if "mean of" in row[0]
    }
    assert len(rows) == 2
    for group, numbers in rows.items():
        for objective, number in zip(("Helpful", "Harmless", "Mixed"), numbers, strict=True):
            assert float(number) == pytest.approx(found[f"{group}, {objective} RM"], abs=0.06)


def test_the_accuracies_by_task_of_the_one_real_trio_are_those_of_its_report():
    lines = Path("reports/evening/tables/table_14.tex").read_text(encoding="utf-8").splitlines()
    tasks = next(
        re.findall(r"rotatebox\{90\}\{([^}]*)\}", line) for line in lines if "rotatebox" in line
    )
    models = [
        line.split("&")[1:] for line in lines if line.startswith("SmolLM2-135M ")
    ]  # helpful, harmless, mixed
    rows = [row for row in rows_of("README.md", 4) if row[0] in tasks]
    assert len(rows) == 5
    for task, *numbers in rows:
        assert [float(number) for number in numbers] == [
            float(one[tasks.index(task)].strip(" $")) for one in models
        ]


def test_the_run_records_in_git_are_those_of_the_run_that_is_recorded():
    files = [path for path in Path("reports/runs/evening").rglob("*") if path.is_file()]
    lock = stages_of(Path("dvc.lock").read_text(encoding="utf-8")).values()
    recorded = {out["path"]: out["md5"] for stage in lock for out in stage.get("outs", [])}
    known = {str(path): file_md5(path) for path in files}
    assert len(known) == 11
    assert known == {name: recorded[name.removeprefix("reports/")] for name in known}


@pytest.fixture(scope="module")
def repo():
    with Repo() as repo:
        yield repo


@pytest.mark.parametrize("command", [c for c in ALL if c.mode == "gpu"], ids=str)
def test_the_arguments_and_stages_of_what_needs_a_gpu_or_a_hub_are_known(command, repo):
    words = shlex.split(command.text.replace("\\\n", " "))
    if words[:2] == ["docker", "run"]:
        words = words[words.index("rm-tension") + 1 :]
    if words[0] == "rm-tension":
        make_app().parse_args(words[1:], exit_on_error=False, print_error=False)
    elif words[0] == "dvc":
        targets = [word for word in words[2:] if not word.startswith("--")]
        assert all(repo.stage.collect(target) for target in targets)
    elif words[0] == "make":
        subprocess.run(["make", "--dry-run", *words[1:]], check=True, capture_output=True)
    else:
        assert command.text == "docker build --tag rm-tension ."


@pytest.fixture(scope="module")
def http_remote():
    """The URL of a DVC remote that holds what `make mini` made: DVC's cache has the layout of a remote."""
    with serve(".dvc/cache") as url:
        yield url


@pytest.mark.pipeline
@pytest.mark.parametrize("document", sorted({command.document for command in RUN}))
def test_the_commands_of_a_document_do_what_it_says(document, tmp_path_factory, http_remote):
    folder = clone(tmp_path_factory)
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(folder / "src"),
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
    }
    for command in commands(document):
        text = command.text.replace("https://HOST/PATH", http_remote)
        text = re.sub(
            "^make ", "make --old-file=.venv/installed ", text
        )  # in the environment that runs this
        if command.mode == "serves":
            _serve(command, text, folder, environment)
        elif command.text == "make mini":  # CI has done so before; the clone gets what it made
            dvc("cache", "dir", "--local", str(Path(".dvc/cache").absolute()), folder=folder)
            dvc("checkout", "--with-deps", "report@mini", folder=folder)
        elif command.mode not in ("ci", "gpu"):
            done = subprocess.run(
                ["bash", "-c", text],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            printed = done.stdout + done.stderr
            assert (done.returncode == 0) == (command.mode != "fails"), f"{command}\n{printed}"
            assert command.promises(printed), f"{command}\n{printed}"
    for code in PYTHON.findall((folder / document).read_text(encoding="utf-8")):
        subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=True)


@pytest.mark.pipeline
def test_the_notebook_runs_and_is_stored_without_outputs():
    cells = json.loads(Path(NOTEBOOK).read_text(encoding="utf-8"))["cells"]
    assert not [cell["outputs"] for cell in cells if cell.get("outputs")]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    environment = os.environ | {"MPLBACKEND": "Agg"}
    subprocess.run([sys.executable, "-c", "\n".join(code)], env=environment, check=True)


def _serve(command, text, folder, environment):
    log = folder / "server.log"
    with log.open("w") as file:
        server = subprocess.Popen(
            ["bash", "-c", text],
            cwd=folder,
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + PATIENCE
            while (
                not command.promises(log.read_text())
                and time.monotonic() < deadline
                and server.poll() is None
            ):
                time.sleep(0.2)
        finally:
            with suppress(ProcessLookupError):  # it may have ended by itself
                os.killpg(server.pid, signal.SIGTERM)
            server.wait()
    assert command.promises(log.read_text()), f"{command}\n{log.read_text()}"


def test_profiles_of_the_documents_exist():
    texts = [re.sub(r"hf://\S+|@sha256", "", c.text) for c in ALL]  # whose @ is no profile's
    named = {*re.findall(r"(?:@|--profile )(\w+)", " ".join(texts))}
    assert named <= set(load_params().profiles)


def test_each_promise_to_survive_a_kill_names_tests_that_exist():
    table = Path("docs/RUN.md").read_text(encoding="utf-8").partition("## What survives a kill")[2]
    rows = rows_in(table.partition("Not promised:")[0], 3)[2:]
    assert len(rows) > 15
    for what, _, evidence in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", evidence)
        assert named, what
        for path, test in named:
            assert f"\ndef {test}(" in Path(path).read_text(encoding="utf-8"), test


def test_the_steps_of_the_artifact_are_commands_that_a_document_has_run():
    commands_of_steps = [
        command
        for step, command, *_ in rows_of("ARTIFACT.md", 5)
        if step.isdecimal() and not command.startswith("open ")
    ]
    assert len(commands_of_steps) == 5
    assert {f"`{command.text}`" for command in ALL} >= set(commands_of_steps)


def test_where_to_change_what_names_files_and_folders_that_are_there():
    rows = rows_of("docs/DEVELOP.md", 3)[2:]
    places = {
        what: re.findall(r"`((?:src/|\.dvc/|params)[^`]*)`", where) for what, where, _ in rows
    }
    assert len(places) == 13
    for what, paths in places.items():
        assert paths, what
        assert all(Path(path).exists() for path in paths), what
