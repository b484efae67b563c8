"""Pictures over steps in MLflow, under names that do not change when they are sent again.

`MlflowClient.log_image` puts a random UUID into the name, so a picture sent twice stands there twice. Here the UUID
follows from run, key and step; the rest of the name is MLflow's own, which its page reads back
(key+step+N+timestamp+T+UUID.png, and the small one with +compressed.webp).
"""

import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from dmx.tracking.journal import Pictured

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

PREVIEW = 1024
"""The longest side of the small picture; MLflow's own 256 would make a panel of six columns unreadable."""


def send_image(client: "MlflowClient", mlflow_id: str, run: Path, event: Pictured) -> None:
    """Store the picture and its preview, and mark the run as one that has pictures."""
    source = run / event.file
    picture = cv2.imread(str(source))
    if picture is None:  # the user may have removed it to make room
        return
    with tempfile.TemporaryDirectory() as folder:
        stem = image_name(mlflow_id, event)
        shutil.copyfile(source, Path(folder) / f"{stem}.png")
        scale = min(1.0, PREVIEW / max(picture.shape[:2]))
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(Path(folder) / f"{stem}+compressed.webp"), small, [cv2.IMWRITE_WEBP_QUALITY, 90])
        client.log_artifacts(mlflow_id, folder, "images")
    client.set_tag(mlflow_id, "mlflow.loggedImages", "True", synchronous=True)


def image_name(mlflow_id: str, event: Pictured) -> str:
    """The name, without ending, that MLflow's page takes apart."""
    token = uuid.uuid5(uuid.NAMESPACE_URL, f"{mlflow_id}/{event.key}/{event.step}")
    return f"{event.key.replace('/', '~')}+step+{event.step}+timestamp+{event.time}+{token}"
