"""What DVC knows: the stages of some targets, which of them are stale, and the record of those that ran.

It does what `dvc repro` does before and after a stage's command, by the same methods; the command itself is run by
others, who know nothing of DVC. A stage without a command to run is DVC's own work (`record`).
"""

import json
import os
import re
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro
from dvc.stage import Stage
from dvc.stage.cache import RunCacheNotFoundError
from dvc.stage.run import _enforce_cmd_list, _make_cmd, get_executable

from rm_tension.base.errors import UserError

# dvc.lock is written after so many seconds, or stages: each time takes DVC a second. What a killed launcher had not
# written the next one looks up in the run cache, a fifth of a second a stage; killed before its end, it never goes on
WRITE_EVERY, WRITE_AT = 120.0, 20
PLAIN = re.compile(
    r"python [\w@%+=:,./ -]+", re.ASCII
)  # a command that a shell would run as it stands


class Pipeline:
    """The targets and all that they depend on, in the order of `dvc repro`, as dvc.yaml and dvc.lock were when made.

    Raises UserError for a target that is none, and for a dvc.yaml that DVC refuses.
    """

    def __init__(self, targets: Sequence[str]) -> None:
        with _explained():
            self._repo = Repo(_wait_for_lock=True)  # as `dvc --wait-for-lock`
            graph = get_active_graph(self._repo.index.graph)
            steps = plan_repro(graph, collect_stages(self._repo, targets))
        self._stages: dict[str, Stage] = {stage.addressing: stage for stage in steps}
        self.upstream = {
            name: [up.addressing for up in graph.successors(s)] for name, s in self._stages.items()
        }
        self.commands = {name: _command(stage) for name, stage in self._stages.items()}
        self.records = {name: next(_records(stage), Path()) for name, stage in self._stages.items()}
        self._unwritten: list[Stage] = []
        self._written = time.monotonic()

    def is_fresh(self, name: str) -> bool:
        """Whether the outputs are those of the dependencies, the parameters and the command of now."""
        with self._locked():
            return not self._stages[name].changed()

    def begin(self, name: str) -> bool:
        """Whether the command has to run; False if the very same ran before, whose outputs are in their place then.

        Removes old outputs, which may be links into DVC's cache, and remembers what the stage depends on now.
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

    def clear(self, name: str) -> None:
        """Remove what a killed command has left of the outputs, as `begin` does: another run may add to it."""
        with self._locked():
            self._stages[name].remove_outs()

    def record(self, name: str) -> None:
        """Bring a stage whose command is [] up to date: a changed file of `dvc add` is recorded as it is now.

        Its .dvc file is written at once, since a later stage may depend on the folder with it. Raises UserError, before
        it touches anything, if a file of the stage is missing.
        """
        with self._locked():
            self._stages[name].run()
            self._stages[name].dump(update_pipeline=False)

    def remember(self, name: str) -> str:
        """What a stage depends on now, which `finish` compares with, as for one that is begun; returns `inputs`."""
        with self._locked():
            self._stages[name].save_deps()
        return self.inputs(name)

    def inputs(self, name: str) -> str:
        """The command and the hashes of what a stage depended on at `begin` or `remember`."""
        stage = self._stages[name]
        hashes = [[str(dep), dep.hash_info.to_dict()] for dep in stage.deps]
        return json.dumps([stage.cmd, hashes], sort_keys=True)

    def finish(self, name: str) -> list[str]:
        """Record a stage whose command has ended well, unless what it depends on has changed since `begin`.

        Returns what has changed. What is recorded is in DVC's cache and not computed again, even if this process ends
        before `write`. Raises UserError if an output is missing.
        """
        with self._locked():
            if changed := [str(dep) for dep in self._stages[name].deps if dep.status()]:
                return changed
            self._save(name)
        return []

    def write_if_due(self) -> None:
        """`write`, if WRITE_EVERY seconds have passed since the last time, or WRITE_AT stages are recorded since."""
        if len(self._unwritten) >= WRITE_AT or time.monotonic() - self._written > WRITE_EVERY:
            self.write()

    def write(self) -> None:
        """Write what is recorded to the lock or .dvc file; it takes DVC a second a file, however many stages it has."""
        stages: dict[str, list[Stage]] = {}
        for stage in self._unwritten:
            stages.setdefault(stage.path, []).append(stage)
        for of_a_file in stages.values():
            with self._locked():
                of_a_file[0].dvcfile.dump_stages(of_a_file, update_pipeline=False)
        self._unwritten = []
        self._written = time.monotonic()

    def _save(self, name: str) -> None:
        stage = self._stages[name]
        # as Stage.run: what is not in DVC's cache cannot be restored from it
        stage.save(
            run_cache=all(out.use_cache for out in stage.outs if not (out.is_metric or out.is_plot))
        )
        stage.commit()
        self._unwritten.append(stage)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with _explained(), self._repo.lock:
            yield


def _command(stage: Stage) -> list[str]:
    """Return the words to run in this folder, by the shell of `dvc repro` unless the command needs none.

    [] for a stage whose command does not run: one of `dvc add` or `dvc import`, and a frozen one.
    """
    if stage.frozen or not stage.cmd:
        return []
    commands, folder = _enforce_cmd_list(stage.cmd), os.path.relpath(stage.wdir)
    if folder == os.curdir and len(commands) == 1 and PLAIN.fullmatch(commands[0]):
        return str(commands[0]).split()
    *before, last = (shlex.join(_make_cmd(get_executable(), command)) for command in commands)
    told = [f"DVC_ROOT={stage.repo.root_dir}", f"DVC_STAGE={stage.addressing}"]
    # `exec`, so that a signal reaches the last command and not only the shell that waits for it
    return [
        "env",
        *told,
        "sh",
        "-c",
        " && ".join([f"cd {shlex.quote(folder)}", *before, f"exec {last}"]),
    ]


def _records(stage: Stage) -> Iterator[Path]:
    return (
        Path(str(out))
        for out in stage.outs
        if str(out).startswith("runs/") and str(out).endswith(".json")
    )


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (DvcException, OSError) as error:  # the second from a full disk
        raise UserError(f"DVC: {error}") from error
