"""The way to MLflow: its address, its settings and its client. The only place that imports it."""

import errno
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from dmx.tracking.home import Home, sqlite_uri
from dmx.tracking.mlflow_refusals import deleted_experiment

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A dead server held a call up for 246 s with MLflow's own settings, for 3 s with these.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
"""The environment that MLflow wants before it is imported; what the user has set stays."""
_opened: dict[Path, list[tuple[int, int]]] = {}


def address(home: Home) -> str:
    """The tracking address: `MLFLOW_TRACKING_URI`, or the SQLite store of `home`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or home.mlflow_uri


def is_local(home: Home) -> bool:
    """Whether the store is the SQLite file of `home`, which is ours to make."""
    return address(home) == home.mlflow_uri


def connect(home: Home) -> "MlflowClient":
    """A client of the store at `address(home)`.

    A fresh SQLite store is made under a file lock: two processes that open one together fail.
    """
    for key, value in SETTINGS.items():
        os.environ.setdefault(key, value)
    from mlflow.tracking import MlflowClient

    for chatty in ("mlflow.store.db.utils", "alembic"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)  # what it logs, it raises, too
    home.root.mkdir(parents=True, exist_ok=True)
    with FileLock(home.root / "mlflow.lock", timeout=120):
        if not is_local(home):
            return MlflowClient(address(home))
        if home.mlflow_db.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(home.mlflow_db))
        if not home.mlflow_db.exists():
            make_store(home.mlflow_db)
        return MlflowClient(unseen(home))


def unseen(home: Home) -> str:
    """An address of the local store under which MLflow has opened no other file.

    It keeps a file open that it once opened, whatever is put in its place: what another client then writes is lost.
    """
    path, file = home.mlflow_db.resolve(), file_of(home)
    seen = _opened.setdefault(path, [])
    if file is not None and file not in seen:
        seen.append(file)
    return sqlite_uri(path, detour="./" * (seen.index(file) if file is not None else len(seen)))


def file_of(home: Home) -> tuple[int, int] | None:
    """Which file the local store is; None where there is none."""
    try:
        found = home.mlflow_db.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def make_store(path: Path) -> None:
    """Make a SQLite store beside its place and move it there.

    Killed in the middle, MLflow leaves a store that it cannot open any more: its migrations are no single transaction.
    """
    from mlflow.tracking import MlflowClient

    part = path.with_name(f"{path.name}.part")
    for left in (part, part.with_name(f"{part.name}-journal")):
        left.unlink(missing_ok=True)
    detour = "./" * len(_opened.get(path.resolve(), []))
    MlflowClient(sqlite_uri(part.resolve(), detour=detour))
    part.replace(path)


def experiment(client: "MlflowClient", home: Home, name: str) -> str:
    """The id of the experiment called `name`, made if there is none; a server decides itself where artifacts go.

    Raises:
        RefusedError: It was deleted in MLflow, which gives its name to no other.
    """
    from mlflow.exceptions import MlflowException

    with FileLock(home.root / "mlflow.lock", timeout=120):
        found = client.get_experiment_by_name(name)
        if found is None:
            local = not address(home).startswith(("http:", "https:", "databricks"))
            folder = home.artifacts.resolve() / re.sub(r"[^\w.-]", "_", name)
            try:
                return client.create_experiment(name, artifact_location=folder.as_uri() if local else None)
            except MlflowException:  # another machine was quicker
                found = client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            raise deleted_experiment(address(home), name, str(found.experiment_id))
        return str(found.experiment_id)
