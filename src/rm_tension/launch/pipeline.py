"""What DVC knows: stages of some targets, which are stale, and the record of those that ran.

Does what `dvc repro` does before and after a stage's command, by the same methods; executors run
the command itself.
"""

import difflib
import fcntl
import json
import logging
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

from dvc.exceptions import DvcException
from dvc.output import OutputDoesNotExistError
from dvc.repo import Repo
from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro
from dvc.stage import Stage
from dvc.stage.cache import RunCacheNotFoundError
from dvc.stage.run import _enforce_cmd_list, _make_cmd, get_executable

from rm_tension.base.errors import UserError
from rm_tension.base.files import atomic_write

# DVC takes a second to write dvc.lock, however many stages are new, so it is written after so many
# seconds or stages. A killed launcher's unwritten stages are looked up in the run cache, 0.2 s
# each: with WRITE_AFTER alone, a launcher that is killed more often than that would never get on.
WRITE_AFTER, WRITE_AT = 120.0, 20
RECORDS = Path(".state/launch/records")  # copies of dvc.lock while it is written
LONGEST_WRITE = 60.0  # s that this may take
PLAIN = re.compile(r"rm-tension [\w@%+=:,./ -]+", re.ASCII)  # needs no shell

# DVC's bars and "Updating lock file" would wreck the table; a bar asks the level of its module's
# logger
logging.getLogger("dvc").setLevel(logging.WARNING)
for module in ("dvc.progress", "dvc_data.callbacks"):
    logging.getLogger(module).setLevel(logging.CRITICAL)


class Pipeline:
    """Targets and all stages that they depend on and `keep` admits, in the order of `dvc repro`.

    Raise UserError for an unknown target and for a dvc.yaml that DVC refuses.
    """

    def __init__(
        self, targets: Sequence[str], keep: Callable[[str], bool] = lambda stage: True
    ) -> None:
        with _explained():
            self._repo = Repo(_wait_for_lock=True)  # as `dvc --wait-for-lock`
            with self._repo.lock:
                _restore_records()
            graph = get_active_graph(self._repo.index.graph)
        try:
            steps = plan_repro(graph, collect_stages(self._repo, targets))
        except DvcException as error:
            raise UserError(f"DVC: {error}{self._suggestion(targets)}") from error
        self._stages: dict[str, Stage] = {
            stage.addressing: stage for stage in steps if keep(stage.addressing)
        }
        self.upstream: dict[str, list[str]] = {}
        for name, stage in self._stages.items():
            dependencies = [dependency.addressing for dependency in graph.successors(stage)]
            self.upstream[name] = [other for other in dependencies if other in self._stages]
        self.commands = {name: _command(stage) for name, stage in self._stages.items()}
        self._unwritten: list[Stage] = []
        self._written = time.monotonic()

    def _suggestion(self, targets: Sequence[str]) -> str:
        names = [stage.addressing for stage in self._repo.index.stages]
        for target in targets:
            close = difflib.get_close_matches(target, names, n=1)
            if target not in names and close:
                return f"; did you mean {close[0]}?"
        return "; `dvc stage list` names all stages"

    def is_fresh(self, name: str) -> bool:
        """Return whether the outputs fit today's dependencies, parameters and command."""
        with self._locked():
            return not self._stages[name].changed()

    def stale(self) -> list[str]:
        """Return the stages that are stale or depend on a stale one, in `dvc repro`'s order."""
        stale: set[str] = set()
        for name, upstream in self.upstream.items():
            if not stale.isdisjoint(upstream) or not self.is_fresh(name):
                stale.add(name)
        return [name for name in self.upstream if name in stale]

    def begin(self, name: str) -> bool:
        """Return whether the command has to run; if the very same ran before, restore its outputs.

        Remove old outputs, also what a killed command left; note what the stage depends on now.
        """
        stage = self._stages[name]
        with self._locked():
            stage.remove_outs()
            try:
                self._repo.stage_cache.restore(stage)
            except RunCacheNotFoundError:
                stage.save_deps()
                return True
            self._save(name)
        return False

    def record(self, name: str) -> None:
        """Bring a stage without a command up to date: a changed file of `dvc add`, an import.

        Its .dvc file is written at once, since a later stage may depend on the folder with it.
        """
        with self._locked():
            self._stages[name].run()
            self._stages[name].dump(update_pipeline=False)

    def inputs(self, name: str) -> str:
        """Return the command and the hashes of what a stage depended on at `begin`."""
        stage = self._stages[name]
        hashes = [[str(dep), dep.hash_info.to_dict()] for dep in stage.deps]
        return json.dumps([stage.cmd, hashes], sort_keys=True)

    def inputs_now(self, name: str) -> str:
        """Return today's `inputs` of a stage that an earlier launcher began, for `finish`."""
        with self._locked():
            self._stages[name].save_deps()
        return self.inputs(name)

    def finish(self, name: str) -> str | None:
        """Record a stage whose command has ended well; return why not, if it cannot be recorded.

        It is not computed again, even if this process ends before `write`.
        """
        with self._locked():
            if changed := [str(dep) for dep in self._stages[name].deps if dep.status()]:
                names = ", ".join(changed)
                return f"{names} changed while it ran, so it is not recorded: run this again"
            try:
                self._save(name)
            except OutputDoesNotExistError as error:
                return f"its command ended well, but {error}"
        return None

    def write_if_due(self) -> None:
        """Write dvc.lock after WRITE_AFTER seconds or WRITE_AT stages."""
        if len(self._unwritten) >= WRITE_AT or time.monotonic() - self._written > WRITE_AFTER:
            self.write()

    def write(self) -> None:
        """Write what is recorded to dvc.lock or .dvc files."""
        by_file: dict[str, list[Stage]] = {}
        for stage in self._unwritten:
            by_file.setdefault(stage.path, []).append(stage)
        for stages in by_file.values():
            with self._locked(), _kept_whole(Path(stages[0].path).with_suffix(".lock")):
                stages[0].dvcfile.dump_stages(stages, update_pipeline=False)
        self._unwritten = []
        self._written = time.monotonic()

    def _save(self, name: str) -> None:
        stage = self._stages[name]
        # as Stage.run: what is not in DVC's cache cannot be restored from it
        cached = all(out.use_cache for out in stage.outs if not (out.is_metric or out.is_plot))
        stage.save(run_cache=cached)
        stage.commit()
        self._unwritten.append(stage)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with _explained(), self._repo.lock:
            yield


