"""The experiment's page: its description, and saved views that answer the questions of docs/TRACKING.md.

A saved view is what the UI's own "Save view" writes: a tag of the experiment with the filter, grouping and charts.
"""

import json
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Experiment

SAVED_VIEW = "mlflow.sharedViewState."
QUERY = "workflowType=machine_learning&compareRunsMode=CHART"  # charts, among the pages for trained models
VIEWS = json.loads(Path(__file__).with_name("views.json").read_text(encoding="utf-8"))


def describe(client: MlflowClient, experiment: Experiment, title: str) -> None:
    """Write the description and the views where they are not there yet; one shows the first trio that there is."""
    first = client.search_runs([experiment.experiment_id], "tags.stage = 'trio'", max_results=1, order_by=["tags.trio"])
    trio = first[0].data.tags["trio"] if first else "none yet"
    links = "\n".join(
        f"- [{view['label'].format(trio='one of them')}]({view_url(experiment.experiment_id, name)})"
        for name, view in VIEWS["views"].items()
    )
    end = "The truth is in `runs/`; docs/TRACKING.md explains the names."
    wanted = {
        "mlflow.experimentKind": "custom_model_development",  # else the UI asks, or shows the tabs of chat models
        "mlflow.note.content": f"**{title[:1].upper()}{title[1:]}.**\n\n{links}\n\n{end}",
        "title": title,
    }
    for name, view in VIEWS["views"].items():
        state = json.dumps(VIEWS["base"] | {key: value for key, value in view.items() if key != "label"})
        label = view["label"].replace("{trio}", trio)
        envelope = {"name": label, "createdAt": experiment.creation_time, "state": state.replace("{trio}", trio)}
        wanted[f"{SAVED_VIEW}{name}"] = json.dumps(envelope)
    for key, value in wanted.items():
        if experiment.tags.get(key) != value:
            client.set_experiment_tag(experiment.experiment_id, key, value)


def view_url(experiment_id: str, name: str) -> str:
    """The part of a view's address that follows the server's. Without the query the UI shows its pages for chats."""
    return f"#/experiments/{experiment_id}/runs?{QUERY}&viewStateShareKey={name}"
