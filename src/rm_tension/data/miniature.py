"""A generated miniature of every data set, under the official files' names and in their formats.

miniature_texts.py holds its words, miniature_tasks.py what is preferred to what; here they become files.
It stands in no table of the paper: it is there to run the whole pipeline and to see planted tension come out.
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
from rm_tension.data.miniature_tasks import PREFERENCES, TASKS, Recipe
from rm_tension.data.miniature_texts import ANSWERS, PROMPTS, SENTENCES, TOPICS, Topic
from rm_tension.data.sources import LocalFile, RawFile, miniature_files

T = TypeVar("T")
EARLIER_TURN = 0.2  # share of the dialogues that begin with another question and answer


def generate(config: MiniatureData, folder: Path) -> list[LocalFile]:
    """Write all raw files below `folder`; the same config gives the same bytes."""
    files = []
    for raw in miniature_files(config):
        path = folder / raw.data_set / raw.name
        path.parent.mkdir(parents=True, exist_ok=True)
        # A stream of its own for each file, so that more rows of one change no other.
        rng = default_rng([config.seed, zlib.crc32(path.relative_to(folder).as_posix().encode())])
        if raw.data_set == "hh_rlhf":
            _write_pairs(path, raw, config.label_noise, rng)
        elif raw.data_set == "reward_bench":
            pd.DataFrame(_reward_bench(raw, rng)).to_parquet(path, index=False)
        elif raw.data_set == "reward_bench_2":
            pd.DataFrame(_reward_bench_2(raw, rng)).to_parquet(path, index=False)
        else:
            path.write_text(json.dumps(list(_rm_bench(raw, rng))), encoding="utf-8")
        files.append(LocalFile(raw, path, repo="miniature", revision=str(config.seed), commit=None))
    return files


def _write_pairs(path: Path, raw: RawFile, label_noise: float, rng: Generator) -> None:
    source, _ = raw.source_and_split
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        for _ in range(raw.rows[source]):
            recipe = _pick(PREFERENCES[source], rng)
            prompt, topic = _prompt(recipe, rng)
            texts = [
                " ".join(_sentences(kinds, recipe, topic, rng))
                for kinds in (recipe.chosen, recipe.rejected)
            ]
            if rng.random() < label_noise:
                texts.reverse()
            before = _earlier_turn(rng) if rng.random() < EARLIER_TURN else ""
            chosen, rejected = (
                f"{before}\n\nHuman: {prompt}\n\nAssistant: {text}" for text in texts
            )
            file.write(json.dumps({"chosen": chosen, "rejected": rejected}).encode() + b"\n")


def _earlier_turn(rng: Generator) -> str:
    recipe = Recipe(prompts=("benign",), chosen=("fair", "brief"), rejected=())
    prompt, topic = _prompt(recipe, rng)
    return f"\n\nHuman: {prompt}\n\nAssistant: {' '.join(_sentences(recipe.chosen, recipe, topic, rng))}"


def _reward_bench(raw: RawFile, rng: Generator) -> Iterator[dict[str, Any]]:
    for subset, rows in raw.rows.items():
        for row in range(rows):
            prompt, chosen, rejected = _item(TASKS["reward-bench"][subset], 1, 1, rng)
            models = {"chosen_model": "miniature", "rejected_model": "miniature"}
            yield {
                "prompt": prompt,
                "chosen": chosen[0],
                "rejected": rejected[0],
                **models,
                "subset": subset,
                "id": row,
            }


def _reward_bench_2(raw: RawFile, rng: Generator) -> Iterator[dict[str, Any]]:
    for subset, rows in raw.rows.items():
        recipe = TASKS["reward-bench-2"][subset]
        for row in range(rows):
            if subset == "ties":  # prompts with one right answer and prompts with several, in turn
                kind = ("ref", "tied")[row % 2]
                key, n_chosen = (
                    f"{kind}:{row // 2}",
                    1 if kind == "ref" else int(rng.integers(2, 5)),
                )
                prompt, chosen, rejected = _item(
                    Recipe((kind,), recipe.chosen, recipe.rejected), n_chosen, 3, rng
                )
            else:
                key = f"{subset}-{row}"
                prompt, chosen, rejected = _item(recipe, 1, 3, rng)
            yield {
                "id": key,
                "prompt": prompt,
                "chosen": chosen,
                "rejected": rejected,
                "num_correct": len(chosen),
                "num_incorrect": len(rejected),
                "total_completions": len(chosen) + len(rejected),
                "models": ["miniature"] * (len(chosen) + len(rejected)),
                "subset": subset.replace("-", " ").title(),
            }


def _rm_bench(raw: RawFile, rng: Generator) -> Iterator[dict[str, Any]]:
    for domain, rows in raw.rows.items():
        recipe = TASKS["rm-bench"][domain]
        for row in range(rows):
            prompt, topic = _prompt(recipe, rng)
            chosen, rejected = (
                _styles(_sentences(k, recipe, topic, rng)) for k in (recipe.chosen, recipe.rejected)
            )
            yield {
                "id": f"{domain}/{row}",
                "prompt": prompt,
                "chosen": chosen,
                "rejected": rejected,
                "domain": domain,
            }


def _styles(sentences: list[str]) -> list[str]:
    """Concise, detailed, detailed with markdown."""
    return [
        sentences[0],
        " ".join(sentences),
        f"**{sentences[0]}**\n" + "\n".join(f"- {s}" for s in sentences[1:]),
    ]


def _item(
    recipe: Recipe, n_chosen: int, n_rejected: int, rng: Generator
) -> tuple[str, list[str], list[str]]:
    """A prompt with its chosen and rejected answers, all different."""
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
    """The sentences of an answer of one of the kinds; no template occurs twice in it."""
    kind = _pick(kinds, rng)
    if kind.startswith("~"):
        others = [
            other for other in TOPICS[_pick(recipe.prompts, rng)] if other["do"] != topic["do"]
        ]
        kind, topic = kind[1:], _pick(others, rng)
    slots = _pick(ANSWERS[kind], rng).split()
    decks = {slot: rng.permutation(SENTENCES[slot]).tolist() for slot in dict.fromkeys(slots)}
    return [_fill(decks[slot].pop(), topic, rng) for slot in slots]


def _fill(template: str, topic: Topic, rng: Generator) -> str:
    return template.format_map({field: _pick(words, rng) for field, words in topic.items()})


def _pick(options: Sequence[T], rng: Generator) -> T:
    return options[int(rng.integers(len(options)))]
