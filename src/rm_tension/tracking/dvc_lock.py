"""What dvc.lock knows of a run: the md5 of what went in and came out."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rm_tension.errors import UserError
from rm_tension.tracking.records import Record

CODE = ("src", "runs")


@dataclass(frozen=True)
class Artefacts:
    """Paths and md5 of a stage's inputs and outputs, without code and run records."""

    stage: str
    inputs: dict[str, str]
    outputs: dict[str, str]

    def data(self) -> dict[str, str]:
        """The inputs that are no models."""
        return {path: md5 for path, md5 in self.inputs.items() if not path.startswith("models/")}

    def tags(self) -> dict[str, str]:
        """The checkpoint that came out and the texts that went in, by their place in DVC; nothing is copied."""
        tags = {"dvc.stage": self.stage}
        for path, md5 in self.outputs.items():
            if path.startswith("models/"):
                tags |= {"checkpoint": path, "checkpoint.md5": md5}
        for path, md5 in (self.inputs | self.outputs).items():
            if path.startswith(("data/", "tokens/")):
                tags |= {"data": path, "data.md5": md5}
        return tags


class Lock:
    """dvc.lock, read once."""

    def __init__(self, path: Path):
        self._root = path.parent
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # 0.2 s instead of 2 s for 200 stages
        try:
            text = path.read_text(encoding="utf-8") if path.is_file() else "{}"
            self._stages: dict[str, Any] = (yaml.load(text, loader) or {}).get("stages", {})  # noqa: S506
        except (yaml.YAMLError, UnicodeDecodeError, AttributeError) as error:
            raise UserError(f"{path}: not a lock file of DVC: {error}; `git checkout {path.name}`") from error

    def artefacts(self, record: Record) -> Artefacts | None:
        """None if dvc.lock does not speak of this very run: it never ran under DVC, or again since."""
        stage = f"{record.stage}@{'-'.join(filter(None, (record.profile, record.cell)))}"
        entry = self._stages.get(stage, {})
        own = record.path.relative_to(self._root).as_posix()
        md5 = hashlib.md5(record.path.read_bytes(), usedforsecurity=False).hexdigest()
        if _md5s(entry.get("outs", [])).get(own) != md5:
            return None
        return Artefacts(stage, _artefacts(entry.get("deps", [])), _artefacts(entry.get("outs", [])))


def _md5s(entries: list[dict[str, Any]]) -> dict[str, str]:
    return {entry["path"]: entry["md5"] for entry in entries if "md5" in entry}


def _artefacts(entries: list[dict[str, Any]]) -> dict[str, str]:
    return {path: md5 for path, md5 in _md5s(entries).items() if path.split("/")[0] not in CODE}
