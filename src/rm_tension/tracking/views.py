"""The experiment's page: its description, and saved views that answer the questions of docs/TRACKING.md.

A saved view is what the UI's own "Save view" writes: a tag of the experiment with the filter, grouping and charts.
"""

import json
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Experiment

SAVED_VIEW = "mlflow.sharedViewState."
QUERY = "workflowType=machine_learning&compareRunsMode=CHART"  # charts, among the pages for trained models
VIEWS = Path(__file__).with_name("views.json").read_text(encoding="utf-8")


def describe(client: MlflowClient, experiment: Experiment, title: str) -> None:
    """Write the description and the views where they are not there yet; one shows the first trio that there is."""
    first = client.search_runs(
        [experiment.experiment_id], "tags.stage = 'trio'", max_results=1, order_by=["tags.trio"]
    )
    views = json.loads(VIEWS.replace("{trio}", first[0].data.tags["trio"] if first else "none yet"))
    wanted, links = {"title": title}, []
    for name, view in views["views"].items():
        label = view.pop("label")
        envelope = {
            "name": label,
            "createdAt": experiment.creation_time,
            "state": json.dumps(views["base"] | view),
        }
        wanted[f"{SAVED_VIEW}{name}"] = json.dumps(envelope)
        links.append(f"- [{label}]({view_url(experiment.experiment_id, name)})")
    end = "The truth is in `runs/`; docs/TRACKING.md explains the names."
    wanted["mlflow.note.content"] = "\n\n".join(
        [f"**{title[:1].upper()}{title[1:]}.**", "\n".join(links), end]
    )
    wanted["mlflow.experimentKind"] = (
        "custom_model_development"  # else the UI asks, or shows the tabs of chat models
    )
    for key, value in wanted.items():
        if experiment.tags.get(key) != value:
            client.set_experiment_tag(experiment.experiment_id, key, value)


def view_url(experiment_id: str, name: str) -> str:
    """The part of a view's address that follows the server's. Without the query the UI shows its pages for chats."""
    return f"#/experiments/{experiment_id}/runs?{QUERY}&viewStateShareKey={name}"
