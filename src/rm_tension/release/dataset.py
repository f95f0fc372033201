"""Rewards, neuron tables and results of a profile as one data set of the hub."""

import hashlib
import json
import re
from pathlib import Path

import pandas as pd
from huggingface_hub import DatasetCard, DatasetCardData

from rm_tension.analyse.tally import summarise
from rm_tension.base.runs import git_commit
from rm_tension.base.tables import TEXTS, read_table
from rm_tension.paper.tasks import TASK_OF
from rm_tension.release.cards import OUR_LICENCE, PAPER, TEMPLATES
from rm_tension.release.profile import FinishedProfile
from rm_tension.report.notes import warnings

DICTIONARY = Path("docs", "DATA.md")
QUOTES = ("example.json", "explorer.json")  # of results/: the files with texts of data sets
TABLES = ("accuracy", "hh_accuracy", "retention")  # of results/, as configurations beside the rest


def dataset_files(run: FinishedProfile) -> dict[str, Path | bytes]:
    """Return the files of the data set by their path in it; all but two are outputs as recorded."""
    files: dict[str, Path | bytes] = {
        "README.md": dataset_card(run),
        "items.parquet": item_table(run).to_parquet(index=False),
    }
    for trio in run.evaluated(run.models()):
        # pandas, Arrow, DuckDB and Polars make columns of such folders
        place = f"rewards/backbone={trio.backbone}/seed={trio.seed}/rewards.parquet"
        files[place] = run.file(run.paths.rewards(trio))
    results = run.files(run.paths.results)
    return files | {f"results/{name}": results[name] for name in results if name not in QUOTES}


def item_table(run: FinishedProfile) -> pd.DataFrame:
    """Return dataset, subset, item_id, n_chosen, task and sha256 of the scored items, no texts."""
    run.files(run.paths.data)
    items = pd.concat(
        [read_table(run.paths.texts(split), TEXTS) for split in ("benchmarks", "test")]
    )
    tasks = {part: task.key for part, task in TASK_OF.items()}
    parts = zip(items["dataset"], items["subset"], strict=True)
    texts = zip(items["prompt"], items["answers"], strict=True)
    return items[["dataset", "subset", "item_id", "n_chosen"]].assign(
        task=[tasks.get(part, "") for part in parts],
        sha256=[sha256_of(prompt, list(answers)) for prompt, answers in texts],
    )


def sha256_of(prompt: str, answers: list[str]) -> str:
    """Return the sha256 of an item's texts: of the JSON list of prompt and answers, in UTF-8."""
    text = json.dumps([prompt, *answers], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def dataset_card(run: FinishedProfile) -> bytes:
    """Return the data set's card, with the columns as docs/DATA.md has them."""
    files = {"rewards": "rewards/**/*.parquet", "items": "items.parquet"}
    files |= {"neurons": "results/neurons.parquet"}
    files |= {name: f"results/{name}.csv" for name in TABLES}
    data = DatasetCardData(
        language="en",
        license=OUR_LICENCE,
        pretty_name=f"rm-tension, profile {run.profile}: rewards, neurons and results",
        tags=["reward-model", "rm-tension", PAPER],
        configs=[{"config_name": name, "data_files": pattern} for name, pattern in files.items()],
    )
    trained = run.models()
    trios = run.evaluated(trained)
    card: DatasetCard = DatasetCard.from_template(
        data,
        template_path=str(TEMPLATES / "dataset.md"),
        run=run,
        name=run.dataset_name,
        models=[run.name(model) for model in trained if model.trio in trios],
        warnings=warnings(run.context),
        repositories=run.repositories(),
        claims=summarise(run.claims),
        tables=dictionary_section("Tables of `results/<P>/`"),
        columns=dictionary_section("Columns"),
        commit=git_commit(),
    )
    return str(card).encode()


def dictionary_section(title: str) -> str:
    """Return a section of the data dictionary without its title, links as plain text."""
    text = DICTIONARY.read_text(encoding="utf-8")
    section = text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0].strip()
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", section)
