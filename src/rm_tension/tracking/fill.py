"""Fill a store from runs/: the same runs as those who trained see, also for those who computed nothing."""

from collections import Counter, defaultdict

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Experiment, InputTag, Metric, Param, Run

from rm_tension.base.grid import Paths
from rm_tension.tracking.contents import Content, contents
from rm_tension.tracking.names import KEY, SHA256
from rm_tension.tracking.store import experiment_of, runs_of
from rm_tension.tracking.views import describe


def fill(client: MlflowClient, paths: Paths, title: str, problems: list[str]) -> Counter[str]:
    """Bring the experiment of one profile up to date with runs/<P>/, results/<P>/, dvc.lock and the report.

    A run of which the store has something else, or a part, is written anew; one without a file here is kept, for this
    checkout may lack it. Returns how many runs were added, replaced, ...; what cannot be read is named in `problems`.
    """
    experiment = experiment_of(client, paths.profile)
    known: dict[str, list[Run]] = defaultdict(list)
    for run in runs_of(client, experiment):
        known[run.data.tags[KEY]].append(run)
    done: Counter[str] = Counter()
    ids: dict[str | None, str] = {}
    for content in contents(paths, problems):
        ids[content.key], verb = _put(
            client, experiment, content, ids.get(content.parent), known.pop(content.key, [])
        )
        done[verb] += 1
    done["kept, without a readable file here"] += len(known)
    describe(client, experiment, title)
    return +done  # no zeros


def _put(
    client: MlflowClient,
    experiment: Experiment,
    content: Content,
    parent: str | None,
    known: list[Run],
) -> tuple[str, str]:
    """Make the store hold this content once; returns the id of its run and what was done."""
    same = next((run for run in known if run.data.tags.get(SHA256) == content.sha256), None)
    if same and parent == same.data.tags.get("mlflow.parentRunId"):
        run_id, verb = same.info.run_id, "unchanged"
    else:
        run_id, verb = _write(client, experiment, content, parent), "replaced" if known else "added"
    for other in known:
        being_trained = SHA256 not in other.data.tags and other.info.start_time > 1000 * content.end
        if other.info.run_id != run_id and not being_trained:
            client.delete_run(other.info.run_id)
    return run_id, verb


def _write(
    client: MlflowClient, experiment: Experiment, content: Content, parent: str | None
) -> str:
    tags = {KEY: content.key} | content.tags | ({"mlflow.parentRunId": parent} if parent else {})
    start, end = int(1000 * content.start), int(1000 * content.end)
    last = max(
        (point.step for point in content.metrics if point.key.startswith("train/")), default=0
    )

    def moment(key: str, step: int) -> int:
        """The steps are spread evenly from the run's start to its end; all else is known at its end."""
        return start + (end - start) * (step + 1) // (last + 1) if key.startswith("train/") else end

    run_id: str = client.create_run(
        experiment.experiment_id, start, tags, run_name=content.key.removeprefix("train-")
    ).info.run_id
    params = [Param(*item) for item in content.params.items()]
    metrics = [Metric(p.key, p.value, moment(p.key, p.step), p.step) for p in content.metrics]
    client.log_batch(run_id, metrics, params)
    if content.data:
        client.log_inputs(
            run_id, [_dataset(*item, content.tags["stage"]) for item in content.data.items()]
        )
    if content.artifacts:
        client.log_artifacts(run_id, str(content.artifacts))
    client.set_terminated(run_id, "FINISHED", end)
    client.set_tag(run_id, SHA256, content.sha256)  # last: from here on the run is whole
    return run_id


def _dataset(path: str, md5: str, stage: str) -> DatasetInput:
    """A path in DVC as MLflow's data set, whose digest is DVC's md5; nothing is copied."""
    dataset = Dataset(path, md5, "dvc", f'{{"uri": "dvc:{path}"}}')
    return DatasetInput(dataset, [InputTag("mlflow.data.context", stage)])
