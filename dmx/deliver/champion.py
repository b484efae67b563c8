"""The champion in MLflow's model registry."""

import json
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dmx.errors import UserError
from dmx.experiment import Prepared
from dmx.tracking.home import Home
from dmx.tracking.mlflow_client import connect, experiment
from dmx.tracking.mlflow_store import RUN_TAG
from dmx.training.checkpoint import save_weights

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.models.model import ModelInfo

ALIAS = "champion"
REQUIREMENTS = ("torch", "numpy", "opencv-python-headless", "safetensors", "pydantic", "mlflow")


def register(home: Home, prepared: Prepared, run_id: str, study: str, trial: str) -> int:
    """Register the model of `prepared` under the study's name, with the alias `champion`.

    Args:
        home: Where results are.
        prepared: The champion with its best weights.
        run_id: Its run.
        study: The study; the registered model's name.
        trial: The run of the trial that it comes from.

    Raises:
        UserError: The run is not in MLflow.

    Returns:
        The version in the registry; the one it has, where this run is registered already.
    """
    client = connect(home)
    import mlflow

    mlflow.set_tracking_uri(client.tracking_uri)
    group = experiment(client, home, study)
    runs = client.search_runs([group], f"tags.`{RUN_TAG}` = '{run_id}'", max_results=1)
    if not runs:
        raise UserError(f"run {run_id} is not in MLflow yet; `dmx sync` sends it, then call the command again.")
    found = runs[0]
    for known in client.search_model_versions(f"name = '{study}'"):
        if known.run_id == found.info.run_id:
            client.set_registered_model_alias(study, ALIAS, known.version)
            return int(known.version)
    tags = {"dmx.study": study, "dmx.trial_run": trial, RUN_TAG: run_id}
    with mlflow.start_run(run_id=found.info.run_id), tempfile.TemporaryDirectory() as folder:
        info = _log(prepared, Path(folder))
        registered = mlflow.register_model(info.model_uri, study, tags=tags)
    client.set_registered_model_alias(study, ALIAS, registered.version)
    client.set_registered_model_tag(study, "dmx.study", study)
    return int(registered.version)


def _log(prepared: Prepared, folder: Path) -> "ModelInfo":
    """Write configuration, depth and weights, and log them as a model of the run that is open."""
    import mlflow

    (folder / "config.json").write_text(json.dumps(prepared.config.dump()))
    (folder / "depth.json").write_text(json.dumps(asdict(prepared.index.depth)))
    save_weights(folder / "weights.safetensors", prepared.model)
    example, signature = _signature(prepared)
    info: ModelInfo = mlflow.pyfunc.log_model(
        name="model",
        python_model=str(Path(__file__).with_name("served.py")),
        artifacts={"model": str(folder)},
        signature=signature,
        input_example=example,
        pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
    )
    return info


def _signature(prepared: Prepared) -> tuple[dict[str, np.ndarray], "ModelSignature"]:
    """An input example and the signature: named tensors with free batch, height and width."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    height, width = prepared.config.stages[-1].height_width
    names = ["image", "background"] if prepared.model.net.needs_background else ["image"]
    picture, plane = (-1, -1, -1, 3), (-1, -1, -1)
    inputs = Schema([TensorSpec(np.dtype(np.uint8), picture, name) for name in names])
    outputs = Schema([TensorSpec(np.dtype(np.float32), plane, name) for name in ("mask", "depth")])
    return {name: np.zeros((1, height, width, 3), np.uint8) for name in names}, ModelSignature(inputs, outputs)
