"""Say at once what a machine lacks for a profile, then run a command.

The container starts every command with `rm-tension preflight -- COMMAND...`: `dvc` needs a checkout
that it may write to, and `dvc repro` also what the profiles need that it names.
"""

import getpass
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import psutil
import pynvml
from cyclopts import Parameter
from huggingface_hub import constants, get_session, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from rm_tension.base.config import HubData, HubFiles, HubRepo, Profile, load_params
from rm_tension.base.errors import UserError
from rm_tension.base.files import refuse_unwritable
from rm_tension.base.lockfile import first_of
from rm_tension.data.sources import OFFICIAL

GB = 1e9
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container
HUB_TIMEOUT = 10  # seconds
OLDEST_GPU = (8, 0)  # compute capability of Ampere: older ones have no packed FlashAttention
OLDEST_DRIVER = 580  # the first for CUDA 13, which torch is built with


@dataclass(frozen=True)
class Problem:
    """What is missing and the remedy; `stops`: nothing should run before it is there."""

    text: str
    stops: bool = True


@dataclass(frozen=True)
class Gpu:
    """A GPU that torch can use: its name, compute capability and memory in GB."""

    name: str
    capability: tuple[int, int]
    memory_gb: float


@dataclass(frozen=True)
class Machine:
    """What preflight looks at, sizes in GB."""

    memory_gb: float
    disk_gb: float
    begun: bool = False  # some models are there, so the profile has a part of the disk it needs
    gpus: tuple[Gpu, ...] = ()
    no_gpu: str = ""  # why torch can use none
    driver: str = ""  # the version of NVIDIA's, if any


def machine_for(name: str, profile: Profile) -> Machine:
    """Look at this machine and the working directory, at GPUs only if the profile uses them."""
    gpus, no_gpu = ((), "") if profile.gpu == "none" else _gpus()
    disk, begun = shutil.disk_usage(Path.cwd()).free, Path("models", name).exists()
    return Machine(memory_limit() / GB, disk / GB, begun, gpus, no_gpu, _driver())


def memory_limit() -> int:
    """Return the bytes that the machine has, or that a container may take."""
    limit = CGROUP_LIMIT.read_text(encoding="ascii") if CGROUP_LIMIT.exists() else "max"
    return min([psutil.virtual_memory().total, *map(int, re.findall("[0-9]+", limit))])


