"""dist/release/PROFILE: all that is published of a profile but the checkpoints, which stay where DVC has them."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from rm_tension.base.config import Grid
from rm_tension.base.errors import UserError
from rm_tension.base.files import whole, write_json
from rm_tension.release.card import Cards, render
from rm_tension.release.recorded import Recorded
from rm_tension.report.notes import warnings

INDEX = "checkpoints.json"


def folder_of(profile: str) -> Path:
    """Where the kit of a profile is."""
    return Path("dist", "release", profile)


def prepare(grid: Grid, profile: str) -> Path:
    """Write the kit from what dvc.lock records, and return its folder; UserError says what it lacks."""
    version = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"][
        "version"
    ]
    notes, citation = release_notes(version), _citation(version)
    recorded = Recorded(grid, profile)
    checkpoints = recorded.checkpoints()
    if not checkpoints:
        raise UserError(
            f"dvc.lock: no reward model of {profile} in it: `dvc repro report@{profile}`"
        )
    cards = Cards(recorded)
    with whole(folder_of(profile)) as folder:
        for name, (model, output) in checkpoints.items():
            place = folder / "models" / name / "README.md"
            place.parent.mkdir(parents=True)
            place.write_text(cards.card(model, output, name), encoding="utf-8")
        write_json(folder / INDEX, {name: output.md5 for name, (_, output) in checkpoints.items()})
        (folder / "RELEASE_NOTES.md").write_text(notes, encoding="utf-8")
        (folder / "CITATION.cff").write_text(citation, encoding="utf-8")
        steps = render(
            "STEPS.txt",
            version=version,
            profile=profile,
            count=len(checkpoints),
            example=next(iter(checkpoints)),
            warnings=warnings(cards.context),
        )
        (folder / "STEPS.txt").write_text(steps, encoding="utf-8")
    return folder_of(profile)


def read_index(profile: str) -> dict[str, str]:
    """The md5 of each checkpoint of the kit, by the name of its repository; UserError if there is no kit."""
    path = folder_of(profile) / INDEX
    try:
        found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; `make release PROFILE={profile}` first") from None
    except ValueError as error:
        raise UserError(
            f"{path}: damaged ({error}); `make release PROFILE={profile}` again"
        ) from error
    return found


def release_notes(version: str) -> str:
    """The version's section of CHANGELOG.md, with its heading; UserError if there is none."""
    text = Path("CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(version)}\b.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if not found:
        raise UserError(
            f"CHANGELOG.md: no section `## {version}`, which is the version in pyproject.toml: write it"
        )
    return found[0].rstrip() + "\n"


def _citation(version: str) -> str:
    """CITATION.cff as it is; UserError unless it cites this version."""
    text = Path("CITATION.cff").read_text(encoding="utf-8")
    cited: Any = YAML(typ="safe", pure=True).load(text)
    if str(cited["version"]) != version:
        raise UserError(
            f"CITATION.cff: version {cited['version']}, but pyproject.toml has {version}: write that there"
        )
    return text
