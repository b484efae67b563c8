"""Conversion to MLflow's formats: metrics, data sets, pictures over steps, and the saved view of a study."""

import base64
import hashlib
import json
import re
import shutil
import tempfile
import uuid
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from dmx.tracking.journal import ImageLogged, MetricsLogged

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric
    from mlflow.tracking import MlflowClient

LONGEST_KEY, LONGEST_TAG, LONGEST_PARAM, LONGEST_NAME = 250, 8000, 6000, 500
"""MLflow's maximum lengths in characters; the name is that of a data set."""
OWN = ("name", "digest", "root", "context")
"""Keys of a data set's part that do not belong to its profile."""
PREVIEW = 1024
"""The longest side of the preview; with MLflow's own 256 a panel of six columns would be unreadable."""
KEY = "dmx"
TAG = f"mlflow.sharedViewState.{KEY}"
"""The experiment's tag that holds a saved view, in MLflow's own format.

MLflow ignores fields that it does not know, so another MLflow version shows its default view at worst.
"""
NAME = "Trials, best first"
SECTION = "study"
MANY = 1000
"""The maximum number of trials in the charts."""


def metrics(event: MetricsLogged) -> Iterator["Metric"]:
    """The event's scalars as MLflow metrics."""
    from mlflow.entities import Metric

    for key, value in event.values.items():
        yield Metric(sanitize_key(key), value, event.time, event.step)


def sanitize_key(key: str) -> str:
    """The key without characters that MLflow refuses; a digest replaces the end of a long key, or an empty one.

    >>> sanitize_key("val/silog[lambda=0.85]")
    'val/silog lambda 0.85'
    >>> sanitize_key("../a//b/")
    'a/b'
    >>> sanitize_key("ü")
    '607474ca'
    >>> len(sanitize_key("a" * 300))
    250
    """
    text = re.sub(r"[^\w\-. :/]+", " ", key, flags=re.ASCII)
    parts = [part for part in text.split("/") if part.strip() not in ("", ".", "..")]
    text = "/".join(parts).strip()
    if text and len(text) <= LONGEST_KEY:
        return text
    return f"{text[: LONGEST_KEY - 9]} {hashlib.sha256(key.encode()).hexdigest()[:8]}".strip()


def dataset_input(given: Mapping[str, str]) -> "DatasetInput":
    """A part of a data set as an MLflow data set input.

    It is given by `name`, `digest`, `root`, `context` (training, validation or test); the rest is its profile.
    """
    from mlflow.data.dataset import Dataset
    from mlflow.data.dataset_source_registry import resolve_dataset_source
    from mlflow.entities import DatasetInput, InputTag
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    class Part(Dataset):
        """A part of a data set that lies in a folder."""

        schema = None
        profile = {key: value for key, value in given.items() if key not in OWN}  # noqa: RUF012  # used once

        def _compute_digest(self) -> str:
            return given["digest"]

        def to_dict(self) -> dict[str, str]:
            """The fields that MLflow stores."""
            return {**super().to_dict(), "profile": json.dumps(self.profile)}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # several of MLflow's source classes match a folder
        source = resolve_dataset_source(given["root"])
    part = Part(source, given["name"][:LONGEST_NAME])
    return DatasetInput(part._to_mlflow_entity(), [InputTag(MLFLOW_DATASET_CONTEXT, given["context"])])


def send_image(client: "MlflowClient", mlflow_id: str, run: Path, event: ImageLogged) -> None:
    """Store the picture and its preview, and tag the run as having pictures.

    `MlflowClient.log_image` puts a random UUID into the name, so a picture that is sent twice would appear twice. Here
    the UUID is derived from run, key and step.
    """
    source = run / event.file
    picture = cv2.imread(str(source))
    if picture is None:  # the user may have removed it to free space
        return
    with tempfile.TemporaryDirectory() as folder:
        stem = image_name(mlflow_id, event)
        shutil.copyfile(source, Path(folder) / f"{stem}.png")
        scale = min(1.0, PREVIEW / max(picture.shape[:2]))
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(Path(folder) / f"{stem}+compressed.webp"), small, [cv2.IMWRITE_WEBP_QUALITY, 90])
        client.log_artifacts(mlflow_id, folder, "images")
    client.set_tag(mlflow_id, "mlflow.loggedImages", "True", synchronous=True)


def image_name(mlflow_id: str, event: ImageLogged) -> str:
    """The name, without extension, that MLflow's page parses.

    It is key+step+N+timestamp+T+UUID; the extension is .png or, for the preview, +compressed.webp.
    """
    token = uuid.uuid5(uuid.NAMESPACE_URL, f"{mlflow_id}/{event.key}/{event.step}")
    return f"{event.key.replace('/', '~')}+step+{event.step}+timestamp+{event.time}+{token}"


@dataclass(frozen=True, kw_only=True)
class View:
    """A saved view of MLflow's run table and charts: a study's trials, best first, with the varied parameters.

    Attributes:
        objective: The validation metric, `val/...`; runs are ordered by its value at the best epoch.
        ascending: Whether the smallest value comes first.
        metrics: The validation metrics to show, including the objective.
        params: The parameters to show: those that every trial samples.
    """

    objective: str
    ascending: bool
    metrics: Sequence[str]
    params: Sequence[str]


def at_best(metric: str) -> str:
    """The name of a validation metric's value at the best epoch; under its own name MLflow shows the last value."""
    return metric.replace("val/", "val_best/", 1)


def tag(view: View, time: int) -> str:
    """The value of the tag `TAG`: the view, saved at `time`, in ms since 1970."""
    packed = base64.b64encode(zlib.compress(json.dumps(state(view)).encode())).decode()
    return json.dumps({"name": NAME, "createdAt": time, "updatedAt": time, "state": f"deflate;{packed}"})


def state(view: View) -> dict[str, Any]:
    """The view in the format of MLflow's page."""
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
    for index, metric in enumerate(view.metrics):
        yield {
            "uuid": f"dmx-line-{index}",
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
