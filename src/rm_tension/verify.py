"""Say whether a profile that ran here has the bits that are published, or which stage is the first that differs.

Published is what dvc.lock says at a commit of this repository. Exits with 0 if every output has the same md5.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rm_tension.base.config import load_params
from rm_tension.base.errors import UserError
from rm_tension.base.files import write_json
from rm_tension.base.grid import Paths
from rm_tension.base.lockfile import kind_of, stages_of
from rm_tension.base.runs import machine_of

FLOW = ("data", "tokens", "backbone", "train", "activations", "evaluate", "analyse", "report")
FACTS = (
    "machine",
    "cpu",
    "cpus",
    "python",
    "libraries",
    "accelerator",
    "instructions",
    "variables",
    "portable",
)

Stages = Mapping[str, Any]  # of a dvc.lock


def main(profile: str, *, rev: str = "HEAD", record: bool = False) -> None:
    """Say whether a profile that ran here has the bits that are published; exit with 1 if not.

    Args:
        profile: Of params.yaml.
        rev: The commit whose dvc.lock is published.
        record: Record this machine as the one of the published run instead.
    """
    load_params().refuse_unknown([profile])
    if record:
        write_json(_published_machine(profile), _facts(Paths(profile), "report"))
        return
    lines = verify(profile, rev)
    print(f"{profile}: {lines[0]}", *lines[1:], sep="\n  ")
    sys.exit(1 if lines[1:] else 0)


def verify(profile: str, rev: str) -> list[str]:
    """Return one sentence if all outputs are as published, else one for the first stage that differs, and the facts.

    Raises UserError if the profile is not up to date, or if no run of it is published at `rev`.
    """
    published = _of_profile(stages_of(_at(rev, "dvc.lock")), profile)
    if not published:
        raise UserError(f"dvc.lock at {rev}: no stage of {profile}: nothing is published of it")
    _refuse_stale(profile)
    here = _of_profile(stages_of(Path("dvc.lock").read_text(encoding="utf-8")), profile)
    differing = [
        name for name in published if _outputs(here.get(name, {})) != _outputs(published[name])
    ]
    if not differing:
        outputs = sum(len(_outputs(stage)) for stage in published.values())
        return [
            f"the same bits as published at {rev}, in {outputs} outputs of {len(published)} stages"
        ]
    first = differing[0]
    if differing == [f"report@{profile}"] and _changed(Paths(profile).reports, rev) == [
        "artifact.pdf"
    ]:
        return [
            f"the same bits as published at {rev}, but for the PDF: another LaTeX made it of the same artifact.tex"
        ]
    return [
        f"other bits than published at {rev}: {first} is the first of {len(differing)} stages that differ",
        _why(here.get(first, {}), published[first]),
        f"here: {_shown(_facts(Paths(profile), _record(first, profile)))}",
        f"published: {_shown(_published_facts(profile, rev))}",
        _verdicts(profile, rev),
    ]


def _of_profile(stages: Stages, profile: str) -> Stages:
    """Return a profile's stages in the order of the flow."""
    own = [name for name in stages if f"{name.partition('@')[2]}-".startswith(f"{profile}-")]
    return {name: stages[name] for name in sorted(own, key=lambda name: FLOW.index(kind_of(name)))}


def _outputs(stage: Mapping[str, Any]) -> dict[str, str]:
    return {output["path"]: output["md5"] for output in stage.get("outs", ())}


def _why(here: Mapping[str, Any], published: Mapping[str, Any]) -> str:
    """Return which input of the stage differs, or else which output does though all inputs are the same."""
    read, read_then = (
        {dep["path"]: dep.get("md5") for dep in stage.get("deps", ())}
        for stage in (here, published)
    )
    for path in read_then | read:
        if read.get(path) != read_then.get(path):
            return f"it read another {path}: md5 {read.get(path)}, published {read_then.get(path)}"
    if here.get("params") != published.get("params") or here.get("cmd") != published.get("cmd"):
        return "it ran with other settings of params.yaml"
    wrote, wrote_then = _outputs(here), _outputs(published)
    path = next(path for path in wrote_then if wrote.get(path) != wrote_then[path])
    return f"it read the same and wrote another {path}: md5 {wrote.get(path)}, published {wrote_then[path]}"


def _refuse_stale(profile: str) -> None:
    command = [sys.executable, "-m", "dvc", "status", "--json", "--with-deps", f"report@{profile}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"`dvc status report@{profile}` failed: {done.stderr.strip()}")
    if stale := json.loads(done.stdout):
        names = sorted(
            stale, key=lambda name: FLOW.index(kind_of(name)) if kind_of(name) in FLOW else 0
        )
        raise UserError(
            f"{names[0]}: not up to date, nor {len(stale) - 1} other stages: `rm-tension run "
            f"report@{profile}` computes them, `dvc status report@{profile}` says what has changed"
        )


def _changed(folder: Path, rev: str) -> list[str]:
    """Return the names of a folder's files that are not as they are in git."""
    names = _git("diff", "--name-only", "--relative", rev, "--", ".", folder=folder)
    return (
        names.splitlines()
        + _git("ls-files", "--others", "--exclude-standard", folder=folder).splitlines()
    )


def _record(stage: str, profile: str) -> str:
    cell = stage.partition("@")[2].removeprefix(profile).removeprefix("-")
    return "-".join(filter(None, (kind_of(stage), cell)))


def _facts(paths: Paths, record: str) -> dict[str, Any]:
    """Return what a stage's record says of the machine that it ran on; nothing if it came from a cache."""
    path = machine_of(paths.run(record))
    environment = (
        json.loads(path.read_text(encoding="utf-8"))["environment"] if path.is_file() else {}
    )
    return {name: environment[name] for name in FACTS if name in environment}


def _published_machine(profile: str) -> Path:
    return Path("reports", "runs", profile, "machine.json")


def _published_facts(profile: str, rev: str) -> dict[str, Any]:
    try:
        return dict(json.loads(_at(rev, _published_machine(profile).as_posix())))
    except UserError:
        return {}


def _shown(facts: Mapping[str, Any]) -> str:
    flat = {
        name: value for name, value in facts.items() if not isinstance(value, dict)
    } | facts.get("libraries", {})
    return (
        ", ".join(f"{name} {value}" for name, value in flat.items() if value not in (None, ""))
        or "not recorded"
    )


def _verdicts(profile: str, rev: str) -> str:
    path = Paths(profile).reports / "metrics.json"
    then, now = (
        json.loads(text)["claims"]
        for text in (_at(rev, path.as_posix()), path.read_text(encoding="utf-8"))
    )
    other = [
        f"{claim} {now[claim]}, published {verdict}"
        for claim, verdict in then.items()
        if now[claim] != verdict
    ]
    return (
        f"other verdicts: {'; '.join(other)}"
        if other
        else f"the same verdicts on all {len(then)} claims"
    )


def _at(rev: str, path: str) -> str:
    """Return a file of a commit; raises UserError if there is none."""
    return _git("show", f"{rev}:{path}")


def _git(*arguments: str, folder: Path = Path()) -> str:
    """Return what git prints; raises UserError, with what it says, if it fails."""
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UserError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
