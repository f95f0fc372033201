"""Say whether a profile that ran here has the published bits, or which stage differs first.

Published is what dvc.lock says at a commit of this repository.
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
from rm_tension.base.lockfile import first_of, kind_of, stages_of
from rm_tension.base.runs import git_output, machine_of

FLOW = ("data", "tokens", "backbone", "train", "activations", "evaluate", "analyse", "report")
FACTS = (
    *("machine", "cpu", "cpus", "python", "libraries", "accelerator"),
    *("instructions", "variables", "portable"),
)

Stage = Mapping[str, Any]  # of a dvc.lock


def main(profile: str, *, rev: str = "HEAD", record: bool = False) -> None:
    """Say whether a profile that ran here has the bits that are published; exit with 1 if not.

    Args:
        profile: A profile of params.yaml.
        rev: The commit whose dvc.lock is published.
        record: Do not compare; record this machine as that of the published run.
    """
    load_params().refuse_unknown([profile])
    if record:
        write_json(_published_machine(profile), _facts(Paths(profile), "report"))
        return
    lines = verify(profile, rev)
    print(f"{profile}: {lines[0]}", *lines[1:], sep="\n  ")
    sys.exit(1 if lines[1:] else 0)


def verify(profile: str, rev: str) -> list[str]:
    """Return one sentence if all outputs are as published at `rev`, else what differs first.

    Raise UserError if the profile is not up to date, or if no run of it is published at `rev`.
    """
    published = _stages_of_profile(git_output("show", f"{rev}:dvc.lock"), profile)
    if not published:
        raise UserError(f"dvc.lock at {rev}: no stage of {profile}: nothing is published of it")
    _refuse_stale(profile)
    ran = _stages_of_profile(Path("dvc.lock").read_text(encoding="utf-8"), profile)
    differing = [
        name
        for name in published
        if _md5s(ran.get(name, {}), "outs") != _md5s(published[name], "outs")
    ]
    same = f"the same bits as published at {rev}"
    if not differing:
        count = sum(len(_md5s(stage, "outs")) for stage in published.values())
        return [f"{same}, in {count} outputs of {len(published)} stages"]
    if differing == [f"report@{profile}"] and _only_the_pdf_differs(profile, rev):
        return [f"{same}, but for the PDF: another LaTeX made it of the same artifact.tex"]
    first = differing[0]
    return [
        f"other bits than published at {rev}: {first} is the first of {len(differing)} stages that "
        "differ",
        _reason(ran.get(first, {}), published[first]),
        f"here: {_described(_facts(Paths(profile), _record(first, profile)))}",
        f"published: {_described(_published_facts(profile, rev))}",
        _verdicts(profile, rev),
    ]


def _stages_of_profile(lock: str, profile: str) -> dict[str, Stage]:
    """Return a profile's stages of a dvc.lock, in the order of the flow."""
    stages = stages_of(lock)
    own = [name for name in stages if first_of(name.partition("@")[2], [profile])]
    return {name: stages[name] for name in sorted(own, key=_position)}


def _position(name: str) -> int:
    """Return a stage's place in the flow; stages of the user's own come first."""
    return FLOW.index(kind_of(name)) if kind_of(name) in FLOW else -1


def _md5s(stage: Stage, kind: str) -> dict[str, str | None]:
    return {entry["path"]: entry.get("md5") for entry in stage.get(kind, ())}


def _reason(ran: Stage, published: Stage) -> str:
    """Return which input of a stage differs, or which output if the inputs are the same."""
    if other := _other(ran, published, "deps"):
        return f"it read another {other}"
    if ran.get("params") != published.get("params") or ran.get("cmd") != published.get("cmd"):
        return "it ran with other settings of params.yaml"
    return f"it read the same and wrote another {_other(ran, published, 'outs')}"


def _other(ran: Stage, published: Stage, kind: str) -> str:
    """Return the first path that has another md5, with both; nothing if all are the same."""
    md5s, known = _md5s(ran, kind), _md5s(published, kind)
    for path in known | md5s:
        if md5s.get(path) != known.get(path):
            return f"{path}: md5 {md5s.get(path)}, published {known.get(path)}"
    return ""


def _refuse_stale(profile: str) -> None:
    command = [sys.executable, "-m", "dvc", "status", "--json", "--with-deps", f"report@{profile}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"`dvc status report@{profile}` failed: {done.stderr.strip()}")
    if stale := sorted(json.loads(done.stdout), key=_position):
        raise UserError(
            f"{stale[0]}: not up to date, nor {len(stale) - 1} other stages: `rm-tension run "
            f"report@{profile}` computes them, `dvc status report@{profile}` says what has changed"
        )


def _only_the_pdf_differs(profile: str, rev: str) -> bool:
    """Return whether git sees no other change in a profile's report than its PDF."""
    folder = Paths(profile).reports
    changed = git_output("diff", "--name-only", "--relative", rev, "--", ".", folder=folder)
    added = git_output("ls-files", "--others", "--exclude-standard", folder=folder)
    return (changed + added).split() == ["artifact.pdf"]


def _record(stage: str, profile: str) -> str:
    cell = stage.partition("@")[2].removeprefix(profile).removeprefix("-")
    return "-".join(filter(None, (kind_of(stage), cell)))


def _facts(paths: Paths, record: str) -> dict[str, Any]:
    """Return what a stage's record says of its machine; nothing if it came from a cache."""
    path = machine_of(paths.run(record))
    if not path.is_file():
        return {}
    environment = json.loads(path.read_text(encoding="utf-8"))["environment"]
    return {name: environment[name] for name in FACTS if name in environment}


def _published_machine(profile: str) -> Path:
    return Path("reports", "runs", profile, "machine.json")


def _published_facts(profile: str, rev: str) -> dict[str, Any]:
    try:
        return dict(_published(rev, _published_machine(profile)))
    except UserError:
        return {}


def _published(rev: str, path: Path) -> Any:
    """Return what a JSON file holds at a commit; raise UserError if there is no such file."""
    return json.loads(git_output("show", f"{rev}:{path.as_posix()}"))


def _described(facts: Mapping[str, Any]) -> str:
    flat = {name: value for name, value in facts.items() if not isinstance(value, dict)}
    flat |= facts.get("libraries", {})
    parts = [f"{name} {value}" for name, value in flat.items() if value not in (None, "")]
    return ", ".join(parts) or "not recorded"


def _verdicts(profile: str, rev: str) -> str:
    """Return which claims have another verdict than at `rev`."""
    path = Paths(profile).reports / "metrics.json"
    published = _published(rev, path)["claims"]
    verdicts = json.loads(path.read_text(encoding="utf-8"))["claims"]
    others = [
        f"{claim} {verdicts.get(claim)}, published {verdict}"
        for claim, verdict in published.items()
        if verdicts.get(claim) != verdict
    ]
    if not others:
        return f"the same verdicts on all {len(published)} claims"
    return f"other verdicts: {'; '.join(others)}"
