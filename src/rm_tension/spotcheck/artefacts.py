"""What dvc.lock records of a profile: used where it lies whole, else fetched one by one into this user's cache."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from rm_tension.analyse.outcomes import SCORED
from rm_tension.base.config import Grid
from rm_tension.base.errors import UserError
from rm_tension.base.grid import Model, Paths, Trio, models
from rm_tension.base.lockfile import changed_inputs, stage_named
from rm_tension.score.checkpoints import (
    OutputFile,
    as_output,
    cache_folder,
    find_output,
    open_repository,
    read_stages,
)


class Artefacts:
    """Of the repository around the working directory; UserError if there is none, or nothing was made in it."""

    def __init__(self, profile: str) -> None:
        self._paths = Paths(profile)
        self._files = open_repository(".", None)
        self._stages = read_stages(self._files)
        stages = self._stages.values()
        entries = [
            one for kind in ("deps", "outs") for stage in stages for one in stage.get(kind, [])
        ]
        self._known = {one["path"]: one for one in entries if not one["path"].startswith("src/")}
        self._before = _written()

    def models(self, grid: Grid) -> dict[Model, int]:
        """The RMs that were evaluated, with the bytes of their checkpoints."""
        evaluated = [
            model for model in models(grid, self._paths.profile) if self._evaluation(model.trio)
        ]
        return {
            model: self._known[self._paths.reward_model(model).as_posix()]["size"]
            for model in evaluated
        }

    def gather(self, chosen: Iterable[Model], root: Path) -> Paths:
        """Links below `root` to all that the check of these RMs reads, and to nothing else."""
        paths = self._paths
        for path in dict.fromkeys(path for model in chosen for path in _read(paths, model)):
            link = root / path
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(self._find(path).absolute())
        return Paths(paths.profile, root)

    def contradictions(self, trio: Trio) -> Iterator[str]:
        """Files that a trio was evaluated with, though dvc.lock says that others were made."""
        stage = self._evaluation(trio)
        for path, read, made in changed_inputs(self._stages, stage) if stage else ():
            yield f"dvc.lock: {stage} read a {path} of md5 {read}, but made was {made}"

    def fetched(self) -> list[Path]:
        """The files that came into this user's cache since this object was made."""
        return [path for path, time in _written().items() if self._before.get(path) != time]

    def _evaluation(self, trio: Trio) -> str | None:
        return stage_named(self._stages, "evaluate", f"{self._paths.profile}-{trio.key}")

    def _find(self, path: Path) -> Path:
        place = next(
            (place for place in (path, *path.parents) if place.as_posix() in self._known), None
        )
        if place is None:
            raise UserError(
                f"{path}: not in dvc.lock, so nobody has made it: `dvc repro` its stage"
            )
        output = as_output(self._files, place.as_posix(), self._known[place.as_posix()]["md5"])
        if path != place:
            if output.is_in(place):  # else DVC is asked for its list, and reads all of dvc.yaml
                return path
            md5 = output.listed()[path.relative_to(place).as_posix()]
            output = as_output(self._files, path.as_posix(), md5)
        folder = find_output(output)
        return folder / path.name if isinstance(output, OutputFile) else folder


def _read(paths: Paths, model: Model) -> Iterator[Path]:
    """Folders and files."""
    trio = model.trio
    yield from (paths.reward_model(model), paths.activations(trio), paths.rewards(trio))
    yield from (paths.tokens(model.backbone, split) for split in SCORED)
    yield from (paths.texts(split) for split in SCORED)
    yield from (paths.run("evaluate", trio.key), paths.results)


def _written() -> dict[Path, int]:
    """When each file of the cache was written."""
    found = cache_folder().glob("*/**/*")
    return {path: path.stat().st_mtime_ns for path in found if path.is_file()}
