"""`rm-tension spotcheck`: a sample of cached rewards is scored again and compared."""

import secrets
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter

from rm_tension.base.config import Params, load_params
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Model, Paths
from rm_tension.score.checkpoints import cache_folder
from rm_tension.spotcheck.artefacts import Artefacts
from rm_tension.spotcheck.derivation import (
    averages_from_results,
    report_from_results,
    results_from_rewards,
)
from rm_tension.spotcheck.rescoring import Comparison, rescore

SHARES = (0.01, 0.05, 0.1)  # forged, of which is said how likely they are caught
FEWEST = 10  # items: rounding is judged by the spread of their rewards


@dataclass(frozen=True)
class Sample:
    """What to draw: `models` RMs of up to `max_mb` MB, or those of `model`; `items` of each, by `seed`."""

    profile: str
    models: int
    max_mb: int
    model: list[str]
    items: int
    seed: int | None
    device: str | None


def main(
    *,
    profile: str,
    models: int = 2,
    max_mb: int = 600,
    model: Annotated[list[str] | None, Parameter(name="--model")] = None,
    items: int = 50,
    seed: int | None = None,
    device: str | None = None,
) -> None:
    """Check cached results without computing them: some RMs' rewards are scored again, and numbers derived from them.

    Fetches just the checkpoints, activations, texts and rewards of the RMs that are drawn, and results/. Exits with 1
    and a sentence for each failure. It checks neither that the checkpoints were trained as they should be nor the
    verdicts on the claims: docs/CACHE.md.

    Args:
        profile: Of params.yaml.
        models: RMs to draw.
        max_mb: Of RMs up to this size, in MB.
        model: Instead, this RM, such as gpt2-small-helpful-0; repeatable.
        items: To score again of each, half of them HH-RLHF's.
        seed: Of what is drawn. Default: one that nobody could know before.
        device: A torch device, such as cpu or cuda:1. Default: the best there is.
    """
    params = load_params()
    params.refuse_unknown([profile])
    faults = check(params, Sample(profile, models, max_mb, model or [], items, seed, device))
    if faults:
        sys.exit("\n".join(f"FAILED: {fault}" for fault in faults))
    print("spotcheck: all is as it should be")


def check(params: Params, arguments: Sample) -> list[str]:
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
            compared = rescore(
                paths, model, profile, params.grid, arguments.items, seed, arguments.device
            )
            faults += _found(_shown(compared, drawn), paths)
        for trio in dict.fromkeys(model.trio for model in chosen):
            found = chain(
                artefacts.contradictions(trio), results_from_rewards(paths, trio, params.grid)
            )
            faults += _step(f"{results}, rows of {trio.key}, from rewards", found, paths)
        averages = averages_from_results(paths, profile.evaluate.task_percent)
        faults += _step(f"{results}, averages, from its rows", averages, paths)
        faults += _step(f"{reports}, from {results}", report_from_results(paths, params), paths)
    items = sum(drawn) // len(chosen)
    print(_chances(f"of an RM's items were forged, {items} of which were drawn", items))
    if among:
        print(
            _chances(
                f"of the {among} RMs were forged, {len(chosen)} of which were drawn", len(chosen)
            )
        )
    fetched = artefacts.fetched()
    size = sum(path.stat().st_size for path in fetched) / 1e6
    print(f"fetched {len(fetched)} files, {size:.1f} MB, into {cache_folder()}")
    return faults


def _choose(known: dict[Model, int], arguments: Sample, seed: int) -> tuple[list[Model], int]:
    """The RMs to check, and among how many they were drawn: 0 if they were named."""
    by_key = {model.key: model for model in known}
    if arguments.model:
        if unknown := [key for key in arguments.model if key not in by_key]:
            nearest = ", ".join(get_close_matches(unknown[0], by_key, cutoff=0)) or "none"
            raise UserError(
                f"--model {unknown[0]}: nothing in dvc.lock evaluated it; the nearest are: {nearest}"
            )
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
