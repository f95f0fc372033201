"""Tokenise all texts, once for each tokenizer of the profile, into a folder for each backbone."""

import shutil
from pathlib import Path
from typing import get_args

import pandas as pd

from rm_tension.base.files import atomic_write
from rm_tension.base.grid import Split
from rm_tension.base.job import Job
from rm_tension.base.runs import record
from rm_tension.base.tables import TEXTS, read_table
from rm_tension.model.tokenizer import read_tokenizer, stock_tokenizer
from rm_tension.tokens.encode import encode_test_items, encode_training_pairs
from rm_tension.tokens.make_tokenizer import make_tokenizer

Items = dict[Split, pd.DataFrame]
CHECKED_TEXTS = 1000  # of which transformers must make the same ids


def main(*, profile: str) -> None:
    """Run the stage on one cell of params.yaml's grid."""
    run(Job.open(profile))


def run(job: Job) -> None:
    """Read data/<P>/ and write tokens/<P>/<backbone>/, alike for all backbones of a tokenizer.

    A stage of one backbone depends on its own folder: another tokenizer may change without it.
    """
    items: Items = {split: read_table(job.paths.texts(split), TEXTS) for split in get_args(Split)}
    backbones: dict[str, list[str]] = {}
    for key, backbone in job.profile.backbones.items():
        backbones.setdefault(backbone.tokenizer, []).append(key)
    with (
        record(job.paths.run("tokens"), job.parameters("tokens")) as metrics,
        atomic_write(job.paths.all_tokens) as folder,
    ):
        for name, (first, *others) in backbones.items():
            metrics[name] = tokenise(job, name, items, folder / first)
            for key in others:
                shutil.copytree(folder / first, folder / key)


def tokenise(job: Job, name: str, items: Items, folder: Path) -> dict[str, int]:
    """Write tokenizer, train, test and benchmarks below `folder`; return their counts."""
    config = job.profile.tokens
    sides = items["train"]["answers"].str
    texts = pd.concat([sides[0], sides[1]])
    make_tokenizer(config.tokenizers[name], texts).save_pretrained(folder / "tokenizer")
    tokenizer = read_tokenizer(folder / "tokenizer")
    stock_tokenizer(folder / "tokenizer", texts.head(CHECKED_TEXTS))
    counts: dict[str, int] = {"vocabulary": tokenizer.get_vocab_size()}
    for split, split_items in items.items():
        encode = encode_training_pairs if split == "train" else encode_test_items
        table, lengths = encode(tokenizer, split_items, config.template, config.max_length)
        table.to_parquet(folder / f"{split}.parquet", index=False)
        counts[f"{split}_rows"] = len(table)
        counts |= {f"{split}_{name}": count for name, count in lengths.items()}
    return counts
