"""Tokenise all texts, once for each tokenizer of the profile, and keep the tokenizer beside them."""

import pandas as pd

from rm_tension.base.files import whole
from rm_tension.base.hub import Hub
from rm_tension.base.job import Job, main
from rm_tension.base.runs import record
from rm_tension.base.token_files import TokenFiles
from rm_tension.model.tokenizer import read_tokenizer, stock_tokenizer
from rm_tension.tokens.encode import encode_benchmarks, encode_test_pairs, encode_training_pairs
from rm_tension.tokens.make_tokenizer import make_tokenizer

CHECKED = 1000  # texts of which transformers must make the same ids


def run(job: Job) -> None:
    """data/<P>/ -> tokens/<P>/<tokenizer>/."""
    config, paths = job.profile.tokens, job.paths
    train, test = (pd.read_parquet(paths.preferences(split)) for split in ("train", "test"))
    benchmarks = pd.read_parquet(paths.benchmarks)
    texts = pd.concat([train["chosen"], train["rejected"]])
    with record(paths.run("tokens"), job.parameters("tokens")) as metrics, whole(paths.tokens) as folder:
        for name, source in config.tokenizers.items():
            files = TokenFiles(folder, name)
            make_tokenizer(source, texts, Hub(job.hub_sums)).save_pretrained(files.tokenizer)
            words = read_tokenizer(files.tokenizer)
            stock_tokenizer(files.tokenizer, texts.head(CHECKED))
            tables = {
                files.preferences("train"): encode_training_pairs(words, train, config.max_length),
                files.preferences("test"): encode_test_pairs(words, test, config.max_length),
                files.benchmarks: encode_benchmarks(words, benchmarks, config),
            }
            counts: dict[str, int] = {"vocabulary": words.get_vocab_size()}
            for path, (table, left) in tables.items():
                table.to_parquet(path, index=False)
                counts |= {f"{path.stem}_{what}": count for what, count in {"rows": len(table), **left}.items()}
            metrics[name] = counts


if __name__ == "__main__":
    main(run)
