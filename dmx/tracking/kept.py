"""What MLflow has been told to keep."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dmx.errors import UserError
from dmx.tracking.home import Home
from dmx.tracking.mlflow_client import address, connect, is_local
from dmx.tracking.mlflow_refusals import refusal
from dmx.tracking.mlflow_runs import RUN_TAG, all_runs
from dmx.tracking.mlflow_store import read_state
from dmx.tracking.secrets import without_secrets

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

KEEP_TAG = "dmx.keep"


def kept(home: Home) -> dict[str, str]:
    """The runs that are tagged `dmx.keep` in MLflow or behind a version of a registered model, with why."""
    if is_local(home) and not home.mlflow_db.exists():
        return {}
    try:
        return told(connect(home))
    except Exception as error:  # whatever a store or its server may raise
        meant = refusal(error, address(home), local=is_local(home)) or error
        text = without_secrets(" ".join(str(meant).split()))[:1000]
        raise UserError(
            f"which runs are to be kept stands in MLflow, and it cannot be asked ({text}); "
            "call the command again when it is there."
        ) from error


def told(client: "MlflowClient") -> dict[str, str]:
    """The runs that a store says are to be kept, with why."""
    experiments = [one.experiment_id for one in client.search_experiments()]
    tagged = all_runs(client, experiments, f"tags.`{KEEP_TAG}` LIKE '%'", deleted=False)
    found = {run.data.tags[RUN_TAG]: f"tagged {KEEP_TAG}" for run in tagged if RUN_TAG in run.data.tags}
    for version in client.search_model_versions():
        if RUN_TAG in version.tags:
            found[version.tags[RUN_TAG]] = f"registered as {version.name} version {version.version}"
    return found


def copies(home: Home, run_id: str, name: str) -> Iterator[Path]:
    """Where a local MLflow has its copy of a run's file."""
    if (mlflow_id := read_state(home, run_id).get("run")) is not None:
        yield from home.artifacts.glob(f"*/{mlflow_id}/artifacts/{name}")
