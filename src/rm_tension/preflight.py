"""Say at once what a machine lacks for a profile, instead of failing an hour in; then run a command.

The container starts every command with `rm-tension preflight -- COMMAND...`: `dvc` needs a checkout that it
may write to, and `dvc repro` also what the profiles need that it names.
"""

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

import psutil
from cyclopts import Parameter
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from rm_tension.base.config import HubData, HubFiles, HubRepo, Params, Profile, load_params
from rm_tension.base.errors import UserError
from rm_tension.data.sources import OFFICIAL, DataSet
from rm_tension.estimate import Needs, estimate, needs, published

GB = 1e9
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container
HUB_TIMEOUT = 10  # seconds

Lack = tuple[str, bool]  # a sentence, and whether to stop for it


@dataclass(frozen=True)
class Facts:
    """What there is for a profile; sizes in GB, `gpu_memory` None without a GPU.

    `begun`: some of its models are there; `hub`: which of its files are not to be had, and why.
    """

    latex: bool
    gpu_memory: float | None
    memory: float
    disk: float
    begun: bool
    hub: str


def gather(name: str, profile: Profile) -> Facts:
    """Look at the machine and the working directory."""
    limit = CGROUP_LIMIT.read_text(encoding="ascii") if CGROUP_LIMIT.exists() else "max"
    return Facts(
        latex=shutil.which("latexmk") is not None,
        gpu_memory=None if profile.gpu == "none" else _gpu_memory(),
        memory=min([psutil.virtual_memory().total, *map(int, re.findall("[0-9]+", limit))]) / GB,
        disk=shutil.disk_usage(Path.cwd()).free / GB,
        begun=Path("models", name).exists(),
        hub=missing_of_the_hub(profile),
    )


def needed(params: Params, name: str, facts: Facts) -> Needs:
    """By the estimate for a GPU where there is one or must be; UserError where a model or tokenizer is not known."""
    profile = params.profiles[name]
    device = (
        "H100" if facts.gpu_memory is not None or profile.gpu == "required" else "cpu"
    )  # whose speed is no matter
    return needs(estimate(params, name, published(device)), profile)


def lacks(profile: Profile, facts: Facts) -> Iterator[Lack]:
    """What a profile lacks but for sizes, and the remedy."""
    if not facts.latex:
        yield (
            "latexmk not found, which makes the report's PDF: `make tex` installs it on Debian",
            True,
        )
    if profile.gpu != "none" and facts.gpu_memory is None:
        instead = (
            ""
            if profile.gpu == "required"
            else "; one trio may do without, slowly: `rm-tension cost`"
        )
        text = (
            f"no GPU that torch can use: `docker run --gpus all`, or look at `nvidia-smi`{instead}"
        )
        yield text, profile.gpu == "required"
    if facts.hub:
        yield facts.hub, True


def too_small(profile: Profile, needed: Needs, facts: Facts) -> Iterator[Lack]:
    """Which sizes do not suffice, and the remedy."""
    if facts.gpu_memory is not None and facts.gpu_memory < needed.gpu_memory:
        text = f"the GPU has {facts.gpu_memory:.0f} GB, {needed.gpu_memory} are needed for the largest backbone"
        yield f"{text}: lower the tokens per batch in params.yaml", False
    if facts.memory < needed.memory:
        text = (
            f"{facts.memory:.0f} GB of memory, {needed.memory} are needed for the largest backbone"
        )
        # one trio on a CPU is a way to run such a profile, and a smaller backbone's needs less
        yield (
            f"{text}: use a larger machine",
            profile.gpu != "useful" or facts.gpu_memory is not None,
        )
    if facts.disk < needed.disk:
        text = f"{facts.disk:.0f} GB free in {Path.cwd()}, the whole profile needs {needed.disk}"
        # what a run that has begun still needs cannot be known: DVC's cache may copy the models or share them
        yield f"{text}: free some, or mount the repository from a larger disk", not facts.begun


def checkout_lacks() -> Iterator[Lack]:
    """What no `dvc` can do without."""
    here, user = Path.cwd(), os.geteuid()
    if not os.access(here, os.W_OK):
        owner = here.stat().st_uid
        remedy = f"run as its owner, with `--user {owner}` in a container"
        yield f"{here} belongs to uid {owner} and uid {user} may not write to it: {remedy}", True
    code, said = subprocess.getstatusoutput("git status --short")  # noqa: S605
    if code:
        complaint = (said or f"`git status` exits {code}").splitlines()[0]
        remedy = "install git and run in a checkout (ARTIFACT.md says how to make one of an unpacked archive)"
        trust = "if another user owns it, `git config --global --add safe.directory DIR`"
        yield f"{complaint}: {remedy}; {trust}", True


