"""Check cached results without computing them: some RMs' rewards are scored again, and numbers derived from them.

Fetches just the checkpoints, activations, texts and rewards of the RMs that are drawn, and results/. Exits with 1 and
a sentence for each failure. It checks neither that the checkpoints were trained as they should be nor the verdicts on
the claims: docs/CACHE.md.
"""

import argparse
import secrets
import sys
import tempfile
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import chain
from pathlib import Path

import numpy as np

from rm_tension.base import surroundings
from rm_tension.base.config import Params, load_params
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Model, Paths
from rm_tension.score.checkpoints import cache_folder
from rm_tension.spotcheck.artefacts import Artefacts
from rm_tension.spotcheck.derivation import averages_from_results, report_from_results, results_from_rewards
from rm_tension.spotcheck.rescoring import Comparison, rescore

SHARES = (0.01, 0.05, 0.1)  # forged, of which is said how likely they are caught
FEWEST = 10  # items: rounding is judged by the spread of their rewards


def main() -> None:
    """Exits 1, with messages and without a traceback, if anything is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m rm_tension.spotcheck", description=__doc__)
    try:
        params = load_params()
        parser.add_argument("--profile", required=True, choices=params.grid.profiles)
        parser.add_argument("--models", type=int, default=2, metavar="N", help="RMs to draw; default: 2")
        parser.add_argument(
            "--max-mb", type=int, default=600, metavar="MB", help="of RMs up to this size; default: 600"
        )
        parser.add_argument(
            "--model", action="append", metavar="KEY", help="instead: this RM, such as gpt2-small-helpful-0; repeatable"
        )
        parser.add_argument(
            "--items",
            type=int,
            default=50,
            metavar="M",
            help="to score again of each, half of them HH-RLHF's; default: 50",
        )
        parser.add_argument("--seed", type=int, help="of what is drawn; default: one that nobody could know before")
        parser.add_argument("--device", help="a torch device, such as cpu or cuda:1; default: the best there is")
        arguments = parser.parse_args()
        surroundings.check()
        faults = check(params, arguments)
    except UserError as error:
        sys.exit(f"error: {error}")
    if faults:
        sys.exit("\n".join(f"FAILED: {fault}" for fault in faults))
    print("spotcheck: all is as it should be")


def check(params: Params, arguments: argparse.Namespace) -> list[str]:
    """What is wrong; prints what was looked at."""
    if arguments.items < FEWEST:
        raise UserError(f"--items {arguments.items}: must be at least {FEWEST}")
    profile = params.profiles[arguments.profile]
    artefacts = Artefacts(arguments.profile)
    seed = secrets.randbelow(2**32) if arguments.seed is None else arguments.seed
    chosen, among = _choose(artefacts.models(params.grid), arguments, seed)
    print(f"seed {seed}: {', '.join(model.key for model in chosen)}")
    faults: list[str] = []
    drawn: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        paths = artefacts.gather(chosen, Path(folder))
        results, reports = Paths(paths.profile).results, Paths(paths.profile).reports
        for model in chosen:
            compared = rescore(paths, model, profile, params.grid, arguments.items, seed, arguments.device)
            faults += _found(_shown(compared, drawn), paths)
        for trio in dict.fromkeys(model.trio for model in chosen):
            found = chain(artefacts.contradictions(trio), results_from_rewards(paths, trio, params.grid))
            faults += _step(f"{results}, rows of {trio.key}, from rewards", found, paths)
        averages = averages_from_results(paths, profile.evaluate.task_percent)
        faults += _step(f"{results}, averages, from its rows", averages, paths)
        faults += _step(f"{reports}, from {results}", report_from_results(paths, params), paths)
    items = sum(drawn) // len(chosen)
    print(_chances(f"of an RM's items were forged, {items} of which were drawn", items))
    if among:
        print(_chances(f"of the {among} RMs were forged, {len(chosen)} of which were drawn", len(chosen)))
    fetched = artefacts.fetched()
    size = sum(path.stat().st_size for path in fetched) / 1e6
    print(f"fetched {len(fetched)} files, {size:.1f} MB, into {cache_folder()}")
    return faults


def _choose(known: dict[Model, int], arguments: argparse.Namespace, seed: int) -> tuple[list[Model], int]:
    """The RMs to check, and among how many they were drawn: 0 if they were named."""
    by_key = {model.key: model for model in known}
    if arguments.model:
        if unknown := [key for key in arguments.model if key not in by_key]:
            nearest = ", ".join(get_close_matches(unknown[0], by_key, cutoff=0)) or "none"
            raise UserError(f"--model {unknown[0]}: nothing in dvc.lock evaluated it; the nearest are: {nearest}")
        return [by_key[key] for key in dict.fromkeys(arguments.model)], 0
    small = [model for model, size in known.items() if size <= arguments.max_mb * 1e6]
    if not 0 < arguments.models <= len(small):
        raise UserError(
            f"--models {arguments.models}: dvc.lock has {len(small)} evaluated RMs of {arguments.profile} of up to "
            f"{arguments.max_mb} MB; more of them by --max-mb"
        )
    places = np.random.default_rng(seed).choice(len(small), arguments.models, replace=False)
    return [small[place] for place in places], len(small)


def _step(name: str, faults: Iterable[str | None], paths: Paths) -> list[str]:
    found = _found(faults, paths)
    print(f"{name}: {f'{len(found)} failures' if found else 'ok'}")
    return found


def _found(faults: Iterable[str | None], paths: Paths) -> list[str]:
    """Those that there are, the last of them the error that ended the search, with files by their own names."""
    found = []
    try:
        for fault in faults:
            found += [fault] if fault else []
    except UserError as error:
        found.append(str(error).replace(f"{paths.root}/", ""))
    return found


def _shown(compared: Iterable[Comparison], drawn: list[int]) -> Iterator[str | None]:
    for comparison in compared:
        print(comparison)
        if comparison.is_whole:  # the same are scored with an ablation, too
            drawn.append(comparison.items)
        yield comparison.fault


def _chances(forgery: str, drawn: int) -> str:
    chances = ", ".join(f"{share:.0%}: {1 - (1 - share) ** drawn:.0%}" for share in SHARES)
    return f"chance to have seen it if this share {forgery}: {chances}"


if __name__ == "__main__":
    main()
