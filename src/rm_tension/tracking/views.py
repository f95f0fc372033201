"""The experiment's page: its description, and saved views that answer the questions of docs/TRACKING.md.

A saved view is what the UI's own "Save view" writes: a tag of the experiment with the filter, grouping and charts.
"""

import json
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
    return {
        "tension": (
            "1 Helpful against harmless accuracy of every RM",
            _view(TRAININGS, [_scatter("group/helpfulness", "group/harmlessness")]),
        ),
        "loss": (
            "2 Loss and accuracy in training, by objective",
            _view(TRAININGS, [_line("train/loss"), _line("train/accuracy")], ["objective"]),
        ),
        "ablation": (
            f"3 Ablation curves of one trio ({trio})",
            _view(f"{TRAININGS} AND tags.trio = '{trio}'", [_line("ablation/magnitude"), _line("ablation/random")]),
        ),
        "family": (
            "4 Group averages by family and objective",
            _view(TRAININGS, [_bar("group/helpfulness"), _bar("group/harmlessness")], ["family", "objective"]),
        ),
        "commits": (
            "5 Speed and time by commit",
            _view(TRAININGS, [_bar("train/tokens_per_second"), _bar("run/seconds")], ["git_commit", "gpu"]),
        ),
    }


def _note(experiment_id: str, title: str) -> str:
    links = "\n".join(
        f"- [{label}](#/experiments/{experiment_id}/runs?{QUERY}&viewStateShareKey={name})"
        for name, (label, _) in views("one of them").items()
    )
    end = "The truth is in `runs/`; docs/TRACKING.md explains the names."
    return f"**{title[:1].upper()}{title[1:]}.**\n\n{links}\n\n{end}"


def _one_trio(client: MlflowClient, experiment: Experiment) -> str:
    found = client.search_runs([experiment.experiment_id], "tags.stage = 'trio'", max_results=1, order_by=["tags.trio"])
    return found[0].data.tags["trio"] if found else "none yet"


def _view(where: str, charts: list[dict[str, Any]], group_by: list[str] | None = None) -> dict[str, Any]:
    keys = [{"mode": "tag", "groupByData": tag} for tag in group_by or []]
    shown = [dict(chart, uuid=f"chart-{number}", metricSectionId="view") for number, chart in enumerate(charts)]
    section = {
        "uuid": "view",
        "name": "",
        "display": True,
        "isReordered": False,
        "columns": len(charts),
        "cardHeight": 480,
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
