"""Say at once what a machine lacks for a profile, instead of failing an hour in; then run a command.

`python -m rm_tension.preflight --profile paper` only looks. The container starts every command with
`python -m rm_tension.preflight -- COMMAND...`: every `dvc` needs a checkout that it may write to, and `dvc repro` also
what the profiles need that it names. RM_TENSION_PREFLIGHT=warn goes on in spite of what is missing.
"""

import argparse
import os
import pwd
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import psutil
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError

from rm_tension.base.config import HubData, HubFiles, HubRepo, Needs, Profile, load_params
from rm_tension.base.errors import UserError
from rm_tension.data.sources import OFFICIAL, DataSet

GB = 1e9
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
HUB_TIMEOUT = 10  # seconds
# `dvc repro` with one of these takes from the remote, or leaves alone, what dvc.lock has; it may compute nothing.
PULLS = {"--pull", "--allow-missing"}


@dataclass(frozen=True)
class Facts:
    """What was found; sizes in GB. `git` is git's complaint about the checkout; `gpu_memory` is None without a GPU."""

    user: int
    owner: int
    writable: bool
    user_has_name: bool
    git: str
    latex: bool
    hub_cache: Path
    hub_cache_writable: bool
    memory: float
    disk: float
    gpu_memory: float | None


@dataclass(frozen=True)
class Problem:
    """Something missing, with its remedy; a warning does not stop the command."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Download:
    """What a stage asks hub.py for: files by patterns, of which none of `required` may match nothing."""

    kind: str
    repo: HubRepo
    patterns: Sequence[str]
    required: Sequence[str]


def gather(with_gpu: bool) -> Facts:
    """Look at this process, the working directory and the machine."""
    user, here, cache = os.geteuid(), Path.cwd(), Path(constants.HF_HUB_CACHE)
    return Facts(
        user=user,
        owner=here.stat().st_uid,
        writable=os.access(here, os.W_OK),
        user_has_name=bool(os.environ.get("USER")) or _has_name(user),
        git=_git(),
        latex=shutil.which("latexmk") is not None,
        hub_cache=cache,
        hub_cache_writable=os.access(next(one for one in (cache, *cache.parents) if one.exists()), os.W_OK),
        memory=_memory() / GB,
        disk=shutil.disk_usage(here).free / GB,
        gpu_memory=_gpu_memory() if with_gpu else None,
    )


def mount_problems(facts: Facts) -> Iterator[Problem]:
    """What no command in the repository can do without."""
    if not facts.writable:
        yield Problem(
            f"{Path.cwd()} belongs to uid {facts.owner} and uid {facts.user} may not write to it: "
            f"run as its owner, with `--user {facts.owner}` in a container"
        )
    if facts.git:
        yield Problem(
            f"git: {facts.git}: install git and run in a checkout (ARTIFACT.md says how to make one of an unpacked "
            "archive); if another user owns it, `git config --global --add safe.directory DIR`",
        )
    if not facts.user_has_name:
        yield Problem(f"uid {facts.user} has no name here, and DVC asks for one: set the environment variable USER")


def problems(profile: str, needs: Needs, facts: Facts, made: float, hub: Sequence[str]) -> Iterator[Problem]:
    """What the profile lacks; `made` are the GB of its models that are there, `hub` is what `hub_problems` said."""
    if not facts.latex:
        yield Problem("latexmk not found, which makes the report's PDF: `make tex` installs it on Debian")
    if needs.gpu != "none":
        optional = needs.gpu == "useful"
        instead = "; one trio may do without: expect days" if optional else ""
        if facts.gpu_memory is None:
            text = f"no GPU that torch can use: `docker run --gpus all`, or look at `nvidia-smi`{instead}"
            yield Problem(f"{profile}: {text}", warning=optional)
        elif facts.gpu_memory < needs.gpu_memory:
            text = f"the GPU has {facts.gpu_memory:.0f} GB, {needs.gpu_memory} are needed for the largest backbone"
            yield Problem(f"{profile}: {text}: lower the tokens per batch in params.yaml", warning=True)
    if facts.memory < needs.memory:
        yield Problem(f"{profile}: {facts.memory:.0f} GB of memory, {needs.memory} are needed: use a larger machine")
    if facts.disk + made < needs.disk:
        there = f", of which models/{profile} has {made:.1f} and DVC's cache may have as much" if made else ""
        text = f"{facts.disk:.0f} GB free in {Path.cwd()}, the whole profile needs {needs.disk}{there}"
        # What is still to come of a run that has begun cannot be known: the cache may copy the models or share them.
        yield Problem(f"{profile}: {text}: free some, or mount the repository from a larger disk", warning=made > 0)
    if hub and not facts.hub_cache_writable:
        yield Problem(f"{facts.hub_cache} cannot be written to: set HF_HOME to a folder that can")
    yield from (Problem(f"{profile}: {text}") for text in hub)


def hub_problems(profile: Profile) -> Iterator[str]:
    """The first files that are neither in the hub's cache nor on a hub that answers."""
    for one in _downloads(profile):
        repo, missing = one.repo, ", ".join(_not_cached(one))
        if not missing:
            continue
        if reason := _unreachable(f"{constants.ENDPOINT}/api/{one.kind}s/{repo.repo}/revision/{repo.revision}"):
            yield (
                f"{repo.repo} at {repo.revision}: {missing} not in {constants.HF_HUB_CACHE}, and the hub did not "
                f"answer ({reason}): check the connection, or set HF_HOME to a cache that holds it"
            )
            return  # each further one would take as long to say the same


