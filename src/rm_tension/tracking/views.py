"""The experiment's page: its description, and saved views that answer the questions of docs/TRACKING.md.

A saved view is what the UI's own "Save view" writes: a tag of the experiment with the filter, grouping and charts.
"""

import json
from collections.abc import Iterable
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Experiment

SAVED_VIEW = "mlflow.sharedViewState."
TRAININGS = "tags.stage = 'train'"
QUERY = "workflowType=machine_learning&compareRunsMode=CHART"  # charts, among the pages for trained models


def describe(client: MlflowClient, experiment: Experiment, title: str) -> None:
    """Write the description and the views where they are not there yet."""
    trio = _one_trio(client, experiment)
    wanted = {
        "mlflow.experimentKind": "custom_model_development",  # else the UI asks, or shows the tabs of chat models
        "mlflow.note.content": _note(experiment.experiment_id, title),
        "title": title,
    }
    for name, (label, state) in views(trio).items():
        envelope = {"name": label, "createdAt": experiment.creation_time, "state": json.dumps(state)}
        wanted[f"{SAVED_VIEW}{name}"] = json.dumps(envelope)
    for key, value in wanted.items():
        if experiment.tags.get(key) != value:
            client.set_experiment_tag(experiment.experiment_id, key, value)


def views(trio: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Key in the URL: label in the menu and state of the UI. `trio` is the one whose ablation curve is shown."""
    groups = ("helpfulness", "harmlessness")
    return {
        "tension": (
            "1 Helpful against harmless accuracy of every RM",
            _view(
                "accuracy on the tasks (%)",
                TRAININGS,
                [_scatter("group/helpfulness", "group/harmlessness")],
            ),
        ),
        "loss": (
            "2 Loss and accuracy in training, by objective",
            _view(
                "mean over backbones and seeds",
                TRAININGS,
                [_line("train/loss"), _line("train/accuracy")],
                ["stage", "objective"],  # by objective alone, the UI's colours of two are alike
            ),
        ),
        "ablation": (
            f"3 Ablation curves of one trio ({trio})",
            _view(
                "HH accuracy (%) at % of neurons ablated",
                f"{TRAININGS} AND tags.trio = '{trio}'",
                [_line("ablation/magnitude"), _line("ablation/random")],
            ),
        ),
        "family": (
            "4 Accuracy by family and objective",
            _view(
                "mean accuracy on the tasks (%)",
                TRAININGS,
                [_bar(f"group/{group}") for group in groups],
                ["family", "objective"],
            ),
        ),
        "retention": (
            "5 What the mixed RM retains, by backbone",
            _view(
                "retention, mean over seeds",
                "tags.stage = 'trio'",
                [_bar(f"retention/{group}") for group in groups],
                ["family", "backbone"],  # by backbone alone, the UI's colours of two are the same
            ),
        ),
    }


def _note(experiment_id: str, title: str) -> str:
    links = "\n".join(
        f"- [{label}]({view_url(experiment_id, name)})" for name, (label, _) in views("one of them").items()
    )
    end = "The truth is in `runs/`; docs/TRACKING.md explains the names."
    return f"**{title[:1].upper()}{title[1:]}.**\n\n{links}\n\n{end}"


def _one_trio(client: MlflowClient, experiment: Experiment) -> str:
    found = client.search_runs([experiment.experiment_id], "tags.stage = 'trio'", max_results=1, order_by=["tags.trio"])
    return found[0].data.tags["trio"] if found else "none yet"


def view_url(experiment_id: str, name: str) -> str:
    """The part of a view's address that follows the server's. Without the query the UI shows its pages for chats."""
    return f"#/experiments/{experiment_id}/runs?{QUERY}&viewStateShareKey={name}"


def _view(heading: str, where: str, charts: list[dict[str, Any]], group_by: Iterable[str] = ()) -> dict[str, Any]:
    keys = [{"mode": "tag", "groupByData": tag} for tag in group_by]
    shown = [dict(chart, uuid=f"chart-{number}", metricSectionId="view") for number, chart in enumerate(charts)]
    section = {
        "uuid": "view",
        "name": heading,
        "display": True,
        "isReordered": False,
        "columns": 1,  # so wide that a legend of six groups is not cut
        "cardHeight": 340 if len(charts) > 1 else 480,
    }
    return {
        "searchFilter": where,
        "orderByKey": "tags.`trio`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [f"tags.`{tag}`" for tag in ("backbone", "objective", "seed")],
        "columnOrder": [],
        "columnWidths": {},
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": shown,
        "compareRunSections": [section],
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": {"aggregateFunction": "average", "groupByKeys": keys} if keys else None,
        "groupsExpanded": {},
        "autoRefreshEnabled": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
        "chartsSearchFilter": "",
    }


def _chart(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "deleted": False, "isGenerated": False, "runsCountToCompare": 100, **more}


def _scatter(x: str, y: str) -> dict[str, Any]:
    return _chart("SCATTER", xaxis={"key": x, "type": "METRIC"}, yaxis={"key": y, "type": "METRIC"})


def _bar(metric: str) -> dict[str, Any]:
    return _chart("BAR", metricKey=metric)


def _line(metric: str) -> dict[str, Any]:
    return _chart(
        "LINE",
        metricKey=metric,
        selectedMetricKeys=[metric],
        lineSmoothness=0,
        xAxisScaleType="linear",
        scaleType="linear",
        range={},
        xAxisKey="step",
        selectedXAxisMetricKey="",
        yAxisKey="metric",
        yAxisExpressions=[],
        ignoreOutliers=False,
        useGlobalXaxisKey=True,
        useGlobalLineSmoothing=True,
    )
