"""The champion in MLflow's model registry."""

import json
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import dmx
from dmx.errors import UserError
from dmx.experiment import Prepared
from dmx.experiment.trained import UNTRAINED
from dmx.registry import Component
from dmx.tracking.home import JOURNAL, Home
from dmx.tracking.journal import started
from dmx.tracking.mlflow_client import RUN_TAG, PermanentStoreError, connect, deleted, explain_error, run_of
from dmx.training.checkpoint import save_weights

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.models.model import ModelInfo
    from mlflow.tracking import MlflowClient

ALIAS = "champion"
OTHERS = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_ENABLE_ASYNC_LOGGING")
"""Variables that MLflow's functions read from the environment and that do not apply to the champion."""


def register(home: Home, prepared: Prepared, run_id: str, study: str, trial: str) -> int:
    """Register the model of `prepared` under the study's name, with the alias `champion`.

    Args:
        home: The folder of results.
        prepared: The champion with its best weights.
        run_id: The champion's run.
        study: The study, whose name is that of the registered model.
        trial: The run of the trial whose configuration the champion has.

    Raises:
        UserError: The run is not in MLflow.

    Returns:
        The version in the registry; an existing one if this run is registered already.
    """
    with tracking_at(home) as client:
        start = started(home.run(run_id) / JOURNAL)
        run = run_of(client, run_id, start) if start else None
        if run is None:
            raise UserError(f"run {run_id} is not in MLflow yet; `dmx sync` sends it, then call the command again.")
        info = run.info
        if refused := deleted(client, home, run_id, info.run_id):
            raise refused
        known = [v for v in client.search_model_versions(f"name = '{study}'") if v.run_id == info.run_id]
        tags = {"dmx.study": study, "dmx.trial_run": trial, RUN_TAG: run_id}
        version = known[0].version if known else _register(prepared, info.run_id, study, tags)
        client.set_terminated(info.run_id, "FINISHED", end_time=info.end_time)  # logging a model reopens its run
        client.set_registered_model_alias(study, ALIAS, version)
    return int(version)


def _register(prepared: Prepared, mlflow_run: str, study: str, tags: dict[str, str]) -> str:
    """Log the model to its run and register it.

    Returns:
        The version in the registry.
    """
    import mlflow

    with mlflow.start_run(run_id=mlflow_run), tempfile.TemporaryDirectory() as folder:
        info = _log(prepared, Path(folder))
        return str(mlflow.register_model(info.model_uri, study, tags=tags).version)


@contextmanager
def tracking_at(home: Home) -> Iterator["MlflowClient"]:
    """Yield a client, and point MLflow's fluent functions, which take no client, at the same store.

    Those read the environment, which is restored afterwards; variables that refer to other runs are removed meanwhile.
    """
    import mlflow

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    before = {name: os.environ.pop(name, None) for name in OTHERS}
    before["MLFLOW_TRACKING_URI"] = os.environ.get("MLFLOW_TRACKING_URI")
    try:
        client = connect(home)
        mlflow.set_tracking_uri(client.tracking_uri)
        yield client
    except (mlflow.MlflowException, PermanentStoreError) as error:
        raise UserError(
            f"the champion is trained and chosen, but MLflow did not take it ({explain_error(error, home)}); "
            "the same command registers it when MLflow is there."
        ) from error
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def needed(model: Component) -> list[str]:
    """Return the requirements that dmx declares, without its extras, and those of the model."""
    declared = [line for line in requires("dmx") or [] if "extra ==" not in line]
    names = [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in declared]
    return [*names, *model.facts.get("requires", ())]


def _log(prepared: Prepared, folder: Path) -> "ModelInfo":
    """Write configuration, depth specification and weights, and log them as a model of the active run."""
    import mlflow

    config = prepared.config.dump()
    config["model"] |= {name: value for name, value in UNTRAINED.items() if name in config["model"]}
    config["start"] = None  # the model has trained weights; no others are needed
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "depth.json").write_text(json.dumps(asdict(prepared.index.depth)))
    save_weights(folder / "weights.safetensors", prepared.model)
    example, signature = _signature(prepared)
    with without_hint():
        info: ModelInfo = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("served.py")),
            artifacts={"model": str(folder)},
            signature=signature,
            input_example=example,
            code_paths=[str(Path(dmx.__file__).parent)],
            pip_requirements=[f"{name}=={version(name)}" for name in needed(prepared.config.model.component)],
        )
    return info


@contextmanager
def without_hint() -> Iterator[None]:
    """Suppress MLflow's advice to add type hints, which it gives past all filters: the signature is given."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def other(message: Warning | str, *where: Any) -> None:
            if "Add type hints to the `predict` method" not in str(message):
                show(message, *where)

        warnings.showwarning = other  # type: ignore[assignment]
        yield


def _signature(prepared: Prepared) -> tuple[dict[str, np.ndarray], "ModelSignature"]:
    """Make an input example and the signature: named tensors with variable batch size, height and width."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    height, width = prepared.config.stages[-1].height_width
    names = ["image", "background"] if prepared.model.net.needs_background else ["image"]
    picture, plane = (-1, -1, -1, 3), (-1, -1, -1)
    inputs = Schema([TensorSpec(np.dtype(np.uint8), picture, name) for name in names])
    outputs = Schema([TensorSpec(np.dtype(np.float32), plane, name) for name in ("mask", "depth")])
    return {name: np.zeros((1, height, width, 3), np.uint8) for name in names}, ModelSignature(inputs, outputs)
