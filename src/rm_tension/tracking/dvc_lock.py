"""What dvc.lock knows of a run: the md5 of what went in and came out."""

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rm_tension.base.errors import UserError
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

    def missing(self, profile: str) -> list[str]:
        """What a fill reads of a profile, that somebody has made and that is not here."""
        outs = [path for entry in self._stages.values() for path in _md5s(entry.get("outs", []))]
        read = [path for path in outs if path == f"results/{profile}" or path.startswith(f"runs/{profile}/")]
        return [path for path in read if not (self._root / path).exists()]


def pull(paths: list[str]) -> None:
    """Fetch outputs of the repository here from DVC's cache or its remote, as `dvc pull`.

    `dvc pull` itself reads dvc.yaml again for each of 155 files, which takes minutes, and `dvc repro --pull` leaves out
    what no later stage reads.
    """
    from dvc.exceptions import DvcException  # here, because it takes a second
    from dvc.repo import Repo

    try:
        with Repo() as repo, repo.lock:
            wanted = {str(Path(repo.root_dir, path)) for path in paths}
            outs = [out for out in repo.index.outs if out.fspath in wanted]
            objects: dict[Any, set[Any]] = defaultdict(set)  # by where DVC keeps them: all at once, not file by file
            for out in outs:
                for place, needed in out.get_used_objs().items():
                    objects[place] |= needed
            for place, needed in objects.items():
                repo.cloud.pull(needed, odb=place)
            for out in outs:
                out.checkout()
    except DvcException as error:
        raise UserError(f"runs/ and results/ could not be pulled: {error}") from error


def _md5s(entries: list[dict[str, Any]]) -> dict[str, str]:
    return {entry["path"]: entry["md5"] for entry in entries if "md5" in entry}


def _artefacts(entries: list[dict[str, Any]]) -> dict[str, str]:
    return {path: md5 for path, md5 in _md5s(entries).items() if path.split("/")[0] not in CODE}
