"""What `dvc repro` leaves of one reward model that was trained and analysed, as far as a release reads it."""

import json

import pandas as pd
import yaml

from rm_tension.base.tables import TEXTS
from rm_tension.evaluate.conditions import COLUMNS
from small_repository import KEY, PLACE, REPOSITORY, STAGE, write_context

MODEL = {"backbone": "gpt2-small", "objective": "helpful", "seed": 0}
BEFORE = {"kind": "none", "percent": 0, "items": 30, "ties": 0}
NAME = f"rm-tension-mini-{KEY}"
REWARDS = "rewards/mini/gpt2-small-0.parquet"


def recorded(params, profile):
    """The stages before the training, with the settings of a profile as if they were mini's."""
    settings = params.profiles[profile].model_dump(mode="json")
    sections = {
        "data@mini": ("data", "data/mini"),
        "tokens@mini": ("tokens", "tokens/mini"),
        "backbone@mini-gpt2-small": ("backbones", "models/mini/backbones/gpt2-small"),
        STAGE: ("train", str(PLACE)),
    }
    stages = {}
    for name, (section, path) in sections.items():
        values = {f"profiles.mini.{section}": settings[section]}
        output = {"path": path, "md5": f"{'0' * 32}.dir", "nfiles": 2, "size": 7}
        stages[name] = {"params": {"params.yaml": values}, "outs": [output]}
    own = {"objectives.helpful.train": ["helpful-base", "helpful-online"]}
    own["profiles.mini.epochs.helpful"] = 2
    stages[STAGE]["params"]["params.yaml"] |= own
    return stages


def write_results(folder, **context):
    """Two tasks, of which one is of two suites; a condition that no card shows; another model; weights of the hub."""
    folder.mkdir(parents=True)
    rows = [
        MODEL | BEFORE | {"task": "safety", "accuracy": 61.25},
        MODEL | BEFORE | {"task": "math", "accuracy": 50.5},
        MODEL | BEFORE | {"task": "safety", "accuracy": 11.5, "kind": "magnitude", "percent": 10},
        MODEL | BEFORE | {"task": "safety", "accuracy": 12.5, "seed": 247},
    ]
    pd.DataFrame(rows).to_csv(folder / "accuracy.csv", index=False)
    own = [
        MODEL | BEFORE | {"subset": subset, "accuracy": 70.5} for subset in ("helpful-base", "own")
    ]
    pd.DataFrame(own).to_csv(folder / "hh_accuracy.csv", index=False)
    published = pd.read_csv(REPOSITORY / "reference/published.csv").rename(
        columns={"value": "paper"}
    )
    published = published[published["table"].isin(["13", "14"])]
    (folder / "means").mkdir()
    published[["objective", "backbone", "task", "paper"]].to_csv(
        folder / "means" / "accuracy.csv", index=False
    )
    write_context(folder, **context)
    number = {"effect": 1.0, "interval": [0.5, 1.5], "published": None, "published_verdict": None}
    part = number | {"part": "p", "verdict": "undecided", "interval_over_backbones": [0.4, 1.6]}
    texts = dict.fromkeys(("claim", "predicate", "detail"), "") | {"id": "C1", "decides": "p"}
    texts |= {"unit": "points"}
    claims = [texts | number | {"verdict": "undecided", "required": False, "parts": [part]}]
    (folder / "claims.json").write_text(json.dumps(claims))
    files = [{"name": "model.safetensors", "size": 1234, "sha256": "ab" * 32}]
    hub = {"repo": "openai-community/gpt2", "files": files}
    hub |= dict.fromkeys(("revision", "commit"), "1" * 40)
    backbones = {"gpt2-small": {"hub": hub, "stand_ins": context.get("stand_ins")}}
    for name in ("example", "explorer"):
        (folder / f"{name}.json").write_text(json.dumps({"prompt": "How?"}))
    data = dict.fromkeys(("filename", "sha256"), "") | {"official": True, "rows": {}}
    data |= {"repo": "THU-KEG/RM-Bench", "revision": "main", "commit": "c" * 40}
    (folder / "provenance.json").write_text(json.dumps({"data": [data], "backbones": backbones}))


def write_data(folder):
    """Three items, and their rewards from the model: one right, one wrong, and one right in one style of three."""
    texts = [
        ("reward-bench-2", "safety", "safety/0", "How?", ["a", "b", "c", "d"], 1),
        ("rm-bench", "chat", "chat/0", "Why?", ["a", "b", "c", "d", "e", "f"], 3),
        ("hh-rlhf", "helpful-base", "helpful-base/test/0", "", ["x", "y"], 1),
    ]
    rewards = [[1, 0, 0.5, 2], [1, 1, 1, 0, 1, 2], [1, 0]]  # of rm-bench the second is a tie
    table = pd.DataFrame(texts, columns=TEXTS)
    (folder / "data" / "mini").mkdir(parents=True)
    table[:2].to_parquet(folder / "data/mini/benchmarks.parquet")
    table[2:].to_parquet(folder / "data/mini/test.parquet")
    rows = [
        ("helpful", "none", 0, text[0], text[2], index, reward)
        for text, values in zip(texts, rewards, strict=True)
        for index, reward in enumerate(values)
    ]
    (folder / "rewards" / "mini").mkdir(parents=True)
    pd.DataFrame(rows, columns=COLUMNS).astype({"reward": "float32"}).to_parquet(folder / REWARDS)


def write_lock(folder, stages):
    stages = {name: {"cmd": "made", **stage} for name, stage in stages.items()}
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def read_lock(folder):
    return yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
