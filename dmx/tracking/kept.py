"""What MLflow has been told to keep."""

from collections.abc import Iterator
from pathlib import Path

from dmx.tracking.home import Home
from dmx.tracking.mlflow_client import address, connect
from dmx.tracking.mlflow_store import RUN_TAG, read_state

KEEP_TAG = "dmx.keep"


def kept(home: Home) -> dict[str, str]:
    """The runs that are tagged `dmx.keep` in MLflow or behind a version of a registered model, with why."""
    if address(home) == home.mlflow_uri and not home.mlflow_db.exists():
        return {}
    client = connect(home)
    experiments = [one.experiment_id for one in client.search_experiments()]
    found: dict[str, str] = {}
    token = None
    while True:
        page = client.search_runs(experiments, f"tags.`{KEEP_TAG}` LIKE '%'", page_token=token)
        found |= {run.data.tags[RUN_TAG]: f"tagged {KEEP_TAG}" for run in page if RUN_TAG in run.data.tags}
        token = page.token
        if not token:
            break
    for version in client.search_model_versions():
        if RUN_TAG in version.tags:
            found[version.tags[RUN_TAG]] = f"registered as {version.name} version {version.version}"
    return found


def copies(home: Home, run_id: str, name: str) -> Iterator[Path]:
    """Where a local MLflow has its copy of a run's file."""
    if (mlflow_id := read_state(home, run_id).get("run")) is not None:
        yield from home.artifacts.glob(f"*/{mlflow_id}/artifacts/{name}")
