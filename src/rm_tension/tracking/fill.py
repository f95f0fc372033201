"""Fill a store from runs/: the same runs as those who trained see, also for those who computed nothing."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Experiment, InputTag, Metric, Param, Run, RunTag

from rm_tension.base.errors import UserError
from rm_tension.base.grid import Paths
from rm_tension.tracking.contents import Content, of_record, of_trio
from rm_tension.tracking.dvc_lock import Lock
from rm_tension.tracking.records import KEY, SHA256, STEP_METRICS, Record, Steps, read, read_steps, run_files
from rm_tension.tracking.results import Results, read_results
from rm_tension.tracking.store import BATCH, chunks, experiment_of, log_steps, logged_steps, runs_of
from rm_tension.tracking.views import describe

PARENT = "mlflow.parentRunId"
UNCHANGED = "unchanged"
KEPT = "kept, for results/ is missing or damaged"
TEXTS = 100  # parameters or tags that MLflow takes in a request


@dataclass
class Outcome:
    """What a fill did with the runs, counted, and what it could not read."""

    runs: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def fill(client: MlflowClient, paths: Paths, title: str) -> Outcome:
    """Bring the experiment of one profile up to date with runs/<P>/, results/<P>/, dvc.lock and the report.

    A run of which the store has something else is replaced; one that the store has in part, because training streamed
    it or a fill was killed, is completed; one without a file here is kept, for this checkout may lack it.
    """
    outcome = Outcome()
    experiment = experiment_of(client, paths.profile)
    known: dict[str, list[Run]] = defaultdict(list)
    for run in runs_of(client, experiment):
        known[run.data.tags[KEY]].append(run)
    ids: dict[str, str] = {}
    for content in _contents(paths, outcome.problems):
        parent = ids.get(content.parent or "")
        ids[content.key], verb = _put(client, experiment, content, parent, known[content.key])
        outcome.runs[verb] += 1
    outcome.runs["kept, without a readable file here"] += sum(key not in ids for key, runs in known.items() if runs)
    describe(client, experiment, title)
    return outcome


def _contents(paths: Paths, problems: list[str]) -> Iterator[Content]:
    """Parents first; the steps of one training at a time. What cannot be read is named in `problems` and left out."""
    lock, results = _or_none(problems, _lock, paths), _or_none(problems, _results, paths)
    found = [_or_none(problems, read, paths, stage, path) for stage, path in run_files(paths)]
    records = [record for record in found if record]
    trios: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        trios[record.trio].append(record)
    yield from (of_trio(runs, results) for trio, runs in trios.items() if trio)
    for record in records:
        steps: Steps | None = _or_none(problems, read_steps, paths, record) if record.stage == "train" else []
        if steps is not None:
            yield of_record(record, steps, _origin(record, records), lock, results, paths)


def _lock(paths: Paths) -> Lock:
    return Lock(paths.root / "dvc.lock")


def _results(paths: Paths) -> Results | None:
    return read_results(paths.results)


def _or_none(problems: list[str], reader: Any, *arguments: Any) -> Any:
    try:
        return reader(*arguments)
    except UserError as error:
        problems.append(str(error))
        return None


def _origin(record: Record, records: Iterable[Record]) -> dict[str, Any]:
    """Parameters of earlier stages that decide a training: which weights and data, at which revisions."""
    origin: dict[str, Any] = {}
    for other in records:
        if record.stage == "train" and other.stage == "data":
            origin |= {"data": other.parameters["data"]}
        if record.stage == "train" and other.key == f"{record.profile}/backbone/{record.parameters['backbone']}":
            origin |= {"weights": other.parameters["backbones"]["weights"]}
    return origin


def _put(
    client: MlflowClient, experiment: Experiment, content: Content, parent: str | None, known: list[Run]
) -> tuple[str, str]:
    """Make the store hold this content once; returns the id of its run and what was done."""
    verb, run = _choose(client, content, known)
    if run is None:
        start, tags = int(1000 * content.start), {KEY: content.key}
        run = client.create_run(experiment.experiment_id, start, tags, run_name=content.name)
    if verb not in {UNCHANGED, KEPT}:
        _complete(client, run, content)
    if parent and run.data.tags.get(PARENT) != parent:
        client.set_tag(run.info.run_id, PARENT, parent)
    for other in known:
        being_trained = SHA256 not in other.data.tags and other.info.status == "RUNNING"
        if other.info.run_id != run.info.run_id and not being_trained:
            client.delete_run(other.info.run_id)
    return run.info.run_id, verb


def _choose(client: MlflowClient, content: Content, known: list[Run]) -> tuple[str, Run | None]:
    """Which of the runs with this key becomes the content, if any, and what that is called."""
    filled = [run for run in known if SHA256 in run.data.tags]
    for run in filled:
        if run.data.tags[SHA256] == content.sha256:
            return UNCHANGED, run
    for run in known:
        if _is_part(client, run, content):
            return "completed", run
    if filled and content.without_results:
        return KEPT, filled[0]
    return "replaced" if known else "added", None


def _is_part(client: MlflowClient, run: Run, content: Content) -> bool:
    """Whether everything that the run has is also in the content."""
    last = {point.key: point.value for point in content.metrics}
    numbers = {key: value for key, value in run.data.metrics.items() if not key.startswith(("train/", "system/"))}
    logged = logged_steps(client, run)
    return (
        run.data.params.items() <= content.params.items()
        and numbers.items() <= last.items()
        and all(step < len(content.steps) and content.steps[step]["loss"] == loss for step, loss in logged.items())
    )


def _complete(client: MlflowClient, run: Run, content: Content) -> None:
    run_id = run.info.run_id
    params = [Param(key, value) for key, value in content.params.items() if key not in run.data.params]
    tags = [RunTag(key, value) for key, value in content.tags.items() if run.data.tags.get(key) != value]
    for chunk in chunks(params, TEXTS):
        client.log_batch(run_id, params=chunk)
    for chunk in chunks(tags, TEXTS):
        client.log_batch(run_id, tags=chunk)
    end = int(1000 * content.end)
    numbers = [Metric(*point[:2], end, point.step) for point in content.metrics if point.key not in run.data.metrics]
    for chunk in chunks(numbers, BATCH):
        client.log_batch(run_id, metrics=chunk)
    logged = logged_steps(client, run)
    missing = [step for step in content.steps if step["step"] not in logged]
    if missing:
        log_steps(client, run_id, missing, lambda step: _step_metrics(step, content))
    if content.data and not (run.inputs and run.inputs.dataset_inputs):
        client.log_inputs(run_id, [_dataset(path, md5, content) for path, md5 in content.data.items()])
    for file, folder in content.artefacts:
        client.log_artifact(run_id, str(file), folder or None)
    client.set_terminated(run_id, "FINISHED", end)
    client.set_tag(run_id, SHA256, content.sha256)  # last: from here on the run is whole


def _step_metrics(step: dict[str, float], content: Content) -> Iterator[Metric]:
    """The history knows no times, so the steps are spread evenly from the run's start to its end."""
    number = int(step["step"])
    moment = content.start + (content.end - content.start) * (number + 1) / len(content.steps)
    names = (name for name in STEP_METRICS if name in step)
    return (Metric(f"train/{name}", step[name], int(1000 * moment), number) for name in names)


def _dataset(path: str, md5: str, content: Content) -> DatasetInput:
    """A path in DVC as MLflow's input; the digest is DVC's md5, and nothing is copied."""
    context = {"train": "training", "evaluate": "evaluation"}.get(content.tags["stage"], "input")
    source = f'{{"uri": "dvc:{path}"}}'
    return DatasetInput(Dataset(path, md5, "dvc", source), [InputTag("mlflow.data.context", context)])
