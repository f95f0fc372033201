"""Fill a store from runs/: the same runs as those who trained see, also for those who computed nothing."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Experiment, InputTag, Metric, Param, Run, RunTag

from rm_tension.base.errors import UserError
from rm_tension.base.grid import Paths
from rm_tension.tracking.contents import Content, contents
from rm_tension.tracking.dvc_lock import Lock
from rm_tension.tracking.names import KEY, SHA256
from rm_tension.tracking.records import read_all
from rm_tension.tracking.results import Results
from rm_tension.tracking.store import experiment_of, runs_of
from rm_tension.tracking.views import describe

TEXTS, NUMBERS = 100, 1000  # parameters or tags, and metrics, that MLflow takes in a request


@dataclass
class Outcome:
    """What a fill did with the runs, counted, and what it could not read."""

    runs: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def fill(client: MlflowClient, paths: Paths, title: str) -> Outcome:
    """Bring the experiment of one profile up to date with runs/<P>/, results/<P>/, dvc.lock and the report.

    A run of which the store has something else, or a part, is written anew; one without a file here is kept, for this
    checkout may lack it.
    """
    outcome = Outcome()
    experiment = experiment_of(client, paths.profile)
    known: dict[str, list[Run]] = defaultdict(list)
    for run in runs_of(client, experiment):
        known[run.data.tags[KEY]].append(run)
    records = list(read_all(paths, outcome.problems))
    lock = _or_none(outcome.problems, Lock, paths.root / "dvc.lock")
    results = _or_none(outcome.problems, Results, paths.results)
    ids: dict[str, str] = {}
    for content in contents(records, lock, results, paths):
        parent = ids.get(content.parent or "")
        ids[content.key], verb = _put(client, experiment, content, parent, known.pop(content.key, []))
        outcome.runs[verb] += 1
    outcome.runs["kept, without a readable file here"] += len(known)
    describe(client, experiment, title)
    return outcome


def _or_none(problems: list[str], reader: Any, path: Any) -> Any:
    try:
        return reader(path)
    except UserError as error:
        problems.append(str(error))
        return None


def _put(
    client: MlflowClient, experiment: Experiment, content: Content, parent: str | None, known: list[Run]
) -> tuple[str, str]:
    """Make the store hold this content once; returns the id of its run and what was done."""
    same = next((run for run in known if run.data.tags.get(SHA256) == content.sha256), None)
    if same and parent in (None, same.data.tags.get("mlflow.parentRunId")):
        run_id, verb = same.info.run_id, "unchanged"
    else:
        run_id, verb = _write(client, experiment, content, parent), "replaced" if known else "added"
    for other in known:
        being_trained = SHA256 not in other.data.tags and other.info.start_time > 1000 * content.end
        if other.info.run_id != run_id and not being_trained:
            client.delete_run(other.info.run_id)
    return run_id, verb


def _write(client: MlflowClient, experiment: Experiment, content: Content, parent: str | None) -> str:
    tags = {KEY: content.key} | content.tags | ({"mlflow.parentRunId": parent} if parent else {})
    start, end = int(1000 * content.start), int(1000 * content.end)
    run = client.create_run(experiment.experiment_id, start, {KEY: content.key}, run_name=content.name)
    run_id = run.info.run_id
    last = max((point.step for point in content.metrics if point.key.startswith("train/")), default=0)

    def moment(key: str, step: int) -> int:
        """The history knows no times, so the steps are spread evenly from the run's start to its end."""
        return start + (end - start) * (step + 1) // (last + 1) if key.startswith("train/") else end

    for chunk in _chunks([Param(*item) for item in content.params.items()], TEXTS):
        client.log_batch(run_id, params=chunk)
    for chunk in _chunks([RunTag(*item) for item in tags.items()], TEXTS):
        client.log_batch(run_id, tags=chunk)
    for chunk in _chunks([Metric(p.key, p.value, moment(p.key, p.step), p.step) for p in content.metrics], NUMBERS):
        client.log_batch(run_id, metrics=chunk)
    if content.data:
        client.log_inputs(run_id, [_dataset(path, md5, content) for path, md5 in content.data.items()])
    for file, folder in content.files:
        client.log_artifact(run_id, str(file), folder or None)
    client.set_terminated(run_id, "FINISHED", end)
    client.set_tag(run_id, SHA256, content.sha256)  # last: from here on the run is whole
    return str(run_id)


def _chunks(items: list[Any], size: int) -> list[list[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _dataset(path: str, md5: str, content: Content) -> DatasetInput:
    """A path in DVC as MLflow's input; the digest is DVC's md5, and nothing is copied."""
    context = {"train": "training", "evaluate": "evaluation"}.get(content.tags["stage"], "input")
    source = f'{{"uri": "dvc:{path}"}}'
    return DatasetInput(Dataset(path, md5, "dvc", source), [InputTag("mlflow.data.context", context)])
