"""A git and DVC repository with one made reward model in it, and remotes that hold it: as after a `train` stage."""

import json
import shutil
import subprocess
from pathlib import Path

import yaml
from dvc.repo import Repo

from rm_tension.base.config import TrainedTokenizer
from rm_tension.base.grid import Model, Paths
from rm_tension.base.lockfile import file_md5
from rm_tension.model.reward_model import new_reward_model, save_reward_model
from rm_tension.model.settings import ScoringSettings
from rm_tension.score.checkpoints import md5_of_folder
from rm_tension.tokens.make_tokenizer import make_tokenizer
from samples import POSITIONS, make_backbone

REPOSITORY = Path(__file__).parents[1]
TEMPLATE = "Human:{prompt}\n\nAssistant:{answer}"
KEY, STAGE = "gpt2-small-helpful-0", "train@mini-gpt2-small-helpful-0"
SETTINGS = ScoringSettings(
    profile="mini", key=KEY, template=TEMPLATE, max_length=POSITIONS, precision="float32"
)
PLACE = Paths("mini").reward_model(Model("gpt2-small", "helpful", 0))


def git(folder, *arguments):
    """Run git in a folder, as somebody; returns what it printed."""
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def make_reward_model(folder, seed=0):
    """Of a small vocabulary and few positions, with its tokenizer, as the train stage saves it."""
    scratch = folder.parent / "scratch"
    config = TrainedTokenizer(kind="trained", vocabulary=300)
    tokenizer = make_tokenizer(config, ["some words to merge " * 9])
    tokenizer.save_pretrained(scratch / "tokenizer")
    model = new_reward_model(
        make_backbone("gpt2", scratch / "backbone"), seed, head_std=0.5, dtype="float32"
    )
    model.resize_token_embeddings(len(tokenizer))
    save_reward_model(model, folder, scratch / "tokenizer", SETTINGS)
    shutil.rmtree(scratch)


def make_repository(folder, remote):
    """The train stage of dvc.yaml without its dependencies, one of its cells done, committed and pushed to `remote`."""
    folder.mkdir()
    shutil.copy(REPOSITORY / "params.yaml", folder)
    stage = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["train"]
    stage = {"matrix": stage["matrix"], "cmd": stage["cmd"], "outs": stage["outs"][:1]}
    (folder / "dvc.yaml").write_text(
        yaml.safe_dump({"stages": {"train": stage}}, sort_keys=False), encoding="utf-8"
    )
    shutil.copy(REPOSITORY / ".gitignore", folder)
    git(folder, "init", "--quiet")
    make_reward_model(folder / PLACE)
    with Repo.init(folder) as repo:  # in this process, of whose imports DVC's are seconds
        set_remote(repo, {"url": str(remote)})
    with Repo(folder) as repo:
        repo.commit(f"{folder}/dvc.yaml:{STAGE}", force=True)
        repo.push()
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "trained")


def copy_repository(source, folder, remote, **settings):
    """A clean clone, with `remote` (an URL or a folder, None for none) and its settings as its DVC remote."""
    subprocess.run(["git", "clone", "--quiet", str(source), str(folder)], check=True)
    with Repo(folder) as repo:
        set_remote(repo, {"url": str(remote), **settings} if remote else None)
    return folder


def set_remote(repo, settings):
    """Give a repository one DVC remote, or none."""
    with repo.config.edit() as config:
        config["remote"] = {"here": settings} if settings else {}
        config["core"].pop("remote", None)
        if settings:
            config["core"]["remote"] = "here"


def listed(folder):
    """The files of the reward model by their name in its folder; values are their md5s, as dvc.lock's list has them."""
    lock = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))
    (out,) = lock["stages"][STAGE]["outs"]
    listing = stored(folder / ".dvc" / "cache", out["md5"]).read_text(encoding="utf-8")
    return {file["relpath"]: file["md5"] for file in json.loads(listing)} | {"": out["md5"]}


def md5s(folder):
    """Of the files of a folder by their name in it."""
    return {
        path.relative_to(folder).as_posix(): file_md5(path)
        for path in folder.rglob("*")
        if path.is_file()
    }


def stored(store, md5):
    """Where a DVC cache or remote keeps a file."""
    return Path(store) / "files" / "md5" / md5[:2] / md5[2:]


def write_context(results, **changes):
    """What an analysis of the one reward model would say of its run."""
    results.mkdir(parents=True, exist_ok=True)
    context = {"profile": "mini", "title": "a title", "comparable": False, "task_percent": 10}
    context |= {"stand_ins": None, "trios": ["gpt2-small-0"]}
    context |= {"missing_trios": [], "missing_tasks": []}
    (results / "context.json").write_text(json.dumps(context | changes))


def write_recorded(folder):
    """The analysis and the generated data that it is of, in dvc.lock; neither is in DVC's cache."""
    data = {"profiles.mini.data": {"source": {"kind": "miniature"}}}
    md5 = md5_of_folder(md5s(folder / "results/mini"))
    stages = {
        "analyse@mini": {"outs": [{"path": "results/mini", "md5": md5}]},
        "data@mini": {"outs": [{"path": "data/mini", "md5": f"{'0' * 32}.dir"}]},
    }
    stages["data@mini"]["params"] = {"params.yaml": data}
    lock = yaml.safe_load((folder / "dvc.lock").read_text())
    for name, stage in stages.items():
        stage["outs"][0] |= {"nfiles": 2, "size": 7}
        lock["stages"][name] = {"cmd": "made", **stage}
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock))


def archive(folder):
    """Commit what there is, and do as `make archive` does."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "a state")
    (folder / "dist").mkdir(exist_ok=True)
    path = "dist/rm-tension-0.1.0.tar.gz"
    git(folder, "archive", "--prefix=rm-tension-0.1.0/", f"--output={path}", "HEAD")
