"""Say at once what a machine lacks for a profile, instead of failing an hour in; then run a command.

`python -m rm_tension.preflight --profile paper` only looks. The container starts every command with
`python -m rm_tension.preflight -- COMMAND...`, which looks for what the profiles that the command names need.
RM_TENSION_PREFLIGHT=warn goes on in spite of what is missing.
"""

import argparse
import os
import pwd
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from huggingface_hub import constants

from rm_tension.config import HubData, HubFiles, HubRepo, Needs, Profile, load_params
from rm_tension.errors import UserError

GB = 1e9
NAMED = re.compile(r"@(\w+)")
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
HUB_TIMEOUT = 10  # seconds


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


def gather(with_gpu: bool) -> Facts:
    """Look at this process, the working directory and the machine."""
    user, here, cache = os.geteuid(), Path.cwd(), Path(constants.HF_HUB_CACHE)
    done = subprocess.run(["git", "status", "--short"], capture_output=True, text=True, check=False)  # noqa: S607
    return Facts(
        user=user,
        owner=here.stat().st_uid,
        writable=os.access(here, os.W_OK),
        user_has_name=bool(os.environ.get("USER")) or _has_name(user),
        git="" if done.returncode == 0 else done.stderr.strip().splitlines()[0],
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
            f"git: {facts.git}: run in a checkout (in an unpacked archive, `dvc config --local core.no_scm true` and "
            "RM_TENSION_PREFLIGHT=warn); if another user owns it, `git config --global --add safe.directory DIR`",
        )
    if not facts.user_has_name:
        yield Problem(f"uid {facts.user} has no name here, and DVC asks for one: set the environment variable USER")


def problems(profile: str, needs: Needs, facts: Facts, hub: Sequence[str]) -> Iterator[Problem]:
    """What the profile lacks; `hub` is what `hub_problems` said."""
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
    if facts.disk < needs.disk:
        text = f"{facts.disk:.0f} GB free in {Path.cwd()}, the whole profile needs {needs.disk}: free some, or mount"
        yield Problem(f"{profile}: {text} the repository from a larger disk")
    if hub and not facts.hub_cache_writable:
        yield Problem(f"{facts.hub_cache} cannot be written to: set HF_HOME to a folder that can")
    yield from (Problem(f"{profile}: {text}") for text in hub)


def hub_problems(profile: Profile) -> Iterator[str]:
    """The first pinned repository that is neither in the hub's cache nor on a hub that answers."""
    for kind, repo in _repos(profile):
        folder = Path(constants.HF_HUB_CACHE, f"{kind}s--{repo.repo.replace('/', '--')}")
        if (folder / "snapshots" / repo.revision).is_dir() or (folder / "refs" / repo.revision).is_file():
            continue
        if reason := _unreachable(f"{constants.ENDPOINT}/api/{kind}s/{repo.repo}/revision/{repo.revision}"):
            yield (
                f"{repo.repo} at {repo.revision} is not in {constants.HF_HUB_CACHE}, and the hub did not answer "
                f"({reason}): check the connection, or set HF_HOME to a cache that holds it"
            )
            return  # each further one would take as long to say the same


def _unreachable(url: str) -> str:
    """Why; without the retries of huggingface_hub, which take half a minute to say it."""
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        with urllib.request.urlopen(url, timeout=HUB_TIMEOUT):  # noqa: S310  (the hub's https, or HF_ENDPOINT)
            return ""
    except OSError as error:
        return str(error)


def _repos(profile: Profile) -> Iterator[tuple[str, HubRepo]]:
    source = profile.data.source
    if isinstance(source, HubData):
        for data_set in (source.hh_rlhf, source.reward_bench, source.reward_bench_2, source.rm_bench):
            yield "dataset", data_set
    for model in (*profile.tokens.tokenizers.values(), *(one.weights for one in profile.backbones.values())):
        if isinstance(model, HubFiles):
            yield "model", model


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


def look(profiles: Sequence[str]) -> list[Problem]:
    """All problems of the named profiles on this machine; raises UserError outside a repository."""
    if not Path("params.yaml").exists():
        raise UserError(f"{Path.cwd()}: no params.yaml: run in the repository; in a container, mount it at /workspace")
    settings = {name: load_params().profiles[name] for name in profiles}
    facts = gather(with_gpu=any(one.needs.gpu != "none" for one in settings.values()))
    found = list(mount_problems(facts))
    for name, profile in settings.items():
        found += problems(name, profile.needs, facts, list(hub_problems(profile)))
    return found


def main() -> None:
    """Exits 1 if something is missing; otherwise becomes the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m rm_tension.preflight"
    )
    parser.add_argument("--profile", action="append", default=[], choices=("mini", "pilot", "paper"))
    parser.add_argument("command", nargs="*", help="to run if nothing is missing")
    arguments = parser.parse_args()
    command: list[str] = arguments.command
    # What is pulled is not computed, so it needs no more than the mount.
    is_pull = "--pull" in command or command[:2] == ["dvc", "pull"]
    named = [] if is_pull else [name for word in command for name in NAMED.findall(word)]
    profiles = dict.fromkeys([*arguments.profile, *named])
    if command[:1] != ["dvc"] and not profiles and command:
        os.execvp(command[0], command)  # noqa: S606  (what the user asked for)
    try:
        found = look([name for name in profiles if name in load_params().profiles])
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
