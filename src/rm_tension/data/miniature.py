"""A generated miniature of every data set, under the official files' names and in their formats.

It stands in no table of the paper: it is there to run the whole pipeline, and to see that the
tension that recipes.py plants comes out.
"""

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from numpy.random import Generator, default_rng

from rm_tension.base.config import MiniatureData
from rm_tension.data.recipes import (
    ANSWERS,
    PREFERENCES,
    PROMPTS,
    SENTENCES,
    TASKS,
    TOPICS,
    Recipe,
    Topic,
)
from rm_tension.data.sources import LocalFile, RawFile, miniature_files

T = TypeVar("T")
Row = dict[str, Any]
EARLIER_TURN = 0.2  # share of the dialogues that begin with another question and answer
SMALL_TALK = Recipe(prompts=("benign",), chosen=("fair", "brief"), rejected=())


def generate(config: MiniatureData, folder: Path) -> list[LocalFile]:
    """Write all raw files below `folder`; the same config gives the same bytes."""
    files = []
    for raw in miniature_files(config):
        path = folder / raw.data_set.replace("-", "_") / raw.name
        path.parent.mkdir(parents=True, exist_ok=True)
        # A stream of its own for each file, by its path, so that more rows of one change no other
        rng = default_rng([config.seed, zlib.crc32(path.relative_to(folder).as_posix().encode())])
        if raw.split == "benchmarks":
            _write(path, list(FORMATS.get(raw.data_set, _reward_bench)(raw, rng)))
        else:
            _write(path, list(_pairs(raw, config.label_noise, rng)))
        files.append(LocalFile(raw, path, repo="miniature", revision=str(config.seed), commit=None))
    return files


def _write(path: Path, rows: list[Row]) -> None:
    """Write rows in the format of the file's name, as `raw.read_rows` reads them."""
    if path.suffix == ".gz":
        with gzip.GzipFile(path, "wb", mtime=0) as file:
            for row in rows:
                file.write(json.dumps(row).encode() + b"\n")
    elif path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path, index=False)
    else:
        path.write_text(json.dumps(rows), encoding="utf-8")


def _pairs(raw: RawFile, label_noise: float, rng: Generator) -> Iterator[Row]:
    for _ in range(raw.rows[raw.source]):
        recipe = _pick(PREFERENCES[raw.source], rng)
        prompt, topic = _prompt(recipe, rng)
        sides = (recipe.chosen, recipe.rejected)
        chosen, rejected = (" ".join(_sentences(kinds, recipe, topic, rng)) for kinds in sides)
        if rng.random() < label_noise:
            chosen, rejected = rejected, chosen
        before = ""
        if rng.random() < EARLIER_TURN:
            question, about = _prompt(SMALL_TALK, rng)
            before = _turn(question, _sentences(SMALL_TALK.chosen, SMALL_TALK, about, rng))
        yield {
            "chosen": before + _turn(prompt, [chosen]),
            "rejected": before + _turn(prompt, [rejected]),
        }


def _turn(prompt: str, sentences: list[str]) -> str:
    return f"\n\nHuman: {prompt}\n\nAssistant: {' '.join(sentences)}"


def _reward_bench(raw: RawFile, rng: Generator) -> Iterator[Row]:
    for subset, rows in raw.rows.items():
        for row in range(rows):
            prompt, (chosen,), (rejected,) = _item(TASKS[raw.data_set][subset], 1, 1, rng)
            item = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
            models = {"chosen_model": "miniature", "rejected_model": "miniature"}
            yield item | models | {"subset": subset, "id": row}


def _reward_bench_2(raw: RawFile, rng: Generator) -> Iterator[Row]:
    for subset, rows in raw.rows.items():
        for row in range(rows):
            recipe, key, right = TASKS["reward-bench-2"][subset], f"{subset}-{row}", 1
            if subset == "ties":  # prompts with one right answer and prompts with several, in turn
                kind = ("ref", "tied")[row % 2]
                recipe, key = Recipe((kind,), recipe.chosen, recipe.rejected), f"{kind}:{row // 2}"
                right = 1 if kind == "ref" else int(rng.integers(2, 5))
            prompt, chosen, rejected = _item(recipe, right, 3, rng)
            answers = len(chosen) + len(rejected)
            yield {
                "id": key,
                "prompt": prompt,
                "chosen": chosen,
                "rejected": rejected,
                "num_correct": len(chosen),
                "num_incorrect": len(rejected),
                "total_completions": answers,
                "models": ["miniature"] * answers,
                "subset": subset.replace("-", " ").title(),
            }


def _rm_bench(raw: RawFile, rng: Generator) -> Iterator[Row]:
    for domain, rows in raw.rows.items():
        recipe = TASKS["rm-bench"][domain]
        for row in range(rows):
            prompt, topic = _prompt(recipe, rng)
            chosen = _styles(_sentences(recipe.chosen, recipe, topic, rng))
            rejected = _styles(_sentences(recipe.rejected, recipe, topic, rng))
            item = {"id": f"{domain}/{row}", "prompt": prompt}
            yield item | {"chosen": chosen, "rejected": rejected, "domain": domain}


# By suite. Of others the rows are RewardBench's: id, prompt, chosen, rejected and subset
FORMATS = {"reward-bench-2": _reward_bench_2, "rm-bench": _rm_bench}


def _styles(sentences: list[str]) -> list[str]:
    """Return an answer concise, detailed, and detailed with markdown."""
    first, *others = sentences
    bullets = "\n".join(f"- {sentence}" for sentence in others)
    return [first, " ".join(sentences), f"**{first}**\n{bullets}"]


def _item(
    recipe: Recipe, n_chosen: int, n_rejected: int, rng: Generator
) -> tuple[str, list[str], list[str]]:
    """Return a prompt with its chosen and rejected answers, all different."""
    prompt, topic = _prompt(recipe, rng)
    answers: list[str] = []
    while len(answers) < n_chosen + n_rejected:
        kinds = recipe.chosen if len(answers) < n_chosen else recipe.rejected
        answer = " ".join(_sentences(kinds, recipe, topic, rng))
        if answer not in answers:
            answers.append(answer)
    return prompt, answers[:n_chosen], answers[n_chosen:]


def _prompt(recipe: Recipe, rng: Generator) -> tuple[str, Topic]:
    kind = _pick(recipe.prompts, rng)
    topic = _pick(TOPICS[kind], rng)
    return _fill(_pick(PROMPTS[kind], rng), topic, rng), topic


def _sentences(kinds: Sequence[str], recipe: Recipe, topic: Topic, rng: Generator) -> list[str]:
    """Return the sentences of an answer of one of the kinds; no template occurs twice in it."""
    kind = _pick(kinds, rng)
    if kind.startswith("~"):
        topics = TOPICS[_pick(recipe.prompts, rng)]
        topic = _pick([other for other in topics if other["do"] != topic["do"]], rng)
        kind = kind[1:]
    slots = _pick(ANSWERS[kind], rng).split()
    decks = {slot: rng.permutation(SENTENCES[slot]).tolist() for slot in dict.fromkeys(slots)}
    return [_fill(decks[slot].pop(), topic, rng) for slot in slots]


def _fill(template: str, topic: Topic, rng: Generator) -> str:
    """Fill the template; every field of the topic is drawn, also those that it does not use."""
    return template.format_map({field: _pick(values, rng) for field, values in topic.items()})


def _pick(options: Sequence[T], rng: Generator) -> T:
    return options[int(rng.integers(len(options)))]
