"""`rm-tension spotcheck`: score a random sample of cached rewards again and compare.

It checks that rewards/ follows from checkpoints and texts, for whoever did not compute them. That
tables follow from rewards is checked by computing them again: `dvc repro --force --single-item
analyse@P report@P`, then `git diff` (docs/USE.md). How far two scorings of a text may be apart:
docs/METHOD.md section 9.
"""

import secrets
import sys
import tempfile
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from cyclopts import Parameter
from cyclopts.types import NonNegativeInt
from dvc.api import DVCFileSystem

from rm_tension.activations.sums import load_activations
from rm_tension.base.config import Precision, load_params
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Model, Paths, Split, models
from rm_tension.base.tables import TOKENS, read_table
from rm_tension.evaluate.conditions import COLUMNS, NONE, Condition
from rm_tension.evaluate.evaluation import NeuronSets, Texts, evaluate
from rm_tension.model.device import Compute, TokenBudget, find_device
from rm_tension.model.reward_model import load_reward_model
from rm_tension.paper.tasks import BENCHMARKS
from rm_tension.score.checkpoints import download, open_repository, read_outputs, recorded_setting
from rm_tension.score.loading import TOKENS_PER_BATCH

# in standard deviations of the rewards: for all of them in float32 on a CPU, else for all but
# OUTLIERS of them, and these within FARTHEST
TOLERANCES: dict[Precision, float] = {"float32": 1e-3, "tf32": 3e-2, "bfloat16": 1e-1}
OUTLIERS = 0.001
FARTHEST = 0.5
FEWEST = 10  # items: tolerances are in standard deviations of their rewards
KEYS = [column for column in COLUMNS if column != "reward"]


def main(
    *,
    profile: str,
    count: Annotated[int, Parameter(name="--models")] = 2,
    max_mb: int = 600,
    only: Annotated[list[str] | None, Parameter(name="--model")] = None,
    items: int = 50,
    seed: NonNegativeInt | None = None,
    device: str | None = None,
) -> None:
    """Score a random sample of cached rewards again and compare; exit with 1 if they differ.

    Fetches the checkpoints, activations, rewards and texts of the reward models that are drawn, and
    nothing else. It does not check that the checkpoints were trained as they should be.

    Args:
        profile: A profile of params.yaml.
        count: How many reward models to draw.
        max_mb: Draw only models up to this size, in MB.
        only: Check this model instead of drawing, such as gpt2-small-helpful-0; repeatable.
        items: How many items of each model to score again, half of them HH-RLHF's.
        seed: The seed of the draw. Default: a random one, which is printed.
        device: A torch device, such as cpu or cuda:1. Default: the best there is.
    """
    load_params().refuse_unknown([profile])
    if items < FEWEST:
        raise UserError(f"--items {items}: must be at least {FEWEST}")
    seed = secrets.randbelow(2**32) if seed is None else seed
    repository = open_repository(".")
    outputs = read_outputs(repository)
    sizes = evaluated_models(outputs, profile)
    drawn = named(only, sizes) if only else draw(sizes, count, max_mb, seed)
    print(f"seed {seed}: {', '.join(model.key for model in drawn)}")
    faults: list[str] = []
    torch_device = find_device(device)
    with tempfile.TemporaryDirectory() as root:
        paths = Paths(profile, Path(root))
        for model in drawn:
            gather(repository, model, paths)
            # params.yaml may no longer say in which precision it was evaluated
            evaluated = recorded_setting(
                outputs, Paths(profile).rewards(model.trio), f"profiles.{profile}.evaluate"
            )
            compute = Compute(torch_device, evaluated["precision"])
            rng = np.random.default_rng([seed, *model.key.encode()])
            faults += compare(rescore(paths, model, compute, items, rng), model, compute)
        copies = [
            file for file in Path(root).rglob("*") if file.is_file() and not file.is_symlink()
        ]
        size = sum(file.stat().st_size for file in copies) / 1e6
    print(f"fetched {len(copies)} files, {size:.1f} MB")
    if faults:
        sys.exit("\n".join(f"FAILED: {fault}" for fault in faults))
    print("spotcheck: all is as it should be")


def evaluated_models(outputs: Mapping[str, Any], profile: str) -> dict[Model, int]:
    """Return the models of a profile that dvc.lock has rewards of, with their bytes."""
    paths = Paths(profile)
    return {
        model: outputs[str(paths.reward_model(model))].get("size", 0)
        for model in models(load_params().grid, profile)
        if {str(paths.reward_model(model)), str(paths.rewards(model.trio))} <= outputs.keys()
    }


def named(keys: list[str], sizes: Mapping[Model, int]) -> list[Model]:
    """Return the evaluated models with these keys; raise UserError if there is none of one."""
    evaluated = {model.key: model for model in sizes}
    for key in keys:
        if key not in evaluated:
            nearest = ", ".join(get_close_matches(key, evaluated, cutoff=0)) or "none"
            raise UserError(
                f"--model {key}: nothing in dvc.lock evaluated it; the nearest are: {nearest}"
            )
    return [evaluated[key] for key in dict.fromkeys(keys)]


