"""Tokenise all texts, once for each tokenizer of the profile, and keep the tokenizer beside them."""

import pandas as pd

from rm_tension.files import whole
from rm_tension.hub import Hub
from rm_tension.runs import record
from rm_tension.stages.common import Job, main
from rm_tension.token_files import TokenFiles
from rm_tension.tokens import encode_benchmarks, encode_preferences, make_tokenizer


def run(job: Job) -> None:
    """data/<P>/ -> tokens/<P>/<tokenizer>/."""
    config = job.profile.tokens
    splits = {split: pd.read_parquet(job.paths.preferences(split)) for split in ("train", "test")}
    benchmarks = pd.read_parquet(job.paths.benchmarks)
    texts = pd.concat([splits["train"]["chosen"], splits["train"]["rejected"]])
    with record(job.paths.run("tokens"), job.parameters("tokens")) as metrics, whole(job.paths.tokens) as folder:
        for name, source in config.tokenizers.items():
            files = TokenFiles(folder, name)
            tokenizer = make_tokenizer(source, texts, Hub(job.hub_sums))
            tokenizer.save_pretrained(files.tokenizer)
            counts: dict[str, int] = {"vocabulary": len(tokenizer)}
            for split, preferences in splits.items():
                table, dropped = encode_preferences(tokenizer, preferences, config.max_length)
                table.to_parquet(files.preferences(split), index=False)
                counts |= {f"{split}_pairs": len(table), f"{split}_pairs_dropped_as_too_long": dropped}
            table, cut = encode_benchmarks(tokenizer, benchmarks, config)
            table.to_parquet(files.benchmarks, index=False)
            metrics[name] = counts | {"benchmark_items": len(table), "benchmark_texts_cut": cut}


if __name__ == "__main__":
    main(run)