def missing_of_the_hub(profile: Profile) -> str:
    """The first files that are neither in the hub's cache nor to be had; to ask for the next would take as long."""
    for kind, repo, names in _wanted(profile):
        missing = ", ".join(_not_cached(kind, repo, names))
        if missing and (
            why := _obstacle(
                f"{constants.ENDPOINT}/api/{kind}s/{repo.repo}/revision/{repo.revision}"
            )
        ):
            remedy = (
                "check the connection, or set HF_HOME to a cache that holds it or can be written to"
            )
            return f"{repo.repo} at {repo.revision}: {missing} not in {constants.HF_HUB_CACHE}, {why}: {remedy}"
    return ""


def _wanted(profile: Profile) -> Iterator[tuple[str, HubRepo, list[str]]]:
    """The kind of each repository, and patterns that must each match a file there for the stages to get along."""
    source = profile.data.source
    if isinstance(source, HubData):
        for data_set in get_args(DataSet):
            yield (
                "dataset",
                getattr(source, data_set),
                [file.name for file in OFFICIAL if file.data_set == data_set],
            )
    weights = [backbone.weights for backbone in profile.backbones.values()]
    for models, pattern in (
        (profile.tokens.tokenizers.values(), "tokenizer*.json"),
        (weights, "model*.safetensors"),
    ):
        yield from (
            ("model", one, ["config.json", pattern]) for one in models if isinstance(one, HubFiles)
        )


def _not_cached(kind: str, repo: HubRepo, names: list[str]) -> list[str]:
    try:
        folder = snapshot_download(
            repo.repo,
            repo_type=kind,
            revision=repo.revision,
            allow_patterns=names,
            local_files_only=True,
        )
    except LocalEntryNotFoundError:
        return names
    # without the hub's list any folder passes for complete, even one with nothing but another stage's files
    return [name for name in names if not any(Path(folder).glob(name))]


def _obstacle(url: str) -> str:
    """Why nothing can be fetched; without the retries of huggingface_hub, which take half a minute to say it."""
    cache = Path(constants.HF_HUB_CACHE)
    if not os.access(next(one for one in (cache, *cache.parents) if one.exists()), os.W_OK):
        return "which cannot be written to"
    if constants.HF_HUB_OFFLINE:
        return "and HF_HUB_OFFLINE is set"
    try:
        urllib.request.urlopen(url, timeout=HUB_TIMEOUT).close()  # noqa: S310  (the hub's https, or HF_ENDPOINT)
    except (OSError, ValueError) as error:  # the second: HF_ENDPOINT is no address
        return f"and the hub did not answer ({error})"
    return ""


def _gpu_memory() -> float | None:
    import torch  # takes a second that the miniature need not wait

    return (
        torch.cuda.get_device_properties(0).total_memory / GB if torch.cuda.is_available() else None
    )


def named(command: str, profiles: Collection[str]) -> set[str]:
    """The profiles of the stages that a command names, e.g. train@pilot-gpt2-small-mixed-0: the longest that fits."""
    stages = re.findall(r"@([\w.-]+)", command)
    fitting = (
        [name for name in profiles if f"{stage}-".startswith(f"{name}-")] for stage in stages
    )
    return {max(names, key=len) for names in fitting if names}


def look(command: str, names: Collection[str]) -> Iterator[Lack]:
    """What is missing for the command and the named profiles; UserError outside a repository."""
    params = load_params()
    params.refuse_unknown(names)
    yield from checkout_lacks()
    wanted = sorted({*names, *(named(command, params.profiles) if " repro " in command else ())})
    for name in wanted:
        for text, stop in _look_at(params, name):
            yield f"{name}: {text}", stop


def _look_at(params: Params, name: str) -> Iterator[Lack]:
    profile = params.profiles[name]
    facts = gather(name, profile)
    yield from lacks(profile, facts)
    try:
        yield from too_small(profile, needed(params, name, facts), facts)
    except UserError as error:
        yield f"how much memory and disk it needs is not known ({error})", False


def main(
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    profile: Annotated[list[str] | None, Parameter(name="--profile")] = None,
) -> None:
    """Say at once what a machine lacks for a profile, instead of failing an hour in; then become a command.

    Exit with 1 if something is missing, unless RM_TENSION_PREFLIGHT is `warn`.

    Args:
        command: To run if nothing is missing, after --.
        profile: Of params.yaml; repeatable.
    """
    text = " ".join(command)  # with the words of `bash -c`
    looks = profile or not command or "dvc" in text.split()
    lacking = list(look(text, profile or ())) if looks else []
    for sentence, stop in lacking:
        print(f"preflight: {'' if stop else 'warning: '}{sentence}", file=sys.stderr)
    if any(stop for _, stop in lacking) and os.environ.get("RM_TENSION_PREFLIGHT") != "warn":
        raise UserError(
            "something is missing (above); RM_TENSION_PREFLIGHT=warn goes on all the same"
        )
    if command:
        os.execvp(command[0], command)  # noqa: S606  (what the user asked for)
    print("preflight: " + ("see the warnings" if lacking else "nothing is missing"))