def draw(sizes: Mapping[Model, int], count: int, max_mb: int, seed: int) -> list[Model]:
    """Draw among the models of up to `max_mb` MB; raise UserError if they are too few."""
    small = [model for model, size in sizes.items() if size <= max_mb * 1e6]
    if not 0 < count <= len(small):
        raise UserError(
            f"--models {count}: dvc.lock has {len(small)} evaluated RMs of up to {max_mb} MB; "
            "larger ones by --max-mb"
        )
    chosen = np.random.default_rng(seed).choice(len(small), count, replace=False)
    return [small[index] for index in chosen]


def gather(repository: DVCFileSystem, model: Model, paths: Paths) -> None:
    """Bring what a model's check reads below the root of `paths`: links into the working tree.

    What is not there is downloaded.
    """
    tree, trio = Paths(paths.profile), model.trio
    tables = [tree.tokens(model.backbone, "test"), tree.tokens(model.backbone, "benchmarks")]
    for path in (tree.reward_model(model), tree.activations(trio), tree.rewards(trio), *tables):
        target = paths.root / path
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            target.symlink_to(path.absolute())
        else:
            is_folder = path == tree.reward_model(model)
            download(repository, path.as_posix(), target if is_folder else target.parent)


def rescore(
    paths: Paths, model: Model, compute: Compute, items: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Score some items again, half of either kind, without and with an ablation that is drawn.

    Return KEYS and the rewards `cached` (NaN where there is none) and `again`, a row for each.
    """
    cached = read_table(paths.rewards(model.trio), COLUMNS).rename(columns={"reward": "cached"})
    cached = cached[cached["objective"] == model.objective]
    is_benchmark = cached["dataset"].isin(BENCHMARKS)
    splits: dict[Split, pd.DataFrame] = {
        "test": cached[~is_benchmark],
        "benchmarks": cached[is_benchmark],
    }
    work = []
    for split, rewards in splits.items():
        tokens = _of_items(read_table(paths.tokens(model.backbone, split), TOKENS), rewards)
        chosen = rng.choice(len(tokens), min(items // 2, len(tokens)), replace=False)
        sample = tokens.iloc[np.sort(chosen)]
        ablations = rewards[rewards["kind"] != NONE.kind]
        drawn = ablations[["kind", "percent"]].drop_duplicates().sample(random_state=rng)
        ablation = Condition(str(drawn["kind"].iloc[0]), int(drawn["percent"].iloc[0]))
        work += [(sample, NONE), (_of_items(sample, ablations.merge(drawn)), ablation)]
    laid_out = [
        (Texts.lay_out(table, TokenBudget(TOKENS_PER_BATCH)), [condition])
        for table, condition in work
        if len(table)
    ]
    neurons = NeuronSets(load_activations(paths.activations(model.trio)), load_params(), model.seed)
    reward_model = load_reward_model(paths.reward_model(model)).to(compute.device)
    tables = evaluate(reward_model, model.objective, model.key, laid_out, neurons, compute)
    again = pd.concat(tables, ignore_index=True).rename(columns={"reward": "again"})
    return again.merge(cached, how="left", on=KEYS)


def _of_items(tokens: pd.DataFrame, rewards: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the items that have rewards."""
    return tokens.merge(rewards[["dataset", "item_id"]].drop_duplicates())


def compare(rows: pd.DataFrame, model: Model, compute: Compute) -> Iterator[str]:
    """Print how far the rewards of each condition are apart, and yield what is wrong.

    Distances are in standard deviations of the rewards scored again, without ablation or with,
    whichever are larger: who forged the cached ones has no part in them.
    """
    spread = rows.loc[rows["kind"] == NONE.kind, "again"].std()
    spreads = rows.groupby(["kind", "percent"])["again"].transform("std").clip(lower=spread)
    distance = ((rows["again"] - rows["cached"]).abs() / spreads).fillna(np.inf)
    for (kind, percent), part in distance.groupby([rows["kind"], rows["percent"]]):
        print(
            f"{model.key}, {kind} {percent}%: {len(part)} rewards, {(part == 0).mean():.0%} equal "
            f"to the bit, the others up to {part.max():.1g} sd apart"
        )
    tolerance = TOLERANCES[compute.precision]
    is_strict = compute.device.type == "cpu" and compute.precision == "float32"
    allowed = 0 if is_strict else int(np.ceil(OUTLIERS * len(rows)))
    wrong = int((distance > tolerance).sum())
    if wrong > allowed or distance.max() > FARTHEST:
        worst = rows.iloc[int(distance.argmax())]
        yield (
            f"{model.key}: {wrong} of {len(rows)} rewards are more than {tolerance} sd from what "
            f"checkpoint and texts give (rounding explains {allowed} of them, to {FARTHEST} sd); "
            f"the farthest, {worst['dataset']} {worst['item_id']}, answer {worst['answer_index']}, "
            f"{worst['kind']} {worst['percent']}%: {worst['cached']:.6g} cached, "
            f"{worst['again']:.6g} scored again"
        )