def _not_cached(wanted: Download) -> Sequence[str]:
    """What the hub's cache lacks, as the stage would find without a hub."""
    complete = True
    try:
        folder = snapshot_download(
            wanted.repo.repo,
            repo_type=wanted.kind,
            revision=wanted.repo.revision,
            allow_patterns=list(wanted.patterns),
            local_files_only=True,
        )
    except IncompleteSnapshotError as error:  # it knows what the hub listed, but names what is missing in prose only
        folder, complete = error.snapshot_path, False
    except LocalEntryNotFoundError:
        return wanted.required
    # Without the hub's list any folder passes for complete, even one with nothing but another stage's files.
    missing = [pattern for pattern in wanted.required if not any(Path(folder).glob(pattern))]
    return missing if missing or complete else wanted.patterns


def _downloads(profile: Profile) -> Iterator[Download]:
    source = profile.data.source
    if isinstance(source, HubData):
        for data_set in get_args(DataSet):
            names = [file.name for file in OFFICIAL if file.data_set == data_set]
            yield Download("dataset", getattr(source, data_set), names, names)
    for tokenizer in profile.tokens.tokenizers.values():
        if isinstance(tokenizer, HubFiles):
            from rm_tension.tokens.make_tokenizer import (
                TOKENIZER_FILES,  # like torch, seconds that the miniature need not wait
            )

            yield Download("model", tokenizer, TOKENIZER_FILES, ("config.json", "tokenizer*.json"))
    for backbone in profile.backbones.values():
        if isinstance(backbone.weights, HubFiles):
            from rm_tension.backbone.backbones import MODEL_FILES

            yield Download("model", backbone.weights, MODEL_FILES, ("config.json", "model*.safetensors"))


def _unreachable(url: str) -> str:
    """Why; without the retries of huggingface_hub, which take half a minute to say it."""
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        with urllib.request.urlopen(url, timeout=HUB_TIMEOUT):  # noqa: S310  (the hub's https, or HF_ENDPOINT)
            return ""
    except (OSError, ValueError) as error:  # the second: HF_ENDPOINT is no address
        return str(error)


def _git() -> str:
    if shutil.which("git") is None:
        return "not found"
    done = subprocess.run(["git", "status", "--short"], capture_output=True, text=True, check=False)  # noqa: S607
    complaint = done.stderr.strip() or f"`git status` exits {done.returncode}"
    return complaint.splitlines()[0] if done.returncode else ""


def _has_name(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def _memory() -> int:
    """Bytes of the machine, or of the container if it is allowed fewer."""
    total = int(psutil.virtual_memory().total)
    limit = CGROUP_LIMIT.read_text(encoding="ascii").strip() if CGROUP_LIMIT.exists() else "max"
    return total if limit == "max" else min(total, int(limit))


def _gpu_memory() -> float | None:
    import torch  # takes a second that the miniature need not wait

    return torch.cuda.get_device_properties(0).total_memory / GB if torch.cuda.is_available() else None


def computed(words: Collection[str], profiles: Collection[str]) -> set[str]:
    """The profiles that a `dvc repro` names; no other documented command of DVC computes anything."""
    named = re.compile(f"@({'|'.join(map(re.escape, sorted(profiles, reverse=True)))})(-|$)")  # the longest fits first
    computes = "repro" in words and "--dry" not in words
    return {found[1] for word in words if (found := named.search(word))} if computes else set()


def known_profiles() -> dict[str, Profile]:
    """Those of params.yaml; raises UserError outside a repository."""
    if not Path("params.yaml").exists():
        raise UserError(f"{Path.cwd()}: no params.yaml: run in the repository; in a container, mount it at /workspace")
    return load_params().profiles


def look(names: Collection[str], may_pull: bool = False) -> list[Problem]:
    """All problems of the named profiles on this machine, mere warnings if what they lack may not be needed.

    Raises UserError outside a repository, and for a profile that params.yaml has not.
    """
    known = known_profiles()
    if unknown := set(names) - set(known):
        raise UserError(f"no profile {', '.join(sorted(unknown))}: params.yaml has {', '.join(known)}")
    profiles = {name: profile for name, profile in known.items() if name in names}
    facts = gather(with_gpu=any(profile.needs.gpu != "none" for profile in profiles.values()))
    found = list(mount_problems(facts))
    for name, profile in profiles.items():
        made = sum(path.stat().st_size for path in Path("models", name).rglob("*") if path.is_file()) / GB
        lacks = problems(name, profile.needs, facts, made, list(hub_problems(profile)))
        found += [replace(problem, warning=problem.warning or may_pull) for problem in lacks]
    return found


def main() -> None:
    """Exits 1 if something is missing; otherwise becomes the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m rm_tension.preflight"
    )
    parser.add_argument("--profile", action="append", default=[], help="of params.yaml; several times for several")
    parser.add_argument("command", nargs="*", help="to run if nothing is missing")
    arguments = parser.parse_args()
    command: list[str] = arguments.command
    words = " ".join(command).split()  # those of `bash -c` as well
    if command and command[0] != "dvc" and "repro" not in words and not arguments.profile:
        os.execvp(command[0], command)  # noqa: S606  (what the user asked for)
    try:
        names = computed(words, known_profiles()) | {*arguments.profile}
        found = look(names, may_pull=not PULLS.isdisjoint(words))
    except UserError as error:
        sys.exit(f"error: {error}")
    for problem in found:
        print(f"preflight: {'warning: ' if problem.warning else ''}{problem.text}", file=sys.stderr)
    if any(not problem.warning for problem in found) and os.environ.get("RM_TENSION_PREFLIGHT") != "warn":
        sys.exit("error: something is missing (above); RM_TENSION_PREFLIGHT=warn goes on all the same")
    if command:
        os.execvp(command[0], command)  # noqa: S606
    print("preflight: " + ("see the warnings" if found else "nothing is missing"))


if __name__ == "__main__":
    main()
