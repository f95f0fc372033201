"""What dvc.lock knows of a run: the md5 of what went in and came out."""

from pathlib import Path
from typing import Any

from dvc.api import DVCFileSystem

from rm_tension.base.errors import UserError
from rm_tension.base.lockfile import file_md5, stages_of
from rm_tension.tracking.records import Record

REMEDY = "is there a remote? (docs/CACHE.md)"
Md5s = dict[str, str]  # by path in DVC


class Lock:
    """dvc.lock, read once; raises UserError if it is damaged."""

    def __init__(self, path: Path):
        self._root = path.parent
        try:
            self._stages = stages_of(path.read_text(encoding="utf-8") if path.is_file() else "")
        except ValueError as error:
            raise UserError(f"{path}: {error}; `git checkout {path.name}`") from error

    def inputs_and_tags(self, record: Record) -> tuple[Md5s, dict[str, str]]:
        """The data that went in, and as tags the stage, the checkpoint that came out, the texts; nothing is copied.

        Empty if dvc.lock does not speak of this very run: it never ran under DVC, or again since.
        """
        stage = f"{record.stage}@{'-'.join(filter(None, (record.parameters['profile'], record.cell)))}"
        entry = self._stages.get(stage, {})
        ins, outs = _md5s(entry.get("deps", [])), _md5s(entry.get("outs", []))
        own = record.path.relative_to(self._root).as_posix()
        if outs.get(own) != file_md5(record.path):
            return {}, {}
        tags = {"dvc.stage": stage}
        for path, md5 in (ins | outs).items():
            if path.startswith(("data/", "tokens/")):
                tags |= {"data": path, "data.md5": md5}
        for path, md5 in outs.items():
            if path.startswith("models/"):
                tags |= {"checkpoint": path, "checkpoint.md5": md5}
        return {path: md5 for path, md5 in ins.items() if not path.startswith(("models/", "src/", "runs/"))}, tags


def missing(profile: str) -> list[str]:
    """The files that a fill reads of a profile, that somebody has made and that are not here."""
    files = DVCFileSystem(".")
    folders = [folder for folder in (f"runs/{profile}", f"results/{profile}") if files.isdir(folder)]
    return [name for folder in folders for name in _known(files, folder) if not Path(name).exists()]


def pull(names: list[str]) -> None:
    """Copy files of DVC's cache or its remote here; raises UserError that names the one that cannot be had.

    `dvc pull` reads dvc.yaml again for each target, which takes minutes, and `dvc repro --pull` leaves out what no
    later stage reads.
    """
    files = DVCFileSystem(".")
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        try:
            files.get_file(name, name)
        except Exception as error:  # of HTTP, S3 and file systems, which share no other base
            raise UserError(f"{name}: could not be pulled ({error}); {REMEDY}") from error


def _known(files: DVCFileSystem, folder: str) -> list[str]:
    try:
        found = files.find(folder, detail=True)
    except Exception as error:
        raise UserError(f"{folder}: its list of files could not be had ({error}); {REMEDY}") from error
    return [name for name, entry in found.items() if entry.get("dvc_info", {}).get("md5")]


def _md5s(entries: list[dict[str, Any]]) -> Md5s:
    return {entry["path"]: entry["md5"] for entry in entries if "md5" in entry}
