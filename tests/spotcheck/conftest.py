"""A small repository of one tiny trio, evaluated; tests forge copies of it."""

import shutil

import pytest
import yaml

from checkout import dvc
from rm_tension.activations import stage as activations
from rm_tension.backbone import stage as backbone
from rm_tension.base.config import ROLES
from rm_tension.base.files import write_json
from rm_tension.base.grid import Paths
from rm_tension.base.runs import record
from rm_tension.data import stage as data
from rm_tension.evaluate import stage as evaluate
from rm_tension.tokens import stage as tokens
from rm_tension.train import stage as train
from samples import only_mini
from small_repository import REPOSITORY, git
from synthetic import FEW

BACKBONE, SEEDS = "gpt2-small", (0,)
FILES = ("helpful-base", "helpful-online", "helpful-rejection-sampled", "harmless-base")
PAIRS = dict(zip(FILES, (20, 4, 4, 20), strict=True))
WEIGHTS = {
    "layers": 2,
    "width": 16,
    "heads": 2,
    "init_std": 0.5,
    "gain_spread": 1.0,
    "pretraining": None,
}


def small_grid():
    """params.yaml with the mini profile alone, of one trio a seed, few texts and a tiny backbone."""
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    mini = only_mini(params, [BACKBONE], SEEDS)
    mini["backbones"][BACKBONE]["weights"] |= WEIGHTS
    mini["data"]["source"] |= {"train_pairs": PAIRS, "test_pairs": PAIRS, "items_per_task": 4}
    mini["tokens"]["tokenizers"]["miniature"]["vocabulary"] = 300
    mini["evaluate"] |= FEW
    return params


def run_stages():
    """All of them in the working directory; what the last two write is made up."""

    def run(stage, **cell):
        stage.main(profile="mini", **cell)

    run(data)
    run(tokens)
    run(backbone, backbone=BACKBONE)
    for seed in SEEDS:
        for objective in ROLES:
            run(train, backbone=BACKBONE, objective=objective, seed=seed)
        run(activations, backbone=BACKBONE, seed=seed)
        run(evaluate, backbone=BACKBONE, seed=seed)
    paths = Paths("mini")
    for stage in ("analyse", "report"):
        with record(paths.run(stage), {}):
            pass
    write_json(paths.results / "claims.json", [])
    write_json(paths.reports / "metrics.json", {"claims": {"C1": "reproduced"}})
    (paths.reports / "artifact.pdf").touch()


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory):
    """The repository (`origin`) beside the remote that it was pushed to (`remote`)."""
    folder = tmp_path_factory.mktemp("evaluated")
    origin = folder / "origin"
    shutil.copytree(REPOSITORY / "reference", origin / "reference")
    shutil.copy(REPOSITORY / ".gitignore", origin)
    (origin / "params.yaml").write_text(
        yaml.safe_dump(small_grid(), sort_keys=False), encoding="utf-8"
    )
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for stage in stages.values():  # whose code is not here
        stage["deps"] = [path for path in stage.get("deps", []) if not path.startswith("src/")]
    (origin / "dvc.yaml").write_text(
        yaml.safe_dump({"stages": stages}, sort_keys=False), encoding="utf-8"
    )
    git(origin, "init", "--quiet")
    dvc("init", "--quiet", folder=origin)
    dvc("remote", "add", "--default", "here", str(folder / "remote"), folder=origin)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(origin)
        run_stages()
    dvc("commit", "--force", folder=origin)
    dvc("push", folder=origin)
    git(origin, "add", "--all")
    git(origin, "commit", "--quiet", "--message", "evaluated")
    return folder


@pytest.fixture
def tree(evaluated, cache, tmp_path, monkeypatch):
    """A copy with all that was made in its working tree, as the working directory; there is no remote to go to."""
    folder = shutil.copytree(
        evaluated / "origin", tmp_path / "tree", ignore=shutil.ignore_patterns("cache")
    )
    monkeypatch.chdir(folder)
    return folder
