"""Tokenise all texts, once for each tokenizer of the profile, into a folder for each backbone."""

import shutil
from pathlib import Path
from typing import get_args

import pandas as pd

from rm_tension.base.files import whole
from rm_tension.base.grid import Split
from rm_tension.base.job import Job
from rm_tension.base.runs import record
from rm_tension.base.tables import TEXTS, read_table
from rm_tension.model.tokenizer import read_tokenizer, stock_tokenizer
from rm_tension.tokens.encode import encode_test_items, encode_training_pairs
from rm_tension.tokens.make_tokenizer import make_tokenizer

Items = dict[Split, pd.DataFrame]
CHECKED = 1000  # texts of which transformers must make the same ids


def main(*, profile: str) -> None:
    """Run the stage on one cell of params.yaml's grid."""
    run(Job.open(profile))


def run(job: Job) -> None:
    """data/<P>/ -> tokens/<P>/<backbone>/, the same for all backbones of a tokenizer.

    A stage of one backbone depends on files of its own folder, so that another tokenizer's change is none of its.
    """
    items: Items = {split: read_table(job.paths.texts(split), TEXTS) for split in get_args(Split)}
    backbones: dict[str, list[str]] = {}
    for key, backbone in job.profile.backbones.items():
        backbones.setdefault(backbone.tokenizer, []).append(key)
    with (
        record(job.paths.run("tokens"), job.parameters("tokens")) as metrics,
        whole(job.paths.all_tokens) as folder,
    ):
        for name, (first, *others) in backbones.items():
            metrics[name] = tokenise(job, name, items, folder / first)
            for key in others:
                shutil.copytree(folder / first, folder / key)


def tokenise(job: Job, name: str, items: Items, folder: Path) -> dict[str, int]:
    """Write tokenizer, train, test and benchmarks below `folder`; returns counts of rows and of what was left out."""
    config = job.profile.tokens
    sides = items["train"]["answers"].str
    texts = pd.concat([sides[0], sides[1]])
    make_tokenizer(config.tokenizers[name], texts).save_pretrained(folder / "tokenizer")
    words = read_tokenizer(folder / "tokenizer")
    stock_tokenizer(folder / "tokenizer", texts.head(CHECKED))
    counts: dict[str, int] = {"vocabulary": words.get_vocab_size()}
    for split, texts_of in items.items():
        encode = encode_training_pairs if split == "train" else encode_test_items
        table, left = encode(words, texts_of, config.template, config.max_length)
        table.to_parquet(folder / f"{split}.parquet", index=False)
        counts |= {f"{split}_{what}": count for what, count in {"rows": len(table), **left}.items()}
    return counts
