"""A small profile made by a random generator: benchmarks, HH-RLHF test pairs, rewards and activations of any trio.

Nothing is trained: a reward is a planted preference of the objective plus noise, so a file takes
milliseconds.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from rm_tension.activations.sums import Activations, ActivationSums, Attribution, save_activations
from rm_tension.base.config import Params, parse_params
from rm_tension.base.grid import Paths, Trio
from rm_tension.evaluate.conditions import NONE, WHOLE, Condition, hh_conditions, task_conditions
from rm_tension.evaluate.evaluation import benchmarks as split_benchmarks
from rm_tension.evaluate.scores import SCORES
from rm_tension.paper.tasks import SUBSETS, TASKS

COLUMNS = ["dataset", "subset", "item_id", "prompt", "answers", "n_chosen"]
REPOSITORY = Path(__file__).parents[1]
HELPFULNESS = {subset for task in TASKS if task.group == "helpfulness" for subset in task.subsets}
FEW = {
    "hh_percents": {"random": [10, 30], "change": [10, 30], "magnitude": [10, 30], "absolute": [10]}
}
ANSWERS = {"reward-bench": (1, 1), "reward-bench-2": (1, 3), "rm-bench": (3, 3)}
# Of helpfulness and of harmlessness items
MARGINS = {"helpful": (1.0, -0.8), "harmless": (-0.8, 1.0), "mixed": (0.8, 0.5)}


def raw_params(**evaluate: Any) -> dict[str, Any]:
    """params.yaml with two ablation percents in mini, and other changes of its `evaluate`."""
    raw: dict[str, Any] = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    raw["profiles"]["mini"]["evaluate"] |= FEW | evaluate
    return raw


def small_params(**evaluate: Any) -> Params:
    """`raw_params`, parsed."""
    return parse_params(raw_params(**evaluate))


def make_benchmarks(items: int = 6, without: Iterable[str] = ()) -> pd.DataFrame:
    """`items` prompts per subset, as in data/<P>/benchmarks.parquet; `without` names subsets, e.g. rm-bench/math."""
    rows = []
    for subset in SUBSETS:
        if f"{subset.suite}/{subset.name}" in without:
            continue
        for number in range(items):
            item, (chosen, rejected) = f"{subset.name}/{number}", ANSWERS[subset.suite]
            if subset.name == "ties":
                item = f"ties/{('ref', 'tied')[number % 2]}:{number // 2}"
                chosen = 1 + 2 * (number % 2)
            answers = [f"answer {index}" for index in range(chosen + rejected)]
            rows.append((subset.suite, subset.name, item, f"prompt {number}", answers, chosen))
    return pd.DataFrame(rows, columns=COLUMNS)


def make_preferences(pairs: int = 12) -> pd.DataFrame:
    """`pairs` HH-RLHF test pairs per source, as in data/<P>/test.parquet."""
    rows = [
        ("hh-rlhf", source, f"{source}-{n}", "", ["yes", "no"], 1)
        for source, n in product(("helpful-base", "harmless-base"), range(pairs))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def make_rewards(
    params: Params, trio: Trio, benchmarks: pd.DataFrame, preferences: pd.DataFrame
) -> pd.DataFrame:
    """As in rewards/<P>/<trio>.parquet: the margin of MARGINS, weaker under ablation, plus noise."""
    rng = np.random.default_rng([trio.seed, *trio.backbone.encode()])
    helpfulness = {(subset.suite, subset.name) for subset in HELPFULNESS}
    keys = zip(benchmarks["dataset"], benchmarks["subset"], strict=True)
    tasks = benchmarks.assign(helpfulness=[key in helpfulness for key in keys])
    pairs = preferences.assign(helpfulness=preferences["subset"] != "harmless-base")
    evaluate = params.profiles["mini"].evaluate
    tables = []
    for objective in params.grid.objectives:
        own = pairs[pairs["subset"].isin(params.test_files[objective])]
        of_tasks = task_conditions(evaluate, params.objectives[objective].role)
        for items, conditions in ((own, hh_conditions(evaluate)), (tasks, of_tasks)):
            for condition in conditions:
                used = items if condition == NONE else split_benchmarks(items, params.grid)[0]
                answers = _answers(used)
                margin = np.where(answers["helpfulness"], *MARGINS[objective])
                mean = np.where(answers["chosen"], margin, 0) * _strength(condition)
                reward = (mean + rng.normal(0, 0.8, len(answers))).astype("float32")
                table = answers[["dataset", "item_id", "answer_index"]].assign(reward=reward)
                tables.append(table.assign(objective=objective, **asdict(condition)))
    return pd.concat(tables, ignore_index=True)


def make_margins(params: Params, trio: Trio, preferences: pd.DataFrame) -> pd.DataFrame:
    """As in margins/<P>/<trio>.parquet: a group costs more the higher its magnitude, and no other score says so."""
    rng = np.random.default_rng([1, trio.seed, *trio.backbone.encode()])
    number, tables = params.profiles["mini"].evaluate.groups.number, []
    for objective in params.grid.objectives:
        own = preferences[preferences["subset"].isin(params.test_files[objective])]
        groups = [WHOLE, *((score, group) for score in SCORES for group in range(1, 1 + number))]
        for score, group in groups:
            lost = group / number if score == "magnitude" else 0.0
            margin = (2 - lost + rng.normal(0, 0.1, len(own))).astype("float32")
            keys = {"objective": objective, "score": score, "group": group}
            tables.append(own[["dataset", "item_id"]].assign(**keys, margin=margin))
    return pd.concat(tables, ignore_index=True)


def make_activations(trio: Trio) -> dict[str, Activations]:
    """Sums of 3 blocks of 40 neurons: a part that a backbone's RMs share, a part of the objective's own, and noise."""

    def draw(*key: str) -> np.ndarray:
        rng = np.random.default_rng([*trio.backbone.encode(), *"/".join(key).encode()])
        return rng.normal(0, 1, (3, 40))

    def side(objective: str, name: str) -> ActivationSums:
        own = 0.5 * draw(objective) + 0.1 * draw(objective, str(trio.seed))
        mean = draw() + own + 0.01 * draw(objective, name)
        size = np.abs(mean)
        parts = (mean, size, size / 4, draw(), mean)
        return ActivationSums(*(1000 * part for part in parts), tokens=1000)

    found = {}
    for objective in MARGINS:
        sides = [side(objective, name) for name in ("chosen", "rejected")]
        attribution = Attribution(draw(objective, "attribution"), tokens=1000)
        found[objective] = Activations(*sides, attribution)
    return found


def make_history(steps: int = 75) -> pd.DataFrame:
    """A loss that falls from 0.7 to 0.35, as in runs/<P>/steps/<model>.jsonl."""
    step = np.arange(steps)
    loss = 0.7 / (1 + step / steps)
    return pd.DataFrame({"step": step, "loss": loss, "accuracy": 0.5, "margin": 0.1})


def write_profile(
    root: Path, trios: Iterable[Trio], without: Iterable[str] = (), **evaluate: Any
) -> Paths:
    """A repository below `root` with params.yaml, reference/, and the mini profile's data, rewards and activations.

    `evaluate` changes the section of that name in params.yaml.
    """
    paths, params, trios = Paths("mini", root), small_params(**evaluate), list(trios)
    (root / "params.yaml").write_text(yaml.safe_dump(raw_params(**evaluate)), encoding="utf-8")
    shutil.copytree(REPOSITORY / "reference", root / "reference")
    benchmarks, preferences = make_benchmarks(without=without), make_preferences()
    paths.data.mkdir(parents=True)
    preferences.to_parquet(paths.texts("test"))
    benchmarks.to_parquet(paths.texts("benchmarks"))
    known = {"stand_ins": "generated texts" if without else None, "files": []}
    paths.provenance.write_text(json.dumps(known), encoding="utf-8")
    for backbone in dict.fromkeys(trio.backbone for trio in trios):
        provenance = paths.backbone_provenance(backbone)
        provenance.parent.mkdir(parents=True, exist_ok=True)
        provenance.write_text(json.dumps({"hub": None, "stand_ins": None}), encoding="utf-8")
    for trio in trios:
        for path in (paths.rewards(trio), paths.margins(trio)):
            path.parent.mkdir(parents=True, exist_ok=True)
        save_activations(paths.activations(trio), make_activations(trio))
        make_rewards(params, trio, benchmarks, preferences).to_parquet(paths.rewards(trio))
        make_margins(params, trio, preferences).to_parquet(paths.margins(trio))
        for objective in params.grid.objectives:
            history = paths.history(trio.model(objective))
            history.parent.mkdir(parents=True, exist_ok=True)
            make_history().to_json(history, orient="records", lines=True)
    return paths


def _answers(items: pd.DataFrame) -> pd.DataFrame:
    answers = items.explode("answers", ignore_index=True)
    answers["answer_index"] = answers.groupby(["dataset", "item_id"]).cumcount()
    return answers.assign(chosen=answers["answer_index"] < answers["n_chosen"])


def _strength(condition: Condition) -> float:
    if condition.kind in {"none", "random"}:
        return 1.0
    return 0.0 if condition.kind == "all" else 1 - condition.percent / 40
