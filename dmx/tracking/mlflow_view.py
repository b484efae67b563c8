"""A saved view of MLflow's run table and charts: the trials of a study, best first, with what it varies.

MLflow keeps the views that people save as tags of an experiment; a tag of the same form makes one for them. What MLflow
does not understand of it, it leaves out, so that another version of it shows its own default at worst.
"""

import base64
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

KEY = "dmx"
TAG = f"mlflow.sharedViewState.{KEY}"
NAME = "Trials, best first"
SECTION = "study"
MANY = 1000
"""Trials in the charts."""


@dataclass(frozen=True, kw_only=True)
class View:
    """What a study is looked at for.

    Attributes:
        objective: The validation metric, `val/...`, by whose value at the best epoch runs are ordered.
        ascending: Whether the smallest comes first.
        metrics: The validation metrics to show, the objective among them.
        params: The parameters to show: those that every trial draws.
    """

    objective: str
    ascending: bool
    metrics: Sequence[str]
    params: Sequence[str]


def at_best(metric: str) -> str:
    """Where a run has a validation metric at its best epoch; under its own name MLflow shows the last one."""
    return metric.replace("val/", "val_best/", 1)


def tag(view: View, time: int) -> str:
    """The value of the tag `TAG`: the view, saved at `time`, in ms since 1970."""
    packed = base64.b64encode(zlib.compress(json.dumps(state(view)).encode())).decode()
    return json.dumps({"name": NAME, "createdAt": time, "updatedAt": time, "state": f"deflate;{packed}"})


def state(view: View) -> dict[str, Any]:
    """The view as MLflow's page holds it."""
    columns = ["tags.`dmx.outcome`", *(f"metrics.`{at_best(name)}`" for name in view.metrics)]
    return {
        "searchFilter": "tags.`dmx.role` = 'trial'",
        "orderByKey": f"metrics.`{at_best(view.objective)}`",
        "orderByAsc": view.ascending,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [*columns, *(f"params.`{name}`" for name in view.params)],
        "runsHiddenMode": "SHOWALL",
        "hideEmptyCharts": True,
        "compareRunSections": [{"uuid": SECTION, "name": "Study", "display": True, "isReordered": False}],
        "compareRunCharts": [{"metricSectionId": SECTION, "deleted": False, **chart} for chart in charts(view)],
    }


def charts(view: View) -> Iterator[dict[str, Any]]:
    """Parameters against the objective at the best epoch, and each metric over the steps."""
    yield {
        "uuid": "dmx-parallel",
        "type": "PARALLEL",
        "runsCountToCompare": MANY,
        "selectedParams": [*view.params],
        "selectedMetrics": [at_best(view.objective)],
        "showAllRuns": False,
    }
    for place, metric in enumerate(view.metrics):
        yield {
            "uuid": f"dmx-line-{place}",
            "type": "LINE",
            "runsCountToCompare": MANY,
            "displayName": metric,
            "metricKey": metric,
            "selectedMetricKeys": [metric],
            "xAxisKey": "step",
            "xAxisScaleType": "linear",
            "scaleType": "linear",
            "lineSmoothness": 0,
            "range": {},
            "yAxisKey": "metric",
            "yAxisExpressions": [],
            "useGlobalXaxisKey": True,
            "useGlobalLineSmoothing": True,
        }