@contextmanager
def _kept_whole(record: Path) -> Iterator[None]:
    """Have a dvc.lock as before if it is not written to its end: DVC empties it first.

    After a SIGKILL `_restore_records` of the next launcher does that.
    """
    copy = RECORDS / quote(os.path.relpath(record), safe="")
    with atomic_write(copy) as partial:
        partial.write_bytes(record.read_bytes() if record.exists() else b"")
    try:
        yield
    except BaseException:  # Ctrl-C, a full disk
        _restore_records()
        raise
    copy.unlink()


def _restore_records() -> None:
    for copy in RECORDS.glob("[!.]*"):
        record = Path(unquote(copy.name))
        if record.exists() and record.stat().st_mtime > copy.stat().st_mtime + LONGEST_WRITE:
            copy.unlink()  # somebody has made it whole since
        else:
            copy.replace(record)


def _command(stage: Stage) -> list[str]:
    """Return the words to run in the root: those of `dvc repro`'s shell, unless none is needed.

    [] for a stage whose command does not run: one of `dvc add` or `dvc import`, and a frozen one.
    """
    if stage.frozen or not stage.cmd:
        return []
    commands, folder = _enforce_cmd_list(stage.cmd), os.path.relpath(stage.wdir)
    if folder == os.curdir and len(commands) == 1 and PLAIN.fullmatch(commands[0].strip()):
        return str(commands[0]).split()
    *before, last = (shlex.join(_make_cmd(get_executable(), command)) for command in commands)
    # `exec`, so that a signal reaches the last command and not only the shell that waits for it
    script = " && ".join([f"cd {shlex.quote(folder)}", *before, f"exec {last}"])
    told = [f"DVC_ROOT={stage.repo.root_dir}", f"DVC_STAGE={stage.addressing}"]
    return ["env", *told, "sh", "-c", script]


def refuse_without_locks() -> None:
    """Raise UserError where the file system has no locks: DVC would wait for one forever."""
    folder = Path(".state")
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # somebody else's lock: there are locks
        except OSError as error:
            raise UserError(
                f"{folder.absolute()}: its file system has no locks (flock: {error.strerror}), "
                "without which stages cannot run side by side: move the checkout to a local disk, "
                "or use `dvc repro` after `dvc config --local core.hardlink_lock true`"
            ) from error


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (DvcException, OSError) as error:  # the second from a full disk
        # where another command is at work, DVC also says how to remove its lock by hand
        message, _, by_hand = str(error).partition("\n\nIf there are no processes")
        remedy = "\nwait for its end, or end it" if by_hand else ""
        raise UserError(f"DVC: {message}{remedy}") from error