def gpu_problems(profile: Profile, machine: Machine) -> Iterator[Problem]:
    """Yield what is wrong with the GPUs that a profile would use."""
    if profile.gpu == "none":
        return
    if not machine.gpus:
        major = re.match("[0-9]+", machine.driver)
        if major and int(major[0]) < OLDEST_DRIVER:
            remedy = f"install {OLDEST_DRIVER} or newer"
            yield Problem(f"driver {machine.driver} is too old for CUDA 13: {remedy}")
            return
        remedy = "`docker run --gpus all`, or look at `nvidia-smi`"
        if (hidden := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
            remedy = f"unset CUDA_VISIBLE_DEVICES, which is {hidden!r}"
        if profile.gpu == "useful":
            remedy += "; one trio may do without, slowly: `rm-tension cost`"
        text = f"no GPU that torch can use ({machine.no_gpu}): {remedy}"
        yield Problem(text, profile.gpu == "required")
    for gpu in machine.gpus:
        if gpu.capability < OLDEST_GPU:
            has, needs = (".".join(map(str, one)) for one in (gpu.capability, OLDEST_GPU))
            remedy = "hide it with CUDA_VISIBLE_DEVICES, or use a newer one"
            yield Problem(f"{gpu.name} has compute capability {has}, not {needs}: {remedy}")
        if gpu.memory_gb < profile.needs.gpu_gb:
            text = f"{gpu.name} has {gpu.memory_gb:.0f} GB, {profile.needs.gpu_gb} are needed for"
            remedy = "lower the tokens per batch in params.yaml"
            yield Problem(f"{text} the largest backbone: {remedy}", stops=False)


def memory_problems(profile: Profile, machine: Machine) -> Iterator[Problem]:
    """Yield whether memory does not suffice."""
    has_gpu = bool(machine.gpus)
    memory = profile.memory_gb(has_gpu)
    if machine.memory_gb < memory:
        text = f"{machine.memory_gb:.0f} GB of memory, {memory} are needed for the largest backbone"
        # one trio of a smaller backbone may run on a CPU
        yield Problem(f"{text}: use a larger machine", stops=profile.gpu == "none" or has_gpu)


def disk_problems(profile: Profile, machine: Machine) -> Iterator[Problem]:
    """Yield whether the disk does not suffice."""
    if machine.disk_gb < profile.needs.disk_gb:
        needs = f"the profile needs {profile.needs.disk_gb}"
        text = f"{machine.disk_gb:.0f} GB free in {Path.cwd()}, {needs}"
        remedy = "free some, or mount the repository from a larger disk"
        # what a run that has begun still needs depends on whether DVC's cache shares its files
        yield Problem(f"{text}: {remedy}", stops=not machine.begun)


def checkout_problems() -> Iterator[Problem]:
    """Yield what is missing that every `dvc` needs."""
    folder, uid = Path.cwd(), os.geteuid()
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        remedy = "mount it writable (in Docker, without `:ro`)"
        yield Problem(f"{folder} is mounted read-only: {remedy}")
    elif not os.access(folder, os.W_OK):
        owner = folder.stat().st_uid
        remedy = f"run as its owner, with `--user {owner}` in a container, or `chown -R {uid}` it"
        text = f"{folder} belongs to uid {owner} and uid {uid} may not write to it"
        yield Problem(f"{text}: {'`chmod u+w` it' if owner == uid else remedy}")
    try:
        getpass.getuser()
    except (KeyError, OSError):
        yield Problem(f"uid {uid} has no name on this system, which DVC asks for: set USER to one")
    code, said = subprocess.getstatusoutput("git status --short")  # noqa: S605
    if code:
        complaint = (said or f"`git status` exits {code}").splitlines()[0]
        remedy = "install git and run in a checkout (ARTIFACT.md makes one of an archive)"
        if "dubious ownership" in complaint:
            remedy = f"run as its owner, or `git config --global --add safe.directory {folder}`"
        yield Problem(f"{complaint}: {remedy}")


def hub_problems(profile: Profile) -> Iterator[Problem]:
    """Yield the first files that are neither in the hub's cache nor to be had."""
    for kind, repo, patterns in _wanted(profile):
        missing = ", ".join(_not_cached(kind, repo, patterns))
        address = f"{constants.ENDPOINT}/api/{kind}s/{repo.repo}/revision/{repo.revision}"
        if missing and (why := _obstacle(address)):
            text = f"{repo.repo} at {repo.revision}: {missing} not in {constants.HF_HUB_CACHE}"
            remedy = "check the connection, or set HF_HOME to a writable cache that holds it"
            yield Problem(f"{text}, {why}: {remedy}")
            return


def _wanted(profile: Profile) -> Iterator[tuple[str, HubRepo, list[str]]]:
    """Yield kind and name of each repository, and patterns that must each match a file there."""
    source = profile.data.source
    if isinstance(source, HubData):
        for data_set, repo in source.repositories.items():
            yield "dataset", repo, [file.name for file in OFFICIAL if file.data_set == data_set]
    for tokenizer in profile.tokens.tokenizers.values():
        if isinstance(tokenizer, HubFiles):
            yield "model", tokenizer, ["config.json", "tokenizer*.json"]
    for backbone in profile.backbones.values():
        if isinstance(backbone.weights, HubFiles):
            yield "model", backbone.weights, ["config.json", "model*.safetensors"]


def _not_cached(kind: str, repo: HubRepo, patterns: list[str]) -> list[str]:
    try:
        folder = snapshot_download(
            repo.repo,
            repo_type=kind,
            revision=repo.revision,
            allow_patterns=patterns,
            local_files_only=True,
        )
    except LocalEntryNotFoundError:
        return patterns
    # without the hub's list any folder passes for complete, even with another stage's files alone
    return [pattern for pattern in patterns if not any(Path(folder).glob(pattern))]


def _obstacle(address: str) -> str:
    """Return why the hub cannot be used, by one request: the retries of a download take longer."""
    try:
        refuse_unwritable(Path(constants.HF_HUB_CACHE))
    except UserError:
        return "which cannot be written to"
    if constants.HF_HUB_OFFLINE:
        return "and HF_HUB_OFFLINE is set"
    try:
        get_session().get(address, timeout=HUB_TIMEOUT).raise_for_status()
    except Exception as error:  # of the client, its proxies and addresses: they share no base
        return f"and the hub did not answer ({error})"
    return ""


def _gpus() -> tuple[tuple[Gpu, ...], str]:
    """Return the GPUs that torch can use, or why it can use none."""
    import torch  # takes seconds, which the miniature need not wait for

    try:
        torch.empty(0, device="cuda")
    except (RuntimeError, AssertionError) as error:
        return (), str(error).splitlines()[0]
    properties = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    return tuple(Gpu(p.name, (p.major, p.minor), p.total_memory / GB) for p in properties), ""


def _driver() -> str:
    try:
        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return ""


def named_profiles(command: str, profiles: Collection[str]) -> set[str]:
    """Return the profiles of a command's stages, such as train@paper-gpt2-small-mixed-0."""
    cells = re.findall(r"@([\w.-]+)", command)
    return {name for cell in cells if (name := first_of(cell, profiles))}


def problems(profiles: Collection[str], computes: bool) -> Iterator[Problem]:
    """Yield what is missing for DVC and the profiles; raise UserError for an unknown profile."""
    params = load_params()
    params.refuse_unknown(profiles)
    yield from checkout_problems()
    if profiles and not shutil.which("latexmk"):
        what = "latexmk not found, which makes the report's PDF"
        yield Problem(f"{what}: `make tex` installs it on Debian")
    for name in sorted(profiles):
        profile = params.profiles[name]
        machine = machine_for(name, profile)
        of_machine = list(disk_problems(profile, machine))
        if computes:
            of_machine += [*gpu_problems(profile, machine), *memory_problems(profile, machine)]
        for problem in (*of_machine, *hub_problems(profile)):
            yield Problem(f"{name}: {problem.text}", problem.stops)


def require(profiles: Collection[str], computes: bool = True) -> list[Problem]:
    """Print and return what is missing; raise UserError for what stops, unless told to warn.

    GPU and memory matter where models compute: not on a login node that submits jobs, nor for the
    stages before.
    """
    missing = list(problems(profiles, computes))
    for problem in missing:
        print(f"preflight: {'' if problem.stops else 'warning: '}{problem.text}", file=sys.stderr)
    stops = any(problem.stops for problem in missing)
    if stops and os.environ.get("RM_TENSION_PREFLIGHT") != "warn":
        raise UserError("something is missing (above); RM_TENSION_PREFLIGHT=warn goes on anyway")
    return missing


def main(
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    profile: Annotated[list[str] | None, Parameter(name="--profile")] = None,
) -> None:
    """Say at once what a machine lacks for a profile, then run a command.

    Exit with 1 if something is missing, unless RM_TENSION_PREFLIGHT is `warn`.

    Args:
        command: The command to run if nothing is missing, after --.
        profile: A profile of params.yaml; repeatable.
    """
    text = " ".join(command)  # with the words of `bash -c`
    profiles = set(profile or ())
    if " repro " in text:
        profiles |= named_profiles(text, load_params().profiles)
    checks = profiles or not command or "dvc" in text.split()
    missing = require(profiles) if checks else []
    if command:
        os.execvp(command[0], command)  # noqa: S606  (what the user asked for)
    print("preflight: " + ("see the warnings" if missing else "nothing is missing"))
